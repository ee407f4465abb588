import { type Envelope } from '@music/events';
import { messageOf } from '@music/runs';
import type { Kafka } from 'kafkajs';

export interface PlainMessage {
  readonly topic: string;
  readonly key: string;
  readonly value: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Sends messages that no state goes with, and waits until the brokers have them. */
export async function publish(kafka: Kafka, messages: readonly PlainMessage[]): Promise<void> {
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  try {
    for (const { topic, key, value, headers } of messages)
      await producer.send({ topic, acks: -1, messages: [{ key, value, headers }] });
  } finally {
    await producer.disconnect();
  }
}

/** Sends an event, in the trace that `headers` may carry. */
export async function publishEvent(
  kafka: Kafka,
  event: Envelope,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  await publish(kafka, [messageOf(event, { headers })]);
}
