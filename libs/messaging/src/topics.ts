import type { TopicSpec } from '@music/events';
import type { Kafka } from 'kafkajs';

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
        waitForLeaders: true,
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
    }
    return missing.map(({ topic }) => topic);
  } finally {
    await admin.disconnect();
  }
}
