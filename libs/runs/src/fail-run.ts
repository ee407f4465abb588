import { type Envelope, RunFailed, type Stage, envelope } from '@music/events';
import { type OutboxMessage, messageOf } from './outbox-message';
import { TERMINAL } from './run';
import type { RunStore } from './store/run-store';

/**
 * Fails the run of an event, in one step with the messages that are owed besides `run.failed`. A run that has ended
 * stays as it is; the messages are owed all the same.
 */
export async function failRun(
  store: RunStore,
  stage: Stage,
  event: Envelope,
  reason: string,
  headers: Readonly<Record<string, string>>,
  owes: readonly OutboxMessage[],
): Promise<void> {
  const { runId } = event.data;
  for (;;) {
    const run = await store.findRun(runId);
    if (run === undefined || TERMINAL.has(run.state)) {
      await store.outbox.owe(stage, owes);
      return;
    }
    const failed = messageOf(envelope(RunFailed, stage, { runId, stage, reason: reason.slice(0, 4_000) }), { headers });
    const changes = { failedFrom: run.state, failedStage: stage, reasons: [reason] };
    if (await store.transition(runId, run.state, 'failed', stage, changes, [failed, ...owes])) return;
  }
}
