import { deadLetterTopic, type Stage } from '@music/events';
import type { OutboxMessage } from './outbox-message';

/** What is added to a message's own headers when it becomes a dead letter. */
export const DEAD_LETTER_HEADERS = {
  reason: 'dead-letter-reason',
  topic: 'dead-letter-topic',
  stage: 'dead-letter-stage',
  at: 'dead-letter-at',
} as const;

/** Marks a message that `replay` put back: it may resume a failed run. */
export const REPLAYED_HEADER = 'replayed';

/**
 * A message that a stage gives up on, as it goes to the stage's dead-letter topic: unchanged, with its headers and the
 * reason.
 */
export function deadLetter(
  stage: Stage,
  message: Omit<OutboxMessage, 'id'> & { id?: string },
  reason: string,
  now = new Date(),
): OutboxMessage {
  return {
    id: `dead-letter/${message.id ?? `${message.topic}/${message.key}`}`,
    topic: deadLetterTopic(stage),
    key: message.key,
    value: message.value,
    headers: {
      ...message.headers,
      [DEAD_LETTER_HEADERS.topic]: message.topic,
      [DEAD_LETTER_HEADERS.stage]: stage,
      [DEAD_LETTER_HEADERS.reason]: reason,
      [DEAD_LETTER_HEADERS.at]: now.toISOString(),
    },
  };
}
