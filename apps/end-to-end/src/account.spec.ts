import path from 'node:path';
import { dayReport, runReport } from '@music/reports';
import { reference, LocalPipeline } from '@music/local-pipeline';
import { until, workspaceRoot } from '@music/local-stack';
import { setUp } from '@music/service';
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
