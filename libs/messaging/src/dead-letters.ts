import { STAGES, type Stage, deadLetterTopic } from '@music/events';
import { DEAD_LETTER_HEADERS, REPLAYED_HEADER, type RunStore } from '@music/runs';
import type { Kafka } from 'kafkajs';
import { publish } from './publish';
import { type TopicMessage, readTopics } from './read-topics';

/** A dead letter, with whether it was put back. */
export interface DeadLetter {
  readonly stage: Stage;
  readonly topic: string;
  readonly reason: string;
  readonly at: string;
  readonly replayed: boolean;
  readonly message: TopicMessage;
}

/** Whether a message's key is a run's, or one of its batches'. */
export function isOfRun(key: string, runId: string): boolean {
  return key === runId || key.startsWith(`${runId}/`);
}

const placeOf = ({ partition, offset }: TopicMessage) => `${partition}/${offset}`;

/** All dead letters that the topics still keep, oldest first. */
export async function listDeadLetters(
  kafka: Kafka,
  runs: RunStore,
  stages: readonly Stage[] = STAGES,
): Promise<DeadLetter[]> {
  const messages: TopicMessage[] = [];
  await readTopics(kafka, stages.map(deadLetterTopic), (message) => messages.push(message));
  const letters = messages.map(async (message) => ({
    stage: message.headers[DEAD_LETTER_HEADERS.stage] as Stage,
    topic: message.headers[DEAD_LETTER_HEADERS.topic] ?? '',
    reason: message.headers[DEAD_LETTER_HEADERS.reason] ?? '',
    at: message.headers[DEAD_LETTER_HEADERS.at] ?? '',
    replayed: await runs.outbox.isReplayed(message.topic, placeOf(message)),
    message,
  }));
  return (await Promise.all(letters)).sort((a, b) => (a.at < b.at ? -1 : 1));
}

/** Those that were not put back, oldest first. */
export async function listOpenDeadLetters(
  kafka: Kafka,
  runs: RunStore,
  stages?: readonly Stage[],
): Promise<DeadLetter[]> {
  return (await listDeadLetters(kafka, runs, stages)).filter(({ replayed }) => !replayed);
}

/**
 * Puts dead letters back where they came from, once each. A crash in between may put one back twice, which does no
 * harm.
 */
export async function replay(kafka: Kafka, runs: RunStore, letters: readonly DeadLetter[]): Promise<void> {
  const ours: ReadonlySet<string> = new Set(Object.values(DEAD_LETTER_HEADERS));
  for (const { topic, message } of letters) {
    const headers = Object.fromEntries(Object.entries(message.headers).filter(([name]) => !ours.has(name)));
    await publish(kafka, [
      {
        topic,
        key: message.key,
        value: message.value,
        headers: { ...headers, [REPLAYED_HEADER]: new Date().toISOString() },
      },
    ]);
    await runs.outbox.markReplayed(message.topic, placeOf(message), new Date());
  }
}
