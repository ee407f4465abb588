import { setTimeout as pause } from 'node:timers/promises';
import type { TopicSpec } from '@music/events';
import type { Admin, Kafka } from 'kafkajs';

/** A topic that was made is known to all brokers a moment later. */
const KNOWN_WITHIN_MS = 60_000;
const NOT_YET = new Set(['UNKNOWN_TOPIC_OR_PARTITION', 'LEADER_NOT_AVAILABLE']);

export interface Replication {
  readonly factor: number;
  /** So many replicas must have a message before it counts as sent. */
  readonly minInSync: number;
}

/** Creates topics that are not there; leaves others as they are. Gives the names of those that were created. */
export async function ensureTopics(
  kafka: Kafka,
  specs: readonly TopicSpec[],
  { factor, minInSync }: Replication,
): Promise<string[]> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const there = new Set(await admin.listTopics());
    const missing = specs.filter(({ topic }) => !there.has(topic));
    if (missing.length > 0) {
      await admin.createTopics({
        waitForLeaders: false, // kafkajs gives up where a broker does not know a topic yet
        topics: missing.map(({ topic, partitions, retentionMs, maxMessageBytes }) => ({
          topic,
          numPartitions: partitions,
          replicationFactor: factor,
          configEntries: [
            { name: 'retention.ms', value: String(retentionMs) },
            { name: 'max.message.bytes', value: String(maxMessageBytes) },
            { name: 'min.insync.replicas', value: String(minInSync) },
          ],
        })),
      });
      await untilKnown(
        admin,
        missing.map(({ topic }) => topic),
      );
    }
    return missing.map(({ topic }) => topic);
  } finally {
    await admin.disconnect();
  }
}

/** Waits until topics that were made have leaders; throws what the brokers say of them where they have none in time. */
async function untilKnown(admin: Admin, topics: string[]): Promise<void> {
  const deadline = Date.now() + KNOWN_WITHIN_MS;
  for (;;) {
    try {
      await admin.fetchTopicMetadata({ topics });
      return;
    } catch (error) {
      if (!isNotYet(error) || Date.now() > deadline) throw error;
      await pause(100);
    }
  }
}

/** kafkajs asks a few times by itself, and then throws what the brokers said as the cause. */
function isNotYet(error: unknown): boolean {
  const { type, cause } = error as { type?: string; cause?: { type?: string } };
  return NOT_YET.has(type ?? cause?.type ?? '');
}
