import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LocalPipeline } from '@music/local-pipeline';
import { until } from '@music/local-stack';
import { dayReport, planStanding, requestStanding, table, waitForRun } from '@music/reports';
import { FIRST_DAY, makeBenchData } from './bench-data';
import { measureRun } from './measure';

const LISTENS = 3_300_000;
const WRONG_LISTENS = 10_000;
const OTHER_DAYS = 500;
const TIMES = 5;
const WRONG = 'streams/wrong.csv';
/** The longest from asked to served, in seconds. */
const MUST = 2.5;
/** An outer limit of the waits, far above what is measured. */
const PATIENCE_MS = 60_000;
/** Looking takes the processor from what is looked at, and adds half of itself to the figure. */
const LOOK_MS = 50;

/**
 * One file of 10,000 listens off a day of 3.3 million, and back: how long it takes from asked to served, with and
 * without 500 other days in the lake. Throws where a number is wrong.
 */
export async function benchRetract(say: (text: string) => void): Promise<void> {
  const dir = await mkdtemp(path.join(tmpdir(), 'music-bench-'));
  const pipeline = await LocalPipeline.start({ muchData: true });
  try {
    say('retract: making data …');
    await makeBenchData(path.join(dir, 'day'), { listens: LISTENS, files: 10, days: 1 });
    await pipeline.load(path.join(dir, 'day'));
    await measureRun(pipeline);
    await pipeline.load(await wrongFile(dir));
    await measureRun(pipeline);
    const alone = await measure(pipeline);
    await makeBenchData(path.join(dir, 'others'), { listens: OTHER_DAYS * 1_000, files: 4, days: OTHER_DAYS });
    await pipeline.load(path.join(dir, 'others'));
    await measureRun(pipeline);
    const among = await measure(pipeline);
    say(
      `\nretract: one file of ${WRONG_LISTENS} listens of a day of ${LISTENS}; seconds from asked to served, medians of ${TIMES}`,
    );
    say(
      table(
        ['what', 'days in the lake', 'retract', 'restore', 'dry run', 'must', ''],
        [
          { days: 1, seconds: alone },
          { days: OTHER_DAYS, seconds: among },
        ].map(({ days, seconds: { retract, restore, dryRun } }) => [
          'one file',
          days,
          retract.toFixed(2),
          restore.toFixed(2),
          dryRun.toFixed(2),
          MUST,
          Math.max(retract, restore) <= MUST ? 'reached' : 'MISSED',
        ]),
      ),
    );
    say(`with ${OTHER_DAYS} days ÷ with one: ${(among.retract / alone.retract).toFixed(2)}`);
  } finally {
    await pipeline.stop();
    await rm(dir, { recursive: true });
  }
}

async function measure(pipeline: LocalPipeline) {
  const seconds = { retract: [] as number[], restore: [] as number[], dryRun: [] as number[] };
  const before = await listens(pipeline);
  for (let i = 0; i <= TIMES; i += 1) {
    const began = performance.now();
    const plan = await planStanding(pipeline.stores, pipeline.config.lakeBucket, { change: 'retract', key: WRONG });
    seconds.dryRun.push((performance.now() - began) / 1_000);
    const lost = plan.days.reduce((sum, day) => sum + day.listens, 0);
    seconds.retract.push(await change(pipeline, 'retract', before - lost));
    seconds.restore.push(await change(pipeline, 'restore', before));
  }
  // The first of each, in servers that have just started, does not count.
  const [retract, restore, dryRun] = [seconds.retract, seconds.restore, seconds.dryRun].map(([, ...warm]) =>
    median(warm),
  ) as [number, number, number];
  return { retract, restore, dryRun };
}

/** Seconds from asked until the day is served with so many listens. */
async function change(pipeline: LocalPipeline, what: 'retract' | 'restore', expected: number): Promise<number> {
  const began = performance.now();
  const runId = await requestStanding(pipeline.stores, { change: what, key: WRONG, reason: 'measured' }, FIRST_DAY);
  const served = () => pipeline.stores.kpis.readDay(FIRST_DAY);
  await until(`${runId} is served`, async () => (await served())?.run_id === runId, PATIENCE_MS, LOOK_MS);
  const seconds = (performance.now() - began) / 1_000;
  const found = await listens(pipeline);
  if (found !== expected) throw new Error(`${what}: ${found} listens are served, not ${expected}`);
  await waitForRun(pipeline.stores, runId);
  return seconds;
}

const listens = async (pipeline: LocalPipeline): Promise<number> =>
  (await dayReport(pipeline.stores.kpis, FIRST_DAY))?.listen_count ?? NaN;

/** A file of new listens of the first day. */
async function wrongFile(dir: string): Promise<string> {
  const folder = path.join(dir, 'wrong');
  await mkdir(path.join(folder, 'streams'), { recursive: true });
  const rows = Array.from({ length: WRONG_LISTENS }, (_, i) => `${i},wrong-${i % 500},${FIRST_DAY} 12:34:56.789\n`);
  await writeFile(path.join(folder, WRONG), `user_id,track_id,listen_time\n${rows.join('')}`);
  return folder;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
