import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type DuckDBLimits, type Engine, text, withEngine } from '@music/duckdb';
import {
  type DeliveriesAsked,
  type LakeFile,
  deliveredRows,
  findDeliveries,
  lakeDays,
  objectsWithoutDeliveries,
  openPlacedDays,
  writeTemplate,
} from '@music/lake';
import { type Delivery, type LeftOut, type Manifest, deliveryKey, leftOutOf } from '@music/runs';
import type { Stores } from '@music/service';
import { downloadAll, ensureRoom } from '@music/storage';

/** What taking deliveries back, or giving them back, would change. */
export interface StandingPlan {
  readonly deliveries: readonly { readonly key: string; readonly version: string }[];
  readonly days: readonly DayChange[];
}

export interface DayChange {
  readonly date: string;
  /** Distinct listens that would be lost, or come back. */
  readonly listens: number;
  /** Distinct listens of the deliveries that count anyway, since another one that stands has them. */
  readonly staying: number;
  /** The files that have those, with how many each; the 10 with most. */
  readonly because_of: readonly { readonly key: string; readonly run_id: string; readonly listens: number }[];
}

const FILES_TOLD = 10;
const LIMITS: DuckDBLimits = { memoryBytes: 512 * 2 ** 20, threads: 2 };

/**
 * What a change of deliveries would do to each day, read from the lake; changes nothing. Time follows the listens of
 * the days that it concerns. Throws NoSuchDelivery.
 */
export async function planStanding(
  { runs, objects }: Pick<Stores, 'runs' | 'objects'>,
  lakeBucket: string,
  asked: DeliveriesAsked,
  scratch = tmpdir(),
): Promise<StandingPlan> {
  const deliveries = await findDeliveries({ runs, objects }, asked);
  const daysOf = await openPlacedDays(objects, lakeBucket, deliveries);
  const dates = [...new Set(deliveries.flatMap(daysOf))].sort();
  const takers = new Set(deliveries.flatMap(({ takenBy }) => takenBy.map(({ runId }) => runId)));
  const unknown = await objectsWithoutDeliveries(objects, lakeBucket, dates, takers);
  if (unknown.length > 0)
    throw new Error(
      `${unknown[0]?.key}: an earlier release wrote it without the files that its listens came in; docs/operations.md says how to deliver them again (Take back)`,
    );
  const { standings, held } = await runs.standing.list();
  const meant = new Set(deliveries.map(deliveryKey));
  const others = leftOutOf(
    standings.filter((standing) => !meant.has(deliveryKey(standing))),
    held,
  );
  return withEngine(scratch, 'plan', LIMITS, async (engine, dir) => {
    await pairsTable(engine, 'meant', deliveriesByRun(deliveries));
    await pairsTable(engine, 'left_out', others);
    const template = await writeTemplate(engine, dir);
    const keyOf = await openKeys({ runs, objects });
    const days: DayChange[] = [];
    for (const { date, objects: found } of await lakeDays(objects, lakeBucket, dates)) {
      await ensureRoom(
        dir,
        found.reduce((sum, { size }) => sum + size, 0),
        `for the listens of ${date}`,
      );
      const folder = path.join(dir, date);
      const files = (await downloadAll(objects, found, folder)).map((file, i): LakeFile => ({
        path: file,
        run: found[i]?.run ?? '',
      }));
      const change = files.length === 0 ? undefined : await dayChange(engine, deliveredRows(files, template));
      await rm(folder, { recursive: true, force: true });
      if (change === undefined) continue;
      const because_of = [];
      for (const { run_id, file, listens } of change.others)
        because_of.push({ key: await keyOf(run_id, file), run_id, listens });
      days.push({ date, listens: change.listens, staying: change.staying, because_of });
    }
    return { deliveries: deliveries.map(({ key, version }) => ({ key, version })), days };
  });
}

const IN = (table: string) =>
  `EXISTS (SELECT 1 FROM ${table} WHERE ${table}.run = rows.delivered_by AND (${table}.file IS NULL OR ${table}.file = rows.file))`;
const LISTEN = 'user_id, track_id, listened_at, listen_date';

async function dayChange(engine: Engine, rows: string) {
  await engine.run(
    `CREATE OR REPLACE TABLE concerned AS SELECT DISTINCT ${LISTEN} FROM (${rows}) AS rows WHERE ${IN('meant')}`,
  );
  await engine.run(
    `CREATE OR REPLACE TABLE elsewhere AS SELECT DISTINCT ${LISTEN}, delivered_by, file
     FROM (${rows}) AS rows JOIN concerned USING (${LISTEN}) WHERE NOT ${IN('meant')} AND NOT ${IN('left_out')}`,
  );
  const all = await engine.count('SELECT count(*) FROM concerned');
  const staying = await engine.count(`SELECT count(*) FROM (SELECT DISTINCT ${LISTEN} FROM elsewhere)`);
  const others = await engine.rows<{ run_id: string | null; file: number | null; listens: bigint }>(
    `SELECT delivered_by AS run_id, file, count(*) AS listens FROM elsewhere GROUP BY ALL ORDER BY listens DESC, run_id, file LIMIT ${FILES_TOLD}`,
  );
  return {
    listens: all - staying,
    staying,
    others: others.map(({ run_id, file, listens }) => ({
      run_id: run_id ?? '',
      file: file ?? -1,
      listens: Number(listens),
    })),
  };
}

function deliveriesByRun(deliveries: readonly Delivery[]): LeftOut {
  const byRun: Record<string, number[]> = {};
  for (const { takenBy } of deliveries) for (const { runId, file } of takenBy) (byRun[runId] ??= []).push(file);
  return byRun;
}

/** Runs and numbers of their files; without a number all of the run. */
async function pairsTable(engine: Engine, name: string, deliveries: LeftOut): Promise<void> {
  await engine.run(`CREATE TABLE ${name} (run VARCHAR, file INTEGER)`);
  const rows = Object.entries(deliveries).flatMap(([run, files]) =>
    files === 'all' ? [`(${text(run)}, NULL)`] : files.map((file) => `(${text(run)}, ${Number(file)})`),
  );
  for (let i = 0; i < rows.length; i += 1_000)
    await engine.run(`INSERT INTO ${name} VALUES ${rows.slice(i, i + 1_000).join(', ')}`);
}

/** Names files by run and number. */
async function openKeys({ runs, objects }: Pick<Stores, 'runs' | 'objects'>) {
  const known = new Map<string, Promise<ReadonlyMap<number, string>>>();
  const read = async (runId: string) => {
    const manifest = (await runs.findRun(runId))?.manifest;
    const { streams } = manifest === undefined ? { streams: [] } : await objects.readJson<Manifest>(manifest);
    return new Map(streams.map(({ file, key }) => [file, key]));
  };
  return async (runId: string, file: number): Promise<string> => {
    const keys = known.get(runId) ?? read(runId);
    known.set(runId, keys);
    return (await keys).get(file) ?? 'a file of which the name is not kept';
  };
}
