import { describeError, isLasting } from '@music/errors';
import { type Envelope, type Stage, fromJson, rehearse, retryTopic } from '@music/events';
import { type OutboxMessage, deadLetter } from '@music/runs';
import { type CustomTransportStrategy, Server } from '@nestjs/microservices';
import type { Consumer, EachMessagePayload, Kafka } from 'kafkajs';
import { type Observable, lastValueFrom } from 'rxjs';
import { type Log, pause, untilConnected } from './kafka-client';
import { MessageContext } from './message-context';
import type { Outbox } from './outbox';

export interface TransportOptions {
  readonly stage: Stage;
  readonly groupId: string;
  /** Pauses before a handler is called again at once; the partition waits for these. Milliseconds. */
  readonly inPlaceDelaysMs: readonly number[];
  /** Pauses on the retry topics, one topic each; the partition does not wait for these. Milliseconds. */
  readonly retryDelaysMs: readonly number[];
  readonly concurrency: number;
  readonly sessionTimeoutMs: number;
}

/** What is told of messages, for metrics. */
export const MESSAGE_OUTCOMES = ['handled', 'retried', 'dead_lettered'] as const;
export type MessageOutcome = (typeof MESSAGE_OUTCOMES)[number];

const RETRY = { topic: 'retry-topic', attempt: 'retry-attempt', at: 'retry-at', reason: 'retry-reason' } as const;

/**
 * Nest's way to Kafka. A message is checked against its schema, handled, and only then committed. A passing fault is
 * tried again in place a few times, then from retry topics with growing delays, then it is a dead letter; a lasting
 * fault and a message that fits no schema are dead letters at once. No message holds up those behind it.
 */
export class KafkaTransport extends Server implements CustomTransportStrategy {
  override readonly propagatesEventHandlerErrors = true;
  private readonly stopping = new AbortController();
  private readonly consumers: Consumer[] = [];
  private readonly inFlight = new Set<Promise<void>>();
  private readonly joined = new Set<Consumer>();

  constructor(
    private readonly kafka: Kafka,
    private readonly outbox: Outbox,
    private readonly options: TransportOptions,
    private readonly log: Log,
    private readonly observe: (outcome: MessageOutcome, topic: string) => void = () => undefined,
    /** Called before an event becomes a dead letter, so that its run can say so. */
    private readonly onDeadLetter: (
      event: Envelope,
      reason: string,
      headers: Readonly<Record<string, string>>,
    ) => Promise<void> = async () => undefined,
  ) {
    super();
  }

  /** Resolves at once; Kafka is joined as soon as it can be reached. */
  listen(callback: () => void): void {
    const { stage, groupId, retryDelaysMs } = this.options;
    const { topics } = this;
    const retries = retryDelaysMs.map((_, i) => retryTopic(stage, i + 1));
    for (const topic of topics) rehearse(topic);
    void this.outbox.connect();
    this.consume(groupId, topics, (payload) => this.handle(payload.topic, payload));
    this.consume(`${groupId}.retry`, retries, (payload) => this.handleRetry(payload));
    callback();
  }

  /** Whether every consumer is a member of its group. */
  get ready(): boolean {
    return this.consumers.length > 0 && this.consumers.every((consumer) => this.joined.has(consumer));
  }

  /** What the stage takes, once it listens. */
  get topics(): string[] {
    return [...this.messageHandlers.keys()];
  }

  /** Takes nothing new, lets what is being handled end, leaves the groups. */
  async close(): Promise<void> {
    this.stopping.abort();
    await Promise.allSettled(this.inFlight);
    await Promise.allSettled(this.consumers.map((consumer) => consumer.disconnect()));
  }

  on(): never {
    throw new Error('the transport has no events to listen to; see `ready`');
  }

  unwrap<T>(): T {
    return this.kafka as T;
  }

