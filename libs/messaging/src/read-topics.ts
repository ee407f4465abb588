import { randomUUID } from 'node:crypto';
import type { Kafka } from 'kafkajs';
import { headersOf } from './kafka-transport';

/** A message as it stands in a topic. */
export interface TopicMessage {
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
  readonly timestamp: string;
  readonly key: string;
  readonly value: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Reads topics from their beginning to what was their end when the call began; with `follow`, on and on until `signal`
 * is aborted. Commits nothing, and leaves no consumer group behind.
 */
export async function readTopics(
  kafka: Kafka,
  topics: readonly string[],
  onMessage: (message: TopicMessage) => void,
  { follow = false, signal }: { follow?: boolean; signal?: AbortSignal } = {},
): Promise<void> {
  const admin = kafka.admin();
  const groupId = `music.reader.${randomUUID()}`;
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100, allowAutoTopicCreation: false });
  await admin.connect();
  try {
    const open = new Map<string, bigint>();
    for (const topic of topics) {
      for (const { partition, high, low } of await admin.fetchTopicOffsets(topic))
        if (BigInt(high) > BigInt(low)) open.set(`${topic}/${partition}`, BigInt(high));
    }
    if (!follow && open.size === 0) return;
    await consumer.connect();
    await consumer.subscribe({ topics: [...topics], fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      signal?.addEventListener('abort', () => resolve());
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
      consumer
        .run({
          autoCommit: false,
          eachMessage: async ({ topic, partition, message }) => {
            const place = `${topic}/${partition}`;
            const end = open.get(place);
            if (follow || (end !== undefined && BigInt(message.offset) < end)) {
              onMessage({
                topic,
                partition,
                offset: message.offset,
                timestamp: message.timestamp,
                key: message.key?.toString() ?? '',
                value: message.value?.toString() ?? '',
                headers: headersOf({ message }),
              });
            }
            if (end !== undefined && BigInt(message.offset) + 1n >= end) open.delete(place);
            if (!follow && open.size === 0) resolve();
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
    await admin.deleteGroups([groupId]).catch(() => undefined); // it may never have been made
    await admin.disconnect();
  }
}
