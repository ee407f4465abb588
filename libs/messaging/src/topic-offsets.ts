import type { Admin, Kafka } from 'kafkajs';

/** The topics that a consumer group takes. */
export interface Consumed {
  readonly groupId: string;
  readonly topics: readonly string[];
}

/** How many messages wait for each group in each of its topics, whether it has members or not. Asks the brokers. */
export function consumerLags<C extends Consumed>(
  kafka: Kafka,
  consumed: readonly C[],
): Promise<{ readonly of: C; readonly topic: string; readonly waiting: number }[]> {
  return askBrokers(kafka, async (admin) => {
    const lags = [];
    for (const of of consumed)
      for (const { topic, partitions } of await admin.fetchOffsets({ groupId: of.groupId, topics: [...of.topics] })) {
        const ends = new Map((await admin.fetchTopicOffsets(topic)).map((each) => [each.partition, each]));
        // -1: nothing was committed yet, so all of it waits.
        const waiting = partitions.map(({ partition, offset }) => {
          const { low = '0', high = '0' } = ends.get(partition) ?? {};
          return Number(BigInt(high) - BigInt(offset === '-1' ? low : offset));
        });
        lags.push({ of, topic, waiting: waiting.reduce((sum, n) => sum + n, 0) });
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
