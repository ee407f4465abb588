import type { OutboxMessage, OwedMessage } from '@music/runs';
import { type Stage, sentBy } from '@music/events';
import type { Kafka, Producer } from 'kafkajs';
import { type Log, untilConnected } from './kafka-client';

/** Where a stage's owed messages stand; `OutboxStore` is one. */
export interface OwedMessages {
  page(stage: Stage): Promise<{ readonly owed: readonly OwedMessage[]; readonly more: boolean }>;
  strike(stage: Stage, owed: readonly OwedMessage[]): Promise<void>;
}

/** Sends what a stage owes, oldest first, and strikes it off once the brokers have it. */
export class Outbox {
  private readonly producer: Producer;
  private readonly stopping = new AbortController();
  private connected = false;
  private running: Promise<void> | undefined;
  private again = false;

  constructor(
    kafka: Kafka,
    private readonly stage: Stage,
    private readonly owed: OwedMessages,
    private readonly log: Log,
  ) {
    this.producer = kafka.producer({ allowAutoTopicCreation: false });
  }

  async connect(): Promise<void> {
    this.connected = await untilConnected('producer', () => this.producer.connect(), this.log, this.stopping.signal);
    // Where it cannot be done now, the first message does it.
    if (this.connected) await this.lookUp(sentBy(this.stage)).catch(() => undefined);
  }

  /** Everything that is owed now is sent when this resolves. Calls that overlap share the work. */
  async flush(): Promise<void> {
    if (!this.connected) return; // the next sweep comes after the connection
    if (this.running !== undefined) {
      this.again = true;
      return this.running;
    }
    this.running = this.sendAll().finally(() => {
      this.running = undefined;
    });
    return this.running;
  }

  /** Messages that are owed to nobody's state, such as retries. Resolves when the brokers have them. */
  async send(messages: readonly OutboxMessage[]): Promise<void> {
    const byTopic = new Map<string, OutboxMessage[]>();
    for (const message of messages) byTopic.set(message.topic, [...(byTopic.get(message.topic) ?? []), message]);
    await this.producer.sendBatch({
      acks: -1,
      topicMessages: [...byTopic].map(([topic, all]) => ({
        topic,
        messages: all.map(({ key, value, headers }) => ({ key, value, headers })),
      })),
    });
  }

  async close(): Promise<void> {
    this.stopping.abort();
    await this.running?.catch(() => undefined); // what was not sent is still owed
    this.connected = false;
    await this.producer.disconnect();
  }

  /** Sends nothing, for which kafkajs asks where the topics are, too: the first message need not wait for that. */
  private async lookUp(topics: readonly string[]): Promise<void> {
    await this.producer.sendBatch({ topicMessages: topics.map((topic) => ({ topic, messages: [] })) });
  }

  private async sendAll(): Promise<void> {
    do {
      this.again = false;
      const { owed, more } = await this.owed.page(this.stage);
      if (owed.length === 0) continue;
      await this.send(owed);
      await this.owed.strike(this.stage, owed);
      this.again ||= more;
    } while (this.again);
  }
}
