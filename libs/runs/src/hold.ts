import { RunRejected, RunValidated, envelope } from '@music/events';
import { messageOf } from './outbox-message';
import { type Decision, type Run, takesFiles } from './run';
import type { RunStore } from './store/run-store';

/** Thrown when a run cannot be released or discarded; says why. */
export class NotHeld extends Error {
  override readonly name = 'NotHeld';
}

const ATTEMPTS = 5;

/**
 * Lets a run that checks hold back go on: released, it publishes what it found; discarded, its deliveries are taken
 * back, and it ends without them. Once: a second decision finds the run no longer held. Throws NotHeld.
 */
export async function decideHold(
  store: RunStore,
  runId: string,
  decision: Omit<Decision, 'at'>,
  now = new Date(),
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const run = await store.findRun(runId);
    if (run === undefined) throw new NotHeld(`there is no run ${runId}`);
    if (run.state !== 'held') throw new NotHeld(whyNot(run));
    // Its turn to write the lake may be taken by another at this moment: then it is looked at again.
    if (await decide(store, run, { ...decision, at: now.toISOString() })) return;
    if (attempt === ATTEMPTS) throw new NotHeld(`${runId} changes again and again; try it once more`);
  }
}

function decide(store: RunStore, run: Run, decision: Decision): Promise<boolean> {
  const { runId } = run;
  // Without deliveries there is nothing to be taken back: its numbers are just not published.
  if (decision.what === 'discard' && !takesFiles(run)) {
    const reasons = [`discarded${decision.by === undefined ? '' : ` by ${decision.by}`}: ${decision.reason ?? ''}`];
    return store.endHeld(runId, { decision, reasons }, messageOf(envelope(RunRejected, 'cli', { runId, reasons })));
  }
  if (run.manifest === undefined) throw new NotHeld(`${runId} has no manifest`);
  const goesOn = { runId, manifest: run.manifest, passedFiles: 0, rows: run.rows?.kept ?? 0 };
  return store.letHeldGoOn(runId, { decision }, messageOf(envelope(RunValidated, 'cli', goesOn)));
}

function whyNot({ runId, state, decision }: Run): string {
  if (decision === undefined) return `${runId} is ${state}, not held`;
  const by = decision.by === undefined ? '' : ` by ${decision.by}`;
  return `${runId} is ${state}: it was ${decision.what === 'release' ? 'released' : 'discarded'}${by} at ${decision.at}`;
}
