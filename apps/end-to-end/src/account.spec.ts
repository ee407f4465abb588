import path from 'node:path';
import { GetTablesCommand, GlueClient } from '@aws-sdk/client-glue';
import { dayReport, runReport } from '@music/reports';
import { lakeCatalog } from '@music/lake';
import { reference, LocalPipeline, musicKpisPrints } from '@music/local-pipeline';
import { until, workspaceRoot } from '@music/local-stack';
import { awsClient, setUp } from '@music/service';
import { loadDelivery } from '@music/storage';

const SAMPLES = path.join(workspaceRoot(), 'samples');

/** The template of apps/infra is really made, by a server that nobody here wrote, and the pipeline runs on what it made. */
describe('on the stack that the template makes', () => {
  let pipeline: LocalPipeline;
  beforeAll(async () => {
    pipeline = await LocalPipeline.start({ servers: 'moto', arrivals: 'sqs' });
  });
  afterAll(() => pipeline?.stop());

  it('set-up finds all that it needs', async () => {
    expect(await setUp(pipeline.stores, pipeline.config)).toEqual({ created: { buckets: [], tables: [], topics: [] } });
    expect(pipeline.config.sourceBucket).toBe('music-source-123456789012-us-east-1');
  });

  it('set-up makes the lake a database of the Glue Data Catalog, and brings it up to date', async () => {
    const made = async (...args: string[]) =>
      JSON.parse(await musicKpisPrints(pipeline, 'setup', '--catalog', '--json', ...args)).catalog_tables;
    const all = (done: string) =>
      Object.fromEntries(['listens', 'left_out', 'songs', 'users'].map((name) => [name, done]));
    expect(await made()).toEqual(all('created'));
    expect(await made()).toEqual(all('unchanged'));
    expect(await made('--catalog-from', '2026-01-01')).toEqual({ ...all('unchanged'), listens: 'updated' });
    const { lakeBucket, glueDatabase: database } = pipeline.config;
    const glue = new GlueClient(awsClient(pipeline.config));
    const { TableList = [] } = await glue.send(new GetTablesCommand({ DatabaseName: database }));
    glue.destroy();
    const { tables } = lakeCatalog(lakeBucket, { database, from: '2026-01-01' });
    const byName = (a: { Name?: string }, b: { Name?: string }) => ((a.Name ?? '') < (b.Name ?? '') ? -1 : 1);
    expect([...TableList].sort(byName)).toMatchObject([...tables].sort(byName));
  });

  it('files that arrive ring the sensor by the queue, and give the KPIs that are written down', async () => {
    const { stores, config } = pipeline;
    await loadDelivery(stores.objects, config.sourceBucket, SAMPLES); // of which the buckets tell the queue
    const expected = reference([SAMPLES]);
    await until('all days are served', async () => {
      const days = await Promise.all(expected.days.map(({ date }) => dayReport(stores.kpis, date)));
      return days.every((day, i) => day?.listen_count === expected.days[i]?.listen_count);
    });
    for (const day of expected.days) expect(await dayReport(stores.kpis, day.date)).toMatchObject(day);
    await until('the run has ended', async () =>
      (await stores.runs.listRuns(10)).every(({ state }) => state === 'completed'),
    );
    const reports = await Promise.all((await stores.runs.listRuns(10)).map(({ runId }) => runReport(stores, runId)));
    expect(reports.flatMap((report) => report?.files.map(({ state }) => state))).toEqual(
      expect.arrayContaining(['archived']),
    );
    expect(reports.every((report) => report?.kind === 'arrival')).toBe(true);
  });
});
