import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs';
import { runKind } from '@music/events';
import { LocalPipeline, type LocalPipelineOptions } from '@music/local-pipeline';
import { PATIENCE_MS, eventBridgeNotification, s3Notification, throughSns, until } from '@music/local-stack';
import { type RunReport, dayReport, requestRun, runReport, waitForRun } from '@music/reports';

const DAY = '2024-06-25';
const HEADER = 'user_id,track_id,listen_time\n';
const listen = (n: number) => `${n},t1,${DAY} 10:00:00\n`;

describe('files that arrive ask for runs by themselves:', () => {
  let dir: string;
  let pipeline: LocalPipeline;

  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'arrivals-spec-'));
  });
  afterEach(async () => {
    await pipeline.stop();
    await rm(dir, { recursive: true });
  });

  let files = 0;
  async function start(options: LocalPipelineOptions): Promise<void> {
    pipeline = await LocalPipeline.start(options);
    await put(
      'songs/songs.csv',
      'track_id,track_name,artists,track_genre,duration_ms,popularity\nt1,One,A,pop,60000,1\n',
    );
    await put('users/users.csv', 'user_id,user_name,user_country\n1,Ada,France\n');
  }
  async function put(key: string, body: string, tell = true): Promise<void> {
    const file = path.join(dir, `file-${(files += 1)}`); // of its own: puts may overlap
    await mkdir(dir, { recursive: true });
    await writeFile(file, body);
    if (tell) await pipeline.put(key, file);
    else await pipeline.stores.objects.upload(pipeline.config.sourceBucket, key, file);
  }
  /** Runs that arrivals asked for, oldest first. */
  async function arrivals(): Promise<RunReport[]> {
    const runs = (await pipeline.stores.runs.listRuns(100))
      .filter(({ runId }) => runKind(runId) === 'arrival')
      .reverse();
    return Promise.all(runs.map(async ({ runId }) => (await runReport(pipeline.stores, runId)) as RunReport));
  }
  const untilListens = (count: number) =>
    until(
      `${count} listens are served`,
      async () => (await dayReport(pipeline.stores.kpis, DAY))?.listen_count === count,
    );
  const ended = () =>
    until('all runs have ended', async () =>
      (await arrivals()).every(({ state }) => ['completed', 'rejected'].includes(state)),
    );
  const looks = () => new Promise((resolve) => setTimeout(resolve, 2_500)); // a dozen of them, and the interval
  const taken = (runs: readonly RunReport[]) =>
    runs.flatMap(({ files }) => files.filter(({ state }) => state !== 'left').map(({ key }) => key));

  it('two sensors that look make one run of each arrival, and none of what cannot be taken', async () => {
    await start({ arrivals: 'poll' });
    await pipeline.startService('sensor');
    for (let i = 0; i < 5; i += 1) await put(`streams/dt=2024-06-2${i}/part-0.csv`, HEADER + listen(i));
    await untilListens(5);
    await put('streams/b.csv', HEADER + listen(100));
    await put('streams/_SUCCESS', 'x');
    await put('streams/_temporary/0/half.csv', HEADER + listen(101));
    await put('streams/empty.csv', '');
    await untilListens(6);
    await put('streams/broken.csv', 'user_id,listen_time\n1,2024-06-25 10:00:00\n');
    await until('the broken file is judged', async () => (await arrivals()).some(({ state }) => state === 'rejected'));
    await ended();
    const before = await arrivals();
    await looks();
    const runs = await arrivals();
    expect(runs).toEqual(before);
    expect(taken(runs).sort()).toEqual(
      [
        ...Array.from({ length: 5 }, (_, i) => `streams/dt=2024-06-2${i}/part-0.csv`),
        'streams/b.csv',
        'streams/broken.csv',
      ].sort(),
    );
    expect(runs.length).toBeLessThanOrEqual(4); // the five may have been two arrivals
    expect(runs.every(({ kind }) => kind === 'arrival')).toBe(true);

    // Files of one name in several folders stay apart.
    const archived: string[] = [];
    for await (const { key } of pipeline.stores.objects.list(pipeline.config.archiveBucket, 'streams/'))
      archived.push(key.replace(/^streams\/[^/]+\/[^/]+\//, ''));
    expect(archived.sort()).toEqual(['b.csv', ...Array.from({ length: 5 }, (_, i) => `dt=2024-06-2${i}/part-0.csv`)]);

    const runId = await requestRun(pipeline.stores, { logicalDate: DAY, scheduled: true, immediately: true });
    expect(await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS })).toMatchObject({
      state: 'skipped',
      reasons: [expect.stringContaining('no stream files to take: ')],
    });
  });

  it.each(['poll', 'sqs'] as const)('files that keep coming wait no longer than they may: %s', async (how) => {
    await start({ arrivals: how, env: { ARRIVAL_MAX_WAIT_SECONDS: '3', SENSOR_QUIET_SECONDS: '1' } });
    let sent = 0;
    const sending = setInterval(() => void put(`streams/${sent++}.csv`, HEADER + listen(sent)), 400);
    try {
      // On a busy machine files may come slower than that for once, and a run begin because nothing came: go on.
      await until('a run began while a file was still arriving', async () =>
        (await arrivals()).some(({ files }) => files.some(({ reason }) => reason === 'still_arriving')),
      );
    } finally {
      clearInterval(sending);
    }
    await untilListens(sent);
  });

  it('notifications ring, in every envelope; what is none goes to the dead-letter queue', async () => {
    await start({ arrivals: 'sqs', env: { ARRIVAL_LIST_SECONDS: '3600' } });
    const { sourceBucket } = pipeline.config;
    const object = (key: string) => ({ bucket: sourceBucket, key, etag: '"e"', size: 1 });
    for (const message of [
      JSON.stringify({ Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: sourceBucket }),
      s3Notification(object('streams/gone.csv')),
      s3Notification(object('streams/gone.csv'), 'ObjectRemoved:Delete'),
      s3Notification({ ...object('streams/a.csv'), bucket: 'foreign' }),
      '{ broken',
      'not json',
    ])
      await pipeline.notify(message);
    const key = 'streams/this im + age 100%.csv';
    await put(key, HEADER + listen(1), false);
    // Doubled, and late.
    for (let i = 0; i < 2; i += 1) await pipeline.notify(s3Notification(object(key)));
    await untilListens(1);
    await put('streams/sns.csv', HEADER + listen(2), false);
    await pipeline.notify(throughSns(s3Notification(object('streams/sns.csv'))));
    await untilListens(2);
    await put('streams/bridge.csv', HEADER + listen(3), false);
    await pipeline.notify(eventBridgeNotification(object('streams/bridge.csv')));
    await untilListens(3);
    await ended();
    expect(taken(await arrivals()).sort()).toEqual(['streams/bridge.csv', 'streams/sns.csv', key]);

    const sqs = new SQSClient({ region: 'us-east-1', useQueueUrlAsEndpoint: true });
    const waiting = async (QueueUrl: string) => {
      const names = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible'] as const;
      const { Attributes = {} } = await sqs.send(
        new GetQueueAttributesCommand({ QueueUrl, AttributeNames: [...names] }),
      );
      return names.reduce((sum, name) => sum + Number(Attributes[name]), 0);
    };
    const url = pipeline.env['ARRIVAL_QUEUE_URL'] ?? '';
    await until('two messages are dead', async () => (await waiting(`${url}-dead`)) === 2);
    expect(await waiting(url)).toBe(0);
    sqs.destroy();

    const [sensor] = pipeline.children('sensor');
    if (sensor === undefined) throw new Error('no sensor');
    const metrics = await fetch(`http://127.0.0.1:${pipeline.portsOf(sensor).metrics}/metrics`).then((reply) =>
      reply.text(),
    );
    const count = (outcome: string) =>
      Number(new RegExp(`music_notifications_total\\{outcome="${outcome}"[^}]*\\} (\\d+)`).exec(metrics)?.[1]);
    expect(count('other')).toBe(5); // the test, the removal, the foreign bucket, songs and users
    expect(count('arrival')).toBe(5);
    expect(count('unknown')).toBe(6); // two, three times
  });

  it('what no notification told is found all the same; a queue that is away is told by readiness', async () => {
    await start({ arrivals: 'sqs', env: { ARRIVAL_LIST_SECONDS: '1' } });
    await put('streams/silent.csv', HEADER + listen(1), false);
    await untilListens(1);
    const [sensor] = pipeline.children('sensor');
    if (sensor === undefined) throw new Error('no sensor');
    await pipeline.stack?.child('sqs').stop(500);
    await until('the sensor says so', async () => {
      const { ready, says } = await pipeline.readiness(sensor);
      return !ready && says.includes('the queue of arrivals cannot be read');
    });
    await put('streams/meanwhile.csv', HEADER + listen(2), false);
    await untilListens(2);
    await pipeline.stack?.startServer('sqs');
    await until('the sensor is ready', async () => (await pipeline.readiness(sensor)).ready);
    await put('streams/again.csv', HEADER + listen(3));
    await untilListens(3);
  });
});
