import type { Admin, Kafka } from 'kafkajs';

/** How many messages wait in each topic for a consumer group, whether it has members or not. Asks the brokers. */
export function consumerLag(kafka: Kafka, groupId: string, topics: readonly string[]): Promise<Map<string, number>> {
  return askBrokers(kafka, async (admin) => {
    const lags = new Map<string, number>();
    for (const { topic, partitions } of await admin.fetchOffsets({ groupId, topics: [...topics] })) {
      const ends = new Map((await admin.fetchTopicOffsets(topic)).map((each) => [each.partition, each]));
      // -1: nothing was committed yet, so all of it waits.
      const waiting = partitions.map(({ partition, offset }) => {
        const { low = '0', high = '0' } = ends.get(partition) ?? {};
        return Number(BigInt(high) - BigInt(offset === '-1' ? low : offset));
      });
      lags.set(
        topic,
        waiting.reduce((sum, n) => sum + n, 0),
      );
    }
    return lags;
  });
}

/** How many messages a topic ever got, those that it no longer has as well. Asks the brokers. */
export function messagesEver(kafka: Kafka, topic: string): Promise<number> {
  return askBrokers(kafka, async (admin) =>
    (await admin.fetchTopicOffsets(topic)).reduce((sum, { high }) => sum + Number(high), 0),
  );
}

async function askBrokers<T>(kafka: Kafka, ask: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafka.admin({ retry: { retries: 1 } });
  await admin.connect();
  try {
    return await ask(admin);
  } finally {
    await admin.disconnect();
  }
}
