import { rm } from 'node:fs/promises';
import path from 'node:path';
import { DeleteTableCommand } from '@aws-sdk/client-dynamodb';
import { DeleteCommand } from '@aws-sdk/lib-dynamodb';
import { DeleteBucketCommand, DeleteObjectCommand } from '@aws-sdk/client-s3';
import { STAGES } from '@music/events';
import { until, workspaceRoot } from '@music/local-stack';
import { LocalPipeline, musicKpis, musicKpisPrints, reference } from '@music/local-pipeline';
import { type RunReport, dayReport, requestRun } from '@music/reports';

const SAMPLES = path.join(workspaceRoot(), 'samples');
const [FIRST = '', LAST = ''] = ['2026-03-01', '2026-03-02'];
const WITHOUT_LOSS = reference([SAMPLES]).days;
const HEADER = 'user_id,track_id,listen_time\n';
const EXTRA = 'streams/extra.csv';

// Each row of the table in docs/operations.md, "What to keep, and back up", is followed here.
describe('what a store has lost comes back:', () => {
  let pipeline: LocalPipeline;
  let files = 0;

  afterEach(() => pipeline.stop());

  const kpis = (...args: string[]) => musicKpisPrints(pipeline, ...args);
  const numbers = () => Promise.all([FIRST, LAST].map((day) => dayReport(pipeline.stores.kpis, day)));
  const dropTable = (TableName: string) => pipeline.stores.dynamo.send(new DeleteTableCommand({ TableName }));
  async function dropBucket(Bucket: string): Promise<void> {
    const { objects, s3 } = pipeline.stores;
    for await (const { key } of objects.list(Bucket, '')) await s3.send(new DeleteObjectCommand({ Bucket, Key: key }));
    await s3.send(new DeleteBucketCommand({ Bucket }));
  }
  const runNow = async () => JSON.parse(await kpis('run', '--now', '--wait', '--json')) as RunReport;
  /** Puts a new file with one listen of the first day into the source. */
  const deliverOne = () =>
    pipeline.putTexts({ [`streams/new-${(files += 1)}.csv`]: `${HEADER}new${files},t1,${FIRST} 12:00:00\n` });
  /** What is published once so many listens were delivered besides the samples. */
  async function expectNumbers(more = 0): Promise<void> {
    const [first, last] = await numbers();
    if (more === 0) expect(first).toMatchObject(WITHOUT_LOSS[0] ?? {});
    expect(first?.listen_count).toBe((WITHOUT_LOSS[0]?.listen_count ?? 0) + more);
    expect(last).toMatchObject(WITHOUT_LOSS[1] ?? {});
  }
  /** The samples, and a file that was taken back. */
  async function started(env: Record<string, string> = {}): Promise<void> {
    pipeline = await LocalPipeline.start({ env });
    await pipeline.load(SAMPLES);
    await pipeline.putTexts({ [EXTRA]: `${HEADER}7,t1,${FIRST} 10:00:00\n8,t1,${FIRST} 11:00:00\n` });
  }

  it('music_kpis_table, then the lake', async () => {
    await started();
    await runNow();
    await kpis('retract', '--file', EXTRA, '--reason', 'a test', '--wait');
    await expectNumbers();

    await dropTable(pipeline.config.kpiTable);
    await kpis('setup');
    expect(await numbers()).toEqual([undefined, undefined]);
    await kpis('backfill', '--from', FIRST, '--to', LAST, '--wait');
    await expectNumbers();

    await dropBucket(pipeline.config.lakeBucket);
    await kpis('setup');
    const { objects } = pipeline.stores;
    const { archiveBucket, sourceBucket } = pipeline.config;
    for await (const object of objects.list(archiveBucket, 'streams/'))
      if (!object.key.endsWith('/extra.csv')) await objects.copy(object, sourceBucket, object.key);
    await runNow();
    await expectNumbers();
    await deliverOne();
    await runNow();
    await expectNumbers(1);
  });

  it('pipeline_runs, while all files are still in the source', async () => {
    await started({ MAX_ACTIVE_RUNS: '10' });
    await Promise.all(pipeline.children('archiver').map((child) => child.stop()));
    const published = async (asked: Promise<string>) => pipeline.untilRunIs('published', await asked);
    await published(requestRun(pipeline.stores, { logicalDate: LAST, immediately: true }));
    const { out } = await musicKpis(pipeline, 'retract', '--file', EXTRA, '--reason', 'a test', '--json');
    await published(Promise.resolve((JSON.parse(out) as { run_id: string }).run_id));
    await expectNumbers();
    const before = await numbers();

    await dropTable(pipeline.config.runsTable);
    expect(await kpis('setup')).toContain('1 deliveries that were taken back');
    expect(await kpis('setup')).not.toContain('taken back');
    await pipeline.startService('archiver');
    const { state, version } = await runNow();
    expect(state).toBe('completed');
    expect(version).toBeGreaterThan(Math.max(...before.map((day) => day?.version ?? 0)));
    await expectNumbers();
    await deliverOne();
    await runNow();
    await expectNumbers(1);

    // A table of a backup knows fewer versions than were published, also where nobody called for setup.
    const counter = { pk: 'counter#turn-lake', sk: 'counter' };
    await pipeline.stores.dynamo.send(new DeleteCommand({ TableName: pipeline.config.runsTable, Key: counter }));
    await deliverOne();
    expect((await runNow()).version).toBeGreaterThan(version ?? 0);
    await expectNumbers(2);
  });

  it('what Kafka has not delivered', async () => {
    await started();
    await Promise.all(pipeline.children('validator').map((child) => child.stop()));
    const runId = await requestRun(pipeline.stores, { logicalDate: LAST, immediately: true });
    await until('it is combined', async () =>
      (await pipeline.stores.runs.batches.list(runId)).every(({ state }) => state === 'combined'),
    );
    await pipeline.stack?.child('kafka').stop(500);
    await rm(path.join(pipeline.dir, 'stack', 'kafka'), { recursive: true });
    await pipeline.stack?.startServer('kafka');
    await kpis('setup');
    await pipeline.startService('validator');
    for (const stage of STAGES) {
      const [child] = pipeline.children(stage);
      await until(`${stage} is ready`, async () => child !== undefined && (await pipeline.readiness(child)).ready);
    }
    await kpis('resume', runId, '--wait');
    await kpis('retract', '--file', EXTRA, '--reason', 'a test', '--wait');
    await expectNumbers();
    const { code, err } = await musicKpis(pipeline, 'resume', runId);
    expect([code, err]).toEqual([2, expect.stringContaining('no stage works on it')]);
  });
});
