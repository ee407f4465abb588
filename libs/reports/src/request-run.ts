import { RunRequested, dateIn, envelope } from '@music/events';
import { publishEvent } from '@music/messaging';
import { type Run, TERMINAL } from '@music/runs';
import type { Stores } from '@music/service';
import { ulid } from 'ulid';

export interface RunRequest {
  /** YYYY-MM-DD. */
  readonly logicalDate: string;
  /** The schedule's run of a date is one, however often it is asked for. */
  readonly scheduled?: boolean;
  readonly immediately?: boolean;
  readonly force?: boolean;
}

/** Asks for a run. Gives its id once Kafka has the event. */
export async function requestRun(
  { kafka }: Pick<Stores, 'kafka'>,
  { logicalDate, scheduled = false, immediately, force }: RunRequest,
): Promise<string> {
  const runId = scheduled ? `scheduled__${logicalDate}` : `manual__${ulid()}`;
  await publishEvent(kafka, envelope(RunRequested, 'cli', { runId, logicalDate, immediately, force }));
  return runId;
}

/** Asks for days of the lake, both inclusive, to be computed again. Gives the run's id once Kafka has the event. */
export async function requestBackfill({ kafka }: Pick<Stores, 'kafka'>, from: string, to: string): Promise<string> {
  const runId = `backfill__${from}__${ulid()}`;
  await publishEvent(
    kafka,
    envelope(RunRequested, 'cli', { runId, logicalDate: from, immediately: true, backfillFrom: from, backfillTo: to }),
  );
  return runId;
}

/** Waits until a run has ended. Gives undefined where `timeoutMs` passed, or `signal` was aborted, first. */
export async function waitForRun(
  { runs }: Pick<Stores, 'runs'>,
  runId: string,
  {
    timeoutMs = Infinity,
    signal,
    onState = () => undefined,
  }: { timeoutMs?: number; signal?: AbortSignal; onState?: (run: Run | undefined) => void } = {},
): Promise<Run | undefined> {
  const deadline = Date.now() + timeoutMs;
  for (
    let last: string | undefined;
    Date.now() < deadline && signal?.aborted !== true;
    await new Promise((resolve) => setTimeout(resolve, 200))
  ) {
    const run = await runs.findRun(runId);
    if (run?.state !== last) onState(run);
    last = run?.state;
    if (run !== undefined && TERMINAL.has(run.state)) return run;
  }
  return undefined;
}

/** The calendar day before now, in a zone: what a daily run is for. */
export function yesterday(timeZone: string, now = new Date()): string {
  return new Date(Date.parse(`${dateIn(timeZone, now)}T00:00:00Z`) - 86_400_000).toISOString().slice(0, 10);
}
