import {
  BatchCombined,
  type Envelope,
  KpisPublished,
  RERUN_STAGES,
  type RerunStage,
  RunValidated,
  type Stage,
  StreamsSensed,
  envelope,
} from '@music/events';
import { messageOf } from './outbox-message';
import { AT_REST, type Batch, type Run, type RunState } from './run';
import type { Ask } from './store/ask-store';
import { MESSAGES_A_TRANSACTION } from './store/outbox-store';
import type { RunStore } from './store/run-store';

/** Thrown when a run cannot be begun again from a stage; says what to do instead. */
export class CannotRerun extends Error {
  override readonly name = 'CannotRerun';
}

const STATE_BEFORE: Record<RerunStage, RunState> = {
  combiner: 'sensed',
  validator: 'sensed',
  'glue-trigger': 'validated',
  archiver: 'published',
};
const STAGES_FROM: Record<RerunStage, readonly Stage[]> = {
  combiner: ['combiner', 'validator', 'glue-trigger', 'archiver'],
  validator: ['validator', 'glue-trigger', 'archiver'],
  'glue-trigger': ['glue-trigger', 'archiver'],
  archiver: ['archiver'],
};

/**
 * Begins a run that was rejected or failed again from a stage, with what the stages before it left. Safe to repeat, and
 * with an `ask` done once. Throws CannotRerun.
 */
export async function rerun(store: RunStore, runId: string, from: RerunStage, ask?: Ask): Promise<void> {
  const { run, batches, events } = await planRerun(store, runId, from);
  if (from === 'combiner' || from === 'validator')
    for (const { batch } of batches)
      await store.batches.reset(runId, batch, from === 'combiner' ? 'sensed' : 'combined');
  const messages = events.map((event) => messageOf(event));
  // One transaction holds so many. The rest goes ahead: a run does not leave a stage before its last batch.
  const last = messages.splice(-MESSAGES_A_TRANSACTION);
  await store.outbox.owe(from, messages);
  const reopened = await store.reopen(runId, run.state, STATE_BEFORE[from], STAGES_FROM[from], from, last, ask);
  if (!reopened) throw new CannotRerun(`${runId} has changed meanwhile; look at it again`);
}

/** What beginning a run again from a stage would send; changes nothing. Throws CannotRerun. */
export async function planRerun(
  store: RunStore,
  runId: string,
  from: RerunStage,
): Promise<{ readonly run: Run; readonly batches: readonly Batch[]; readonly events: readonly Envelope[] }> {
  const run = await store.findRun(runId);
  if (run === undefined) throw new CannotRerun(`there is no run ${runId}`);
  if (run.state === 'completed' || run.state === 'skipped')
    throw new CannotRerun(
      `${runId} is ${run.state}: \`music-kpis backfill\` computes days again, \`music-kpis run --force\` takes files again`,
    );
  if (run.state === 'held')
    throw new CannotRerun(
      `${runId} is held: \`music-kpis release\` publishes it, \`music-kpis discard\` takes it back`,
    );
  if (run.state !== 'rejected' && run.state !== 'failed')
    throw new CannotRerun(
      `${runId} is ${run.state}: it is still under way. If it stands still since Kafka lost what it had, ` +
        `\`music-kpis resume ${runId}\` sends it again`,
    );
  const batches = await store.batches.list(runId);
  return { run, batches, events: eventsFor(run, batches, from) };
}

/**
 * Sends again what the stages of a run under way wait for: what Kafka had not delivered when it lost its data. Whoever
 * got it before does nothing anew. Gives how many events that were. What a stage had taken from Kafka it remembers
 * itself, so a run that waits for its sensor needs none. Throws CannotRerun where the run is not under way.
 */
export async function resume(store: RunStore, runId: string): Promise<number> {
  const run = await store.findRun(runId);
  if (run === undefined) throw new CannotRerun(`there is no run ${runId}`);
  if (AT_REST.has(run.state)) throw new CannotRerun(`${runId} is ${run.state}: no stage works on it`);
  const batches = await store.batches.list(runId);
  const inState = (state: Batch['state']) => batches.filter((batch) => batch.state === state);
  const events = new Map<RerunStage, Envelope[]>();
  if (run.state === 'sensed') {
    events.set('combiner', eventsOf(run, inState('sensed'), 'combiner'));
    events.set('validator', eventsOf(run, inState('combined'), 'validator'));
  }
  if (run.state === 'validated') events.set('glue-trigger', eventsOf(run, batches, 'glue-trigger'));
  if (run.state === 'published') events.set('archiver', eventsOf(run, batches, 'archiver'));
  for (const [stage, waited] of events)
    await store.outbox.owe(
      stage,
      waited.map((event) => messageOf(event)),
    );
  return [...events.values()].flat().length;
}

/** The stages that a run can be begun again from, first ones first; none where it did not end badly. */
export function rerunStages(run: Run, batches: readonly Batch[]): RerunStage[] {
  if (run.state !== 'rejected' && run.state !== 'failed') return [];
  return RERUN_STAGES.filter((from) => {
    try {
      eventsFor(run, batches, from);
      return true;
    } catch (error) {
      if (error instanceof CannotRerun) return false;
      throw error;
    }
  });
}

/** What starts a stage with all batches of a run. Throws CannotRerun where the run never got so far. */
function eventsFor(run: Run, batches: readonly Batch[], from: RerunStage): Envelope[] {
  if (run.manifest !== undefined && batches.length < (run.batches ?? Infinity)) throw neverGotTo(run, from, 'batches');
  return eventsOf(run, batches, from);
}

const neverGotTo = ({ runId }: Run, stage: RerunStage, what: string): CannotRerun =>
  new CannotRerun(
    `${runId} never got as far as the ${stage}: it has no ${what}; begin at an earlier stage, or ask for a new run`,
  );

/** What starts a stage with these batches of a run. */
function eventsOf(run: Run, batches: readonly Batch[], from: RerunStage): Envelope[] {
  const { runId, manifest } = run;
  const missing = (what: string) => neverGotTo(run, from, what);
  if (manifest === undefined) throw missing('manifest');
  switch (from) {
    case 'combiner':
      return batches.map(({ batch }) => envelope(StreamsSensed, 'cli', { runId, batch, manifest }));
    case 'validator':
      return batches.map(({ batch, evidence }) => {
        if (evidence === undefined) throw missing(`evidence of batch ${batch}`);
        return envelope(BatchCombined, 'cli', { runId, batch, manifest, evidence });
      });
    case 'glue-trigger': {
      if (batches.some(({ verdict }) => verdict === undefined)) throw missing('verdicts');
      if (run.state === 'rejected') throw new CannotRerun(`${runId} was rejected by the validator: begin there`);
      const passedFiles = batches.reduce((sum, batch) => sum + (batch.passedFiles ?? 0), 0);
      return [envelope(RunValidated, 'cli', { runId, manifest, passedFiles, rows: run.rows?.kept ?? 0 })];
    }
    case 'archiver':
      if (run.job?.summary === undefined || run.version === undefined || run.days === undefined)
        throw missing('published days');
      return [
        envelope(KpisPublished, 'cli', { runId, summary: run.job.summary, days: run.days, version: run.version }),
      ];
  }
}
