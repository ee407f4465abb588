import { STAGES } from '@music/events';
import { dayReport, requestRun, runReport, waitForRun } from '@music/reports';
import { LocalPipeline, SAMPLES } from '@music/local-pipeline';
import { mapLimited } from '@music/storage';
import { WHOLE, WHOLE_MS, logFault } from './fault-log';
import { FaultyPipeline } from './faulty-pipeline';

if (WHOLE) jest.setTimeout(WHOLE_MS);

const SMALL_FILES = WHOLE ? 10_000 : 500;
/** An hour of runs, one a minute, without the minutes between them. */
const SOAK_RUNS = WHOLE ? 60 : 12;
/** What a service may have grown by between the first fifth of the runs and the last one, bytes. */
const SOAK_GROWTH = 48 * 2 ** 20;

const mebibytes = (bytes = 0): string => `${Math.round(bytes / 2 ** 20)} MiB`;

it(`memory of each service stays flat over ${SOAK_RUNS} runs`, async () => {
  const faulty = await FaultyPipeline.start();
  try {
    const warm = Math.ceil(SOAK_RUNS / 5);
    const sizes = () => STAGES.map((stage) => faulty.pipeline.children(stage)[0]?.rss() ?? 0);
    let before: number[] = [];
    for (let run = 1; run <= SOAK_RUNS; run += 1) {
      await faulty.settle(await faulty.deliver());
      if (run === warm) before = sizes();
    }
    const grown = sizes().map((size, i) => size - (before[i] ?? 0));
    const where = STAGES.map((stage, i) => `${stage} ${mebibytes(grown[i])}`).join(', ');
    expect(STAGES.filter((_, i) => (grown[i] ?? 0) > SOAK_GROWTH)).toEqual([]);
    logFault({
      fault: 'soak',
      where: `${SOAK_RUNS} runs; grown since run ${warm}: ${where}`,
      times: SOAK_RUNS,
      outcome: 'flat',
    });
  } finally {
    await faulty.stop();
  }
});

it(`${SMALL_FILES} small files are one run`, async () => {
  const pipeline = await LocalPipeline.start();
  try {
    const { stores, config } = pipeline;
    await pipeline.load(SAMPLES); // for songs and users
    await stores.objects.deletePrefix(config.sourceBucket, 'streams/');
    const day = '2025-06-01';
    const file = (i: number) =>
      `user_id,track_id,listen_time\nu${i},trk0001,${day} ${new Date(i * 1_000).toISOString().slice(11, 19)}\n`;
    const put = (i: number) => stores.objects.putText(config.sourceBucket, `streams/${i}.csv`, file(i), 'text/csv');
    await mapLimited([...Array(SMALL_FILES).keys()], 16, put);
    const began = Date.now();
    const runId = await requestRun(stores, { logicalDate: day, immediately: true });
    await waitForRun(stores, runId, { timeoutMs: 3_600_000 });
    const report = await runReport(stores, runId);
    const rss = STAGES.map((stage) => `${stage} ${mebibytes(pipeline.children(stage)[0]?.peakRss())}`).join(', ');
    const seconds = report?.stages.map(({ stage, seconds: n }) => `${stage} ${Math.round(n ?? 0)} s`).join(', ');
    logFault({
      fault: 'load',
      where: `${SMALL_FILES} files of one row; ${seconds}; at most ${rss}`,
      times: 1,
      outcome: `${report?.state} in ${Math.round((Date.now() - began) / 1_000)} s`,
    });
    expect(report).toMatchObject({ state: 'completed', rows: { read: SMALL_FILES, kept: SMALL_FILES } });
    expect(report?.files.filter(({ state }) => state === 'archived')).toHaveLength(SMALL_FILES);
    expect(await dayReport(stores.kpis, day)).toMatchObject({
      listen_count: SMALL_FILES,
      unique_listeners: SMALL_FILES,
    });
    for await (const left of stores.objects.list(config.sourceBucket, 'streams/'))
      throw new Error(`${left.key} was left`);
    for (const stage of STAGES) expect(pipeline.children(stage)[0]?.peakRss()).toBeLessThan(2 ** 30);
  } finally {
    await pipeline.stop();
  }
});
