import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { LastingError } from '@music/errors';
import { type Envelope, RunRequested, deadLetterTopic, envelope, toJson, topicSpecs } from '@music/events';
import { REPLAYED_HEADER, RunStore, ensureTable, messageOf, pipelineRunsTable } from '@music/runs';
import { LocalStack, localDynamoDB, until } from '@music/local-stack';
import type { Kafka } from 'kafkajs';
import { of } from 'rxjs';
import {
  KafkaTransport,
  MessageContext,
  type MessageOutcome,
  Outbox,
  type TopicMessage,
  ensureTopics,
  kafkaClient,
  listDeadLetters,
  publish,
  publishEvent,
  readTopics,
  replay,
} from './index';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const DAY = '2024-06-25';
let n = 0;
const nextRun = () => `scheduled__2024-01-${String((n += 1)).padStart(2, '0')}`;
const requested = (runId: string) => envelope(RunRequested, 'spec', { runId, logicalDate: DAY });

class Broken extends LastingError {}

describe('the way over Kafka', () => {
  let stack: LocalStack;
  let kafka: Kafka;
  let runs: RunStore;
  /** The same table, as another process has it. */
  let elsewhere: RunStore;
  let transport: KafkaTransport;
  let outbox: Outbox;
  let handler: (event: Envelope, headers: Readonly<Record<string, string>>) => Promise<void>;
  const handled: { runId: string; headers: Readonly<Record<string, string>> }[] = [];
  const outcomes: MessageOutcome[] = [];

  const startTransport = () => {
    outbox = new Outbox(kafka, 'sensor', runs.outbox, silent);
    transport = new KafkaTransport(
      kafka,
      outbox,
      {
        stage: 'sensor',
        groupId: 'spec',
        inPlaceDelaysMs: [10],
        retryDelaysMs: [300, 600],
        concurrency: 3,
        sessionTimeoutMs: 10_000,
      },
      silent,
      (outcome) => outcomes.push(outcome),
    );
    transport.addHandler(
      RunRequested.topic,
      async (event: Envelope, context: MessageContext) => {
        await handler(event, context.headers);
        handled.push({ runId: event.data.runId, headers: context.headers });
        return of(undefined);
      },
      true,
    );
    transport.listen(() => undefined);
  };

  beforeAll(async () => {
    stack = await LocalStack.start(['kafka', 'dynamodb'], { shared: true });
    kafka = kafkaClient({ brokers: [stack.brokers], clientId: 'spec', tls: false, callTimeoutMs: 60_000 }, silent);
    const created = await ensureTopics(kafka, topicSpecs(2), { factor: 1, minInSync: 1 });
    expect(created).toContain(RunRequested.topic);
    expect(await ensureTopics(kafka, topicSpecs(2), { factor: 1, minInSync: 1 })).toEqual([]);
    const table = stack.named('runs');
    const dynamo = localDynamoDB(stack.env);
    await ensureTable(dynamo, pipelineRunsTable(table));
    const documents = DynamoDBDocumentClient.from(dynamo);
    runs = new RunStore(documents, table);
    elsewhere = new RunStore(documents, table);
    startTransport();
    await until('the transport is ready', () => transport.ready);
  });
  afterAll(async () => {
    await transport.close();
    await outbox.close();
    await stack.stop();
  });
  beforeEach(() => {
    handler = async () => undefined;
    handled.length = 0;
    outcomes.length = 0;
  });

  const was = (runId: string) => handled.some((each) => each.runId === runId);
  const deadLetters = async (key: string) =>
    (await listDeadLetters(kafka, runs, ['sensor'])).filter(({ message }) => message.key === key);

  it('hands an event and its trace to the handler, and commits after it', async () => {
    const runId = nextRun();
    const message = messageOf(requested(runId));
    await publish(kafka, [message]);
    await until('it is handled', () => was(runId));
    expect(handled[0]?.headers['traceparent']).toBe(message.headers['traceparent']);
    const admin = kafka.admin();
    await admin.connect();
    await until('it is committed', async () => {
      const offsets = await admin.fetchOffsets({ groupId: 'spec', topics: [RunRequested.topic] });
      return (offsets[0]?.partitions ?? []).some(({ offset }) => Number(offset) > 0);
    });
    await admin.disconnect();
  });

  it('tries a passing fault again from the retry topics, and lets the events behind it pass', async () => {
    const [failing, ...others] = Array.from({ length: 6 }, nextRun);
    let calls = 0;
    handler = async (event) => {
      if (event.data.runId !== failing || (calls += 1) > 3) return;
      // From the retry topic: those behind it would wait for ever if they waited for it.
      if (calls === 3) await until('the others are handled', () => others.every((runId) => was(runId)));
      throw new Error('DynamoDB is down');
    };
    for (const runId of [failing, ...others]) await publishEvent(kafka, requested(runId as string));
    await until('the failing one is handled', () => was(failing as string));
    expect(calls).toBe(4); // twice in place, once and once again from the first retry topic
    expect(handled.at(-1)?.headers['retry-topic']).toBeUndefined();
  });

  it('gives up after the last retry topic: the event is a dead letter with its own headers and the reason', async () => {
    const runId = nextRun();
    handler = async () => {
      throw new Error('for ever');
    };
    await publish(kafka, [{ ...messageOf(requested(runId)), headers: { mine: 'kept' } }]);
    await until('it is a dead letter', () => outcomes.includes('dead_lettered'));
    expect(outcomes).toEqual(['retried', 'retried', 'dead_lettered']);
    const [letter] = await deadLetters(runId);
    expect(letter).toMatchObject({
      stage: 'sensor',
      topic: RunRequested.topic,
      reason: 'Error: for ever',
      replayed: false,
      message: { headers: { mine: 'kept' } },
    });
    expect(letter?.message.value).toBe(
      toJson(requested(runId)).replace(/"time":"[^"]+"/, /"time":"[^"]+"/.exec(letter?.message.value ?? '')?.[0] ?? ''),
    );
  });

  it('gives up at once on a lasting fault, and replay puts the event back once', async () => {
    const runId = nextRun();
    handler = async () => {
      throw new Broken('no');
    };
    await publishEvent(kafka, requested(runId));
    await until('it is a dead letter', () => outcomes.includes('dead_lettered'));
    expect(outcomes).toEqual(['dead_lettered']);
    handler = async () => undefined;
    await replay(
      kafka,
      runs,
      (await deadLetters(runId)).filter(({ replayed }) => !replayed),
    );
    await until('it is handled', () => was(runId));
    expect(handled[0]?.headers[REPLAYED_HEADER]).toBeDefined();
    expect(handled[0]?.headers['dead-letter-reason']).toBeUndefined();
    expect(await deadLetters(runId)).toMatchObject([{ replayed: true }]);
  });

  it.each([
    ['not JSON', '{'],
    [
      'of an unknown type',
      toJson(requested('scheduled__2024-06-25')).replaceAll('music.run.requested', 'music.run.unheard'),
    ],
    [
      'of another topic',
      toJson(requested('scheduled__2024-06-25')).replaceAll('music.run.requested', 'music.run.failed'),
    ],
    ['out of its schema', toJson(requested('scheduled__2024-06-25')).replaceAll(DAY, 'someday')],
    ['of a future version of CloudEvents', toJson(requested('scheduled__2024-06-25')).replaceAll('"1.0"', '"2.0"')],
    ['empty', ''],
    ['of a megabyte', 'x'.repeat(1_000_000)],
  ])('holds nothing up when a message is %s', async (what, value) => {
    const runId = nextRun();
    await publish(kafka, [{ topic: RunRequested.topic, key: `poison ${what}`, value, headers: {} }]);
    await publishEvent(kafka, requested(runId));
    await until('it is handled, the other a dead letter', () => was(runId) && outcomes.includes('dead_lettered'));
    expect(await deadLetters(`poison ${what}`)).toMatchObject([
      { reason: expect.stringMatching(/./), message: { topic: deadLetterTopic('sensor'), value } },
    ]);
  });

  it('handles what a newer release sends, with a field that is not known here', async () => {
    const runId = nextRun();
    const value = toJson(requested(runId)).replaceAll('"logicalDate"', '"priority":1,"logicalDate"');
    await publish(kafka, [{ topic: RunRequested.topic, key: runId, value, headers: {} }]);
    await until('it is handled', () => was(runId));
    expect(outcomes).not.toContain('dead_lettered');
  });

  it('sends what comes to be owed at once, and strikes it off', async () => {
    const owed = [nextRun(), nextRun()].map((runId) => messageOf(requested(runId)));
    await Promise.all(owed.map((message) => runs.outbox.owe('sensor', [message]))); // the second while the first is sent
    await until('what is owed is handled', () => owed.every(({ key }) => was(key)));
    await until('nothing is owed', async () => (await runs.outbox.page('sensor')).owed.length === 0);
    for (const { key } of owed) expect(handled.filter(({ runId }) => runId === key)).toHaveLength(1);
  });

  it('sends with a flush what another process came to owe, and strikes it off', async () => {
    const owed = [nextRun(), nextRun()].map((runId) => messageOf(requested(runId)));
    await elsewhere.outbox.owe('sensor', owed);
    await Promise.all([outbox.flush(), outbox.flush()]);
    expect((await runs.outbox.page('sensor')).owed).toEqual([]);
    await until('what is owed is handled', () => owed.every(({ key }) => was(key)));
  });

  it('lets what is being handled end when it stops, and goes on after a start', async () => {
    const runId = nextRun();
    const later = nextRun();
    let begun = false;
    let ended = false;
    handler = async () => {
      begun = true;
      await new Promise((resolve) => setTimeout(resolve, 500));
      ended = true;
    };
    await publishEvent(kafka, requested(runId));
    await until('it is being handled', () => begun);
    await transport.close();
    await outbox.close();
    expect(ended).toBe(true);
    await publishEvent(kafka, requested(later));
    handler = async () => undefined;
    startTransport();
    await until('what came later is handled', () => was(later));
    expect(handled.filter((each) => each.runId === runId)).toHaveLength(1);
  });

  it('reads topics from end to end and leaves no group behind', async () => {
    const messages: TopicMessage[] = [];
    await readTopics(kafka, [RunRequested.topic], (message) => messages.push(message));
    expect(messages.length).toBeGreaterThan(10);
    const admin = kafka.admin();
    await admin.connect();
    const groups = (await admin.listGroups()).groups.map(({ groupId }) => groupId);
    await admin.disconnect();
    expect(groups.filter((group) => group.startsWith('music.reader.'))).toEqual([]);
  });
});