  private consume(groupId: string, topics: string[], handle: (payload: EachMessagePayload) => Promise<void>): void {
    if (topics.length === 0) return;
    const consumer = this.kafka.consumer({
      groupId,
      sessionTimeout: this.options.sessionTimeoutMs,
      heartbeatInterval: Math.floor(this.options.sessionTimeoutMs / 10),
      rebalanceTimeout: 30_000,
      // How long a broker holds its answer until there is something: five idle services ask it seven times a second.
      // Who stops waits for that answer, and a heartbeat may have to, which is still in time.
      maxWaitTimeInMs: Math.min(1_500, Math.floor(this.options.sessionTimeoutMs / 5)),
      allowAutoTopicCreation: false,
      retry: { initialRetryTime: 100, maxRetryTime: 5_000, retries: 10 },
    });
    this.consumers.push(consumer);
    consumer.on(consumer.events.GROUP_JOIN, () => this.joined.add(consumer));
    consumer.on(consumer.events.DISCONNECT, () => this.joined.delete(consumer));
    const join = () =>
      untilConnected(
        groupId,
        async () => {
          await consumer.connect();
          await consumer.subscribe({ topics, fromBeginning: true });
          await consumer.run({
            autoCommit: false,
            partitionsConsumedConcurrently: this.options.concurrency,
            eachMessage: async (payload) => {
              if (this.stopping.signal.aborted) throw new Error('the service is stopping');
              const handling = this.withHeartbeats(payload, () => handle(payload)).then(() =>
                commit(consumer, payload),
              );
              this.inFlight.add(handling);
              try {
                await handling;
              } finally {
                this.inFlight.delete(handling);
              }
            },
          });
        },
        this.log,
        this.stopping.signal,
      );
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      this.joined.delete(consumer);
      this.log.warn({ error: describeError(payload.error), groupId }, 'the consumer stopped');
      // kafkajs starts it again itself after faults that it takes for passing ones.
      if (!payload.restart && !this.stopping.signal.aborted) void pause(1_000, this.stopping.signal).then(join);
    });
    void join();
  }

  /** Keeps the membership while a handler works. */
  private async withHeartbeats(payload: EachMessagePayload, work: () => Promise<void>): Promise<void> {
    // A heartbeat fails when the group is being rebalanced; then the commit fails too, and the message comes again.
    const timer = setInterval(
      () => void payload.heartbeat().catch(() => undefined),
      this.options.sessionTimeoutMs / 10,
    );
    try {
      await work();
    } finally {
      clearInterval(timer);
    }
  }

  private async handleRetry(payload: EachMessagePayload): Promise<void> {
    const headers = headersOf(payload);
    await pause(Number(headers[RETRY.at] ?? 0) - Date.now(), this.stopping.signal);
    if (this.stopping.signal.aborted) throw new Error('the service is stopping');
    await this.handle(headers[RETRY.topic] ?? payload.topic, payload);
  }

  private async handle(topic: string, { message }: EachMessagePayload): Promise<void> {
    const headers = headersOf({ message });
    const value = message.value?.toString('utf8') ?? '';
    const original = { topic, key: message.key?.toString('utf8') ?? '', value, headers: withoutRetry(headers) };
    let event: Envelope | undefined;
    try {
      event = fromJson(value);
      if (event.topic !== topic) throw new Error(`an event of type ${event.topic} does not belong in ${topic}`);
      await this.callHandler(event, original.headers);
      this.observe('handled', topic);
    } catch (error) {
      if (this.stopping.signal.aborted) throw error;
      const reason = describeError(error);
      const attempt = Number(headers[RETRY.attempt] ?? 0) + 1;
      const again =
        event !== undefined &&
        event.topic === topic &&
        !isLasting(error) &&
        attempt <= this.options.retryDelaysMs.length;
      if (again) {
        await this.outbox.send([this.retry(original, attempt, reason)]);
      } else {
        if (event !== undefined)
          await this.onDeadLetter(event, reason, original.headers).catch((failure: unknown) =>
            this.log.error({ error: describeError(failure) }, 'could not mark the run of a dead letter as failed'),
          );
        await this.outbox.send([deadLetter(this.options.stage, original, reason)]);
      }
      this.observe(again ? 'retried' : 'dead_lettered', topic);
      this.log[again ? 'warn' : 'error'](
        { topic, key: original.key, reason, attempt },
        again ? 'will be tried again' : 'is a dead letter',
      );
    }
  }

  private async callHandler(event: Envelope, headers: Readonly<Record<string, string>>): Promise<void> {
    const handler = this.getHandlerByPattern(event.topic);
    if (handler === null) throw new NoHandler(event.topic);
    for (let attempt = 0; ; attempt += 1) {
      try {
        const result = await handler(event, new MessageContext([headers]));
        await lastValueFrom(this.transformToObservable(result as Observable<unknown>), { defaultValue: undefined });
        return;
      } catch (error) {
        const delay = this.options.inPlaceDelaysMs[attempt];
        if (isLasting(error) || delay === undefined || this.stopping.signal.aborted) throw error;
        await pause(delay, this.stopping.signal);
      }
    }
  }

  private retry(original: Omit<OutboxMessage, 'id'>, attempt: number, reason: string): OutboxMessage {
    const delay = this.options.retryDelaysMs[attempt - 1] ?? 0;
    return {
      ...original,
      id: original.key,
      topic: retryTopic(this.options.stage, attempt),
      headers: {
        ...original.headers,
        [RETRY.topic]: original.topic,
        [RETRY.attempt]: String(attempt),
        [RETRY.at]: String(Date.now() + delay),
        [RETRY.reason]: reason,
      },
    };
  }
}

class NoHandler extends Error {
  override readonly name = 'NoHandler';
  readonly lasting = true;
  constructor(topic: string) {
    super(`this service does not take ${topic}`);
  }
}

async function commit(consumer: Consumer, { topic, partition, message }: EachMessagePayload): Promise<void> {
  await consumer.commitOffsets([{ topic, partition, offset: String(BigInt(message.offset) + 1n) }]);
}

export function headersOf({ message }: Pick<EachMessagePayload, 'message'>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(message.headers ?? {}).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, String(value)]],
    ),
  );
}

function withoutRetry(headers: Readonly<Record<string, string>>): Record<string, string> {
  const ours: ReadonlySet<string> = new Set(Object.values(RETRY));
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !ours.has(name)));
}
