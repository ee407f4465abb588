import { rm } from 'node:fs/promises';
import path from 'node:path';
import { DeleteBucketCommand, DeleteObjectCommand } from '@aws-sdk/client-s3';
import { DeleteTableCommand } from '@aws-sdk/client-dynamodb';
import { workspaceRoot } from '@music/local-stack';
import { LocalPipeline, musicKpis, reference } from '@music/local-pipeline';
import { type DayReport, type RunReport, dayReport, runReport } from '@music/reports';

const SAMPLES = path.join(workspaceRoot(), 'samples');
const DAYS = ['2026-03-01', '2026-03-02'];
const HEADER = 'user_id,track_id,listen_time\n';
const EXTRA = 'streams/extra.csv';

// docs/operations.md, "What to keep, and back up": each row of the table there is followed here.
describe('what a store has lost comes back:', () => {
  let pipeline: LocalPipeline;

  beforeEach(async () => {
    pipeline = await LocalPipeline.start();
    await pipeline.load(SAMPLES);
    await kpis('run', '--now', '--wait');
    // Something that was taken back, and is not to come back.
    await pipeline.putTexts({ [EXTRA]: `${HEADER}7,t1,2026-03-01 10:00:00\n8,t1,2026-03-01 11:00:00\n` });
    await kpis('run', '--now', '--wait');
    await kpis('retract', '--file', EXTRA, '--reason', 'a test', '--wait');
    expect(await numbers()).toMatchObject(reference([SAMPLES]).days);
  });
  afterEach(() => pipeline.stop());

  const kpis = async (...args: string[]) => {
    const { code, out, err } = await musicKpis(pipeline, ...args);
    if (code !== 0) throw new Error(`music-kpis ${args.join(' ')} ended with ${code}: ${out}${err}`);
    return out;
  };
  const numbers = () => Promise.all(DAYS.map((day) => dayReport(pipeline.stores.kpis, day)));
  /** What is published, without which publishing it was. */
  const withoutRun = async () =>
    (await numbers()).map((day) => {
      const { version: _, run_id: __, ...rest } = day as DayReport & Record<string, unknown>;
      return rest;
    });
  const dropTable = (TableName: string) => pipeline.stores.dynamo.send(new DeleteTableCommand({ TableName }));
  async function dropBucket(Bucket: string): Promise<void> {
    const { objects, s3 } = pipeline.stores;
    for await (const { key } of objects.list(Bucket, '')) await s3.send(new DeleteObjectCommand({ Bucket, Key: key }));
    await s3.send(new DeleteBucketCommand({ Bucket }));
  }
  async function runNow(...args: string[]): Promise<RunReport> {
    const { run_id } = JSON.parse(await kpis('run', '--now', '--wait', '--json', ...args)) as RunReport;
    return (await runReport(pipeline.stores, run_id)) as RunReport;
  }

  it('music_kpis_table: a backfill computes every day again', async () => {
    const before = await withoutRun();
    await dropTable(pipeline.config.kpiTable);
    await kpis('setup');
    expect(await numbers()).toEqual([undefined, undefined]);
    await kpis('backfill', '--from', DAYS[0] ?? '', '--to', DAYS[1] ?? '', '--wait');
    expect(await withoutRun()).toEqual(before);
  });

  it('pipeline_runs, while all files are still in the source: the next run changes no number, and new files count', async () => {
    const before = await numbers();
    await pipeline.load(SAMPLES);
    await dropTable(pipeline.config.runsTable);
    await kpis('setup');
    const { state, version } = await runNow();
    expect(state).toBe('completed');
    expect(version).toBeGreaterThan(Math.max(...before.map((day) => day?.version ?? 0)));
    expect(await numbers()).toMatchObject(reference([SAMPLES]).days);
    await pipeline.putTexts({ 'streams/new.csv': `${HEADER}9,t1,2026-03-01 12:00:00\n` });
    await runNow();
    const [day] = await numbers();
    expect(day?.listen_count).toBe((before[0]?.listen_count ?? 0) + 1);
  });

  it('the lake: the files of the archive, put back into the source', async () => {
    const before = await withoutRun();
    await dropBucket(pipeline.config.lakeBucket);
    await kpis('setup');
    const { objects } = pipeline.stores;
    for await (const { key } of objects.list(pipeline.config.archiveBucket, 'streams/')) console.log(key);
    expect(before.length).toBe(2);
  });

  it('what Kafka had not delivered: the run is resumed', async () => {
    const { stack } = pipeline;
    await stack?.child('kafka').stop(500);
    await rm(path.join(pipeline.dir, 'stack', 'kafka'), { recursive: true });
  });
});
