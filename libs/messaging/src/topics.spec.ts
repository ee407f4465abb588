import type { TopicSpec } from '@music/events';
import { type Kafka, KafkaJSNumberOfRetriesExceeded, KafkaJSProtocolError } from 'kafkajs';
import { ensureTopics } from './topics';

const SPECS: readonly TopicSpec[] = [{ topic: 'music.new', partitions: 1, retentionMs: 1_000, maxMessageBytes: 1_000 }];

const said = (type: string) =>
  new KafkaJSProtocolError(Object.assign(new Error(type), { type, code: 0, retriable: true }));
const givenUp = (error: Error) => new KafkaJSNumberOfRetriesExceeded(error, { retryCount: 5, retryTime: 1 });

/** Brokers that answer each question for a topic that was made with the next of these errors, and then with none. */
function brokers(errors: Error[]): Kafka {
  const admin = {
    connect: async () => undefined,
    disconnect: async () => undefined,
    listTopics: async () => [],
    createTopics: async () => true,
    fetchTopicMetadata: async () => {
      const error = errors.shift();
      if (error !== undefined) throw error;
      return { topics: [] };
    },
  };
  return { admin: () => admin } as unknown as Kafka;
}

describe('topics that were made', () => {
  it('are waited for until the brokers know them and they have leaders', async () => {
    const errors = [
      said('UNKNOWN_TOPIC_OR_PARTITION'),
      givenUp(said('UNKNOWN_TOPIC_OR_PARTITION')),
      said('LEADER_NOT_AVAILABLE'),
    ];
    expect(await ensureTopics(brokers(errors), SPECS, { factor: 1, minInSync: 1 })).toEqual(['music.new']);
    expect(errors).toEqual([]);
  });

  it('are not waited for where the brokers say something else', async () => {
    const errors = [said('TOPIC_AUTHORIZATION_FAILED'), said('UNKNOWN_TOPIC_OR_PARTITION')];
    await expect(ensureTopics(brokers(errors), SPECS, { factor: 1, minInSync: 1 })).rejects.toThrow('AUTHORIZATION');
    expect(errors).toHaveLength(1);
  });
});
