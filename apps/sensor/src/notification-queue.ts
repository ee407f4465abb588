import { setTimeout as pause } from 'node:timers/promises';
import { DeleteMessageBatchCommand, type Message, ReceiveMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { describeError } from '@music/errors';
import { type StageRuntime, type StoresConfig, awsClient } from '@music/service';
import { readNotification } from './notification';

/** Of SQS: the most that one call waits, and takes. */
const WAIT_SECONDS = 20;
const MESSAGES_A_CALL = 10;
const PAUSE_MS = 5_000;

/**
 * Listens to the queue of the source bucket's notifications. A message only rings: `look` is called, and the message is
 * deleted when it has ended. What is no notification is left to the queue, which moves it to its dead-letter queue after
 * as many receives as it is told.
 */
export class NotificationQueue {
  private readonly sqs: SQSClient;
  private readonly stopping = new AbortController();
  private readonly outcomes;
  private listening: Promise<void> | undefined;
  private failure: string | undefined;
  private oldestSentAt: number | undefined;

  constructor(
    private readonly runtime: StageRuntime,
    private readonly config: StoresConfig & { readonly queueUrl: string },
    private readonly look: () => Promise<void>,
  ) {
    this.sqs = new SQSClient({ ...awsClient(config), useQueueUrlAsEndpoint: true });
    this.outcomes = runtime.metrics.counter(
      'music_notifications_total',
      'Messages of the queue of arrivals by what they said: arrival, other, unknown (left to the dead-letter queue)',
      { outcome: ['arrival', 'other', 'unknown'] },
    );
    runtime.metrics.gauge(
      'music_oldest_notification_age_seconds',
      'Age of the oldest message that was received and not yet worked off; 0: there is none',
      [],
      async () => [[{}, this.oldestSentAt === undefined ? 0 : Math.max(0, (Date.now() - this.oldestSentAt) / 1_000)]],
    );
  }

  get problems(): readonly string[] {
    return this.failure === undefined ? [] : [`the queue of arrivals cannot be read: ${this.failure}`];
  }

  start(): void {
    this.listening = this.listen();
  }

  async close(): Promise<void> {
    this.stopping.abort();
    await this.listening;
    this.sqs.destroy();
  }

  private async listen(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        await this.receive(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.failure = describeError(error);
        this.runtime.logger.warn({ error: this.failure }, 'could not read the queue of arrivals; trying again');
        await pause(PAUSE_MS, undefined, { signal }).catch(() => undefined); // it stops
      }
    }
  }

  private async receive(signal: AbortSignal): Promise<void> {
    const { queueUrl: QueueUrl, sourceBucket, callTimeoutSeconds } = this.config;
    const { Messages = [] } = await this.sqs.send(
      new ReceiveMessageCommand({
        QueueUrl,
        MaxNumberOfMessages: MESSAGES_A_CALL,
        // Shorter than what a connection may be silent for.
        WaitTimeSeconds: Math.min(WAIT_SECONDS, Math.floor(callTimeoutSeconds / 2)),
        MessageSystemAttributeNames: ['SentTimestamp'],
      }),
      { abortSignal: signal },
    );
    this.failure = undefined;
    if (Messages.length === 0) return;
    const read = Messages.map((message) => ({
      message,
      says: readNotification(message.Body ?? '', sourceBucket, 'streams/'),
    }));
    for (const { says } of read) this.outcomes.inc({ outcome: says });
    const known = read.filter(({ says }) => says !== 'unknown');
    const sent = known.map(({ message }) => Number(message.Attributes?.SentTimestamp)).filter(Number.isFinite);
    this.oldestSentAt = sent.length === 0 ? undefined : Math.min(...sent);
    try {
      if (known.some(({ says }) => says === 'arrival')) await this.look();
    } catch {
      return; // they come again; `look` says by itself what it failed of
    }
    await this.delete(known.map(({ message }) => message));
    this.oldestSentAt = undefined;
  }

  private async delete(messages: readonly Message[]): Promise<void> {
    if (messages.length === 0) return;
    const { Failed = [] } = await this.sqs.send(
      new DeleteMessageBatchCommand({
        QueueUrl: this.config.queueUrl,
        Entries: messages.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle })),
      }),
    );
    // They come again, and ring again.
    if (Failed.length > 0) this.runtime.logger.warn({ failed: Failed.length }, 'notifications could not be deleted');
  }
}
