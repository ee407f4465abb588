import { randomUUID } from 'node:crypto';
import type { Admin, Kafka } from 'kafkajs';
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

export interface ReadOptions {
  /** Go on with what comes, until `signal` is aborted. */
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
  /** Only messages from this time on. */
  readonly since?: Date;
  /** Only messages before this time. */
  readonly until?: Date;
}

/**
 * Reads topics from their beginning, or from `since`, to what was their end, or where `until` was, when the call began;
 * with `follow`, on and on. Commits nothing, and leaves no consumer group behind.
 */
export async function readTopics(
  kafka: Kafka,
  topics: readonly string[],
  onMessage: (message: TopicMessage) => void,
  { follow = false, signal, since, until }: ReadOptions = {},
): Promise<void> {
  const admin = kafka.admin();
  const groupId = `music.reader.${randomUUID()}`;
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100, allowAutoTopicCreation: false });
  await admin.connect();
  try {
    const spans = (await Promise.all(topics.map((topic) => spansOf(admin, topic, since, until)))).flat();
    const open = new Map(spans.flatMap(({ place, from, to }) => (to > from ? [[place, to]] : [])));
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
      if (since !== undefined)
        for (const { topic, partition, from } of spans) consumer.seek({ topic, partition, offset: String(from) });
    });
  } finally {
    await consumer.disconnect();
    await admin.deleteGroups([groupId]).catch(() => undefined); // it may never have been made
    await admin.disconnect();
  }
}

/** Where to read each partition of a topic: from an offset to before another. */
async function spansOf(admin: Admin, topic: string, since: Date | undefined, until: Date | undefined) {
  const at = async (time: Date | undefined) =>
    new Map(
      time === undefined
        ? []
        : (await admin.fetchTopicOffsetsByTimestamp(topic, time.getTime())).map(({ partition, offset }) => [
            partition,
            BigInt(offset),
          ]),
    );
  const [ends, sinceAt, untilAt] = await Promise.all([admin.fetchTopicOffsets(topic), at(since), at(until)]);
  return ends.map(({ partition, low, high }) => {
    const from = sinceAt.get(partition) ?? BigInt(low);
    return { topic, partition, place: `${topic}/${partition}`, from, to: untilAt.get(partition) ?? BigInt(high) };
  });
}
