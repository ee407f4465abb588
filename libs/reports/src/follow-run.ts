import { AT_REST, type Run } from '@music/runs';
import type { Stores } from '@music/service';
import { waitForRun } from './request-run';
import { describeProgress, runProgress } from './run-progress';

/** Where a line is shown: on a terminal it is written over. */
export type ProgressOut = Pick<NodeJS.WriteStream, 'write'> & { readonly isTTY?: boolean };

const LOOK_MS = 1_000;
const PLAIN_MS = 10_000;

/**
 * Waits for a run's end like `waitForRun`, and shows meanwhile how far it is: one line that moves on a terminal; a line
 * a state, and one every 10 s, elsewhere.
 */
export async function followRun(
  stores: Pick<Stores, 'runs'>,
  runId: string,
  { timeoutMs, out = process.stderr, signal }: { timeoutMs?: number; out?: ProgressOut; signal?: AbortSignal } = {},
): Promise<Run | undefined> {
  const began = Date.now();
  const isTTY = out.isTTY === true;
  let run: Run | undefined;
  let shownAt = Date.now();
  const line = (progress?: string) =>
    `${runId}: ${[run?.state ?? 'requested', ...(progress === undefined ? [] : [progress])].join(', ')}, ${((Date.now() - began) / 1_000).toFixed(0)} s`;
  const show = (progress?: string) => {
    shownAt = Date.now();
    out.write(isTTY ? `\r\u001b[K${line(progress)}` : `${line(progress)}\n`);
  };
  const look = async () => {
    const progress = run === undefined || AT_REST.has(run.state) ? undefined : await runProgress(stores, run);
    if (isTTY || (progress !== undefined && Date.now() - shownAt >= PLAIN_MS))
      show(progress === undefined ? undefined : describeProgress(progress));
  };
  let looking = Promise.resolve();
  const timer = setInterval(() => {
    // What cannot be shown now is shown at the next look.
    looking = looking.then(look).catch(() => undefined);
  }, LOOK_MS);
  try {
    return await waitForRun(stores, runId, {
      timeoutMs,
      signal,
      onState: (found) => {
        run = found;
        show();
      },
    });
  } finally {
    clearInterval(timer);
    await looking;
    if (isTTY) out.write('\n');
  }
}
