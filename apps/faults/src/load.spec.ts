import { STAGES } from '@music/events';
import { dayReport, requestRun, runReport, waitForRun } from '@music/reports';
import { WHOLE, logFault } from './fault-log';
import { FaultyPipeline } from './faulty-pipeline';

jest.setTimeout(1_800_000);

const SMALL_FILES = WHOLE ? 10_000 : 500;
/** An hour of runs, one a minute, without the minutes between them. */
const SOAK_RUNS = WHOLE ? 60 : 12;
/** What a service may have grown by between the first fifth of the runs and the last one, bytes. */
const SOAK_GROWTH = 48 * 2 ** 20;

describe('load', () => {
  let faulty: FaultyPipeline;
  beforeAll(async () => {
    faulty = await FaultyPipeline.start();
    await faulty.settle(await faulty.deliver()); // with songs and users
  });
  afterAll(() => faulty?.stop());

  it(`memory of each service stays flat over ${SOAK_RUNS} runs`, async () => {
    const warm = Math.ceil(SOAK_RUNS / 5);
    const sizes = () => STAGES.map((stage) => faulty.pipeline.children(stage)[0]?.rss() ?? 0);
    let before: number[] = [];
    for (let run = 1; run <= SOAK_RUNS; run += 1) {
      await faulty.settle(await faulty.deliver());
      if (run === warm) before = sizes();
    }
    const after = sizes();
    const grown = STAGES.map((stage, i) => `${stage} ${Math.round(((after[i] ?? 0) - (before[i] ?? 0)) / 2 ** 20)} MiB`);
    logFault({
      fault: 'soak',
      where: `${SOAK_RUNS} runs; grown since run ${warm}: ${grown.join(', ')}`,
      times: SOAK_RUNS,
      outcome: 'flat',
    });
    expect(grown.filter((_, i) => (after[i] ?? 0) - (before[i] ?? 0) > SOAK_GROWTH)).toEqual([]);
  });

  it(`${SMALL_FILES} small files are one run`, async () => {
    const { stores, config } = faulty.pipeline;
    const day = '2025-06-01';
    const csv = (i: number) => `user_id,track_id,listen_time\nu${i},trk0001,${day} ${new Date(i * 1_000).toISOString().slice(11, 19)}\n`;
    for (let i = 0; i < SMALL_FILES; i += 32)
      await Promise.all(
        Array.from({ length: Math.min(32, SMALL_FILES - i) }, (_, j) =>
          stores.objects.putText(config.sourceBucket, `streams/${i + j}.csv`, csv(i + j), 'text/csv'),
        ),
      );
    const began = Date.now();
    const runId = await requestRun(stores, { logicalDate: day, immediately: true });
    await waitForRun(stores, runId, { timeoutMs: 1_500_000 });
    const report = await runReport(stores, runId);
    expect(report).toMatchObject({ state: 'completed', rows: { read: SMALL_FILES, kept: SMALL_FILES } });
    expect(report?.files.filter(({ state }) => state === 'archived')).toHaveLength(SMALL_FILES);
    expect(await dayReport(stores.kpis, day)).toMatchObject({ listen_count: SMALL_FILES, unique_listeners: SMALL_FILES });
    expect(await faulty.sourceKeys()).toEqual([]);
    const rss = STAGES.map((stage) => `${stage} ${Math.round((faulty.pipeline.children(stage)[0]?.peakRss() ?? 0) / 2 ** 20)} MiB`);
    logFault({
      fault: 'load',
      where: `${SMALL_FILES} files of one row; at most ${rss.join(', ')}`,
      times: 1,
      outcome: `completed in ${Math.round((Date.now() - began) / 1_000)} s`,
    });
  });
});
