import type { OutboxMessage, OwedMessage } from '@music/runs';
import { type Stage, sentBy } from '@music/events';
import type { Kafka, Producer } from 'kafkajs';
import { type Log, untilConnected } from './kafka-client';

/** Where a stage's owed messages stand; `OutboxStore` is one. */
export interface OwedMessages {
  /** Has `tell` called with what the stage comes to owe from now on. */
  onOwed(stage: Stage, tell: (owed: readonly OwedMessage[]) => void): void;
  page(stage: Stage): Promise<{ readonly owed: readonly OwedMessage[]; readonly more: boolean }>;
  strike(stage: Stage, owed: readonly OwedMessage[]): Promise<void>;
}

/**
 * Sends what a stage owes and strikes it off once the brokers have it: what this process came to owe at once, and what
 * it does not know of, or could not send, with the next flush, oldest first.
 */
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
    // What cannot be sent is still owed: the next flush sends it.
    owed.onOwed(stage, (fresh) => void this.begin(fresh).catch(() => undefined));
  }

  async connect(): Promise<void> {
    this.connected = await untilConnected('producer', () => this.producer.connect(), this.log, this.stopping.signal);
    // Where it cannot be done now, the first message does it.
    if (this.connected) await this.lookUp(sentBy(this.stage)).catch(() => undefined);
  }

  /** Everything that is owed now is sent when this resolves. Calls that overlap share the work. */
  async flush(): Promise<void> {
    return this.begin();
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

  /**
   * Sends these and no others, or, where it is sending already or none are named, all that is owed. What is told while a
   * flush has read it already goes out twice, which does no harm.
   */
  private async begin(fresh?: readonly OwedMessage[]): Promise<void> {
    if (!this.connected) return; // the next sweep comes after the connection
    if (this.running !== undefined) {
      this.again = true;
      return this.running;
    }
    this.running = this.sendAll(fresh);
    return this.running;
  }

  private async sendAll(fresh?: readonly OwedMessage[]): Promise<void> {
    let known = fresh === undefined ? undefined : { owed: fresh, more: false };
    try {
      do {
        this.again = false;
        const { owed, more } = known ?? (await this.owed.page(this.stage));
        known = undefined;
        if (owed.length === 0) continue;
        await this.send(owed);
        await this.owed.strike(this.stage, owed);
        this.again ||= more;
      } while (this.again);
    } finally {
      this.running = undefined; // in the same step: what is owed from here on begins anew
    }
  }
}
