import type { DeadLetter } from '@music/messaging';

/** What JSON tells of a dead letter. */
export function letterForPrograms({ stage, topic, message, reason, at }: DeadLetter) {
  return { stage, topic, key: message.key, reason, at };
}
