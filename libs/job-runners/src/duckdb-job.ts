import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { type DuckDBLimits, Engine, PARQUET, text, textList } from '@music/duckdb';
import type { ObjectRef } from '@music/events';
import type { DayKpis, GenreKpis, TopGenre, TopSong } from '@music/kpis';
import { type ObjectStore, type StoredObject, downloadAll } from '@music/storage';
import { ulid } from 'ulid';
import { type KpiJob, type KpiJobSummary, lakePrefix, lakeRunPrefix, newSummaryKey } from './job-runner';
import { MODELS, MODELS_VERSION, countedListensSql } from './kpi-models';

/** With more days than this the rows are parted by day first, so that no day reads those of all others. */
const DAYS_READ_TOGETHER = 8;

const EMPTY_LISTENS = "SELECT '' AS user_id, '' AS track_id, TIMESTAMP 'epoch' AS listened_at, DATE 'epoch' AS listen_date WHERE FALSE";

/**
 * Computes a run's KPIs with the embedded engine, a day at a time, so that memory and scratch space follow the largest
 * day. For each day: the new listens go to the lake, and all listens of the day give its KPIs. Throws as the store and
 * the engine do; repeating it replaces what it wrote.
 */
export async function runDuckDBJob(
  job: KpiJob,
  store: ObjectStore,
  scratch: string,
  limits: DuckDBLimits,
  signal: AbortSignal,
): Promise<ObjectRef> {
  const began = performance.now();
  const dir = await mkdtemp(path.join(scratch, 'kpis-'));
  let engine: Engine | undefined;
  const days: Promise<KpiJobSummary['days'][number]>[] = [];
  const results = `${job.resultPrefix}${ulid()}/`; // not where another replica may be writing, either
  try {
    const sql = (engine = await Engine.open(dir, { ...limits, unordered: true })); // the models order what has an order
    const [listens, songs, users] = await Promise.all([
      downloadAll(store, job.listens, path.join(dir, 'listens')),
      downloadAll(store, job.songs, path.join(dir, 'songs')),
      downloadAll(store, job.users, path.join(dir, 'users')),
    ]);
    await sql.run(`CREATE TABLE songs AS SELECT * FROM read_parquet(${textList(songs)})`);
    await sql.run(`CREATE TABLE users AS SELECT user_id FROM read_parquet(${textList(users)})`);
    await sql.run(`CREATE TABLE catalogue AS ${MODELS.catalogue}`);
    const unreadableDurations = await sql.count('SELECT count(*) FROM songs WHERE duration_ms IS NULL');

    let all = listens.length === 0 ? `(${EMPTY_LISTENS})` : `read_parquet(${textList(listens)})`;
    const dates =
      job.dates ??
      (
        await sql.rows<{ date: string }>(
          `SELECT CAST(listen_date AS VARCHAR) AS date FROM (SELECT DISTINCT listen_date FROM ${all}) ORDER BY listen_date`,
        )
      ).map(({ date }) => date);
    if (listens.length > 0 && dates.length > DAYS_READ_TOGETHER) {
      const parted = path.join(dir, 'by-day');
      await sql.run(`COPY (SELECT * FROM ${all}) TO ${text(parted)} (FORMAT parquet, PARTITION_BY (listen_date))`);
      await rm(path.join(dir, 'listens'), { recursive: true });
      all = `read_parquet(${text(`${parted}/*/*.parquet`)}, hive_partitioning = true, hive_types = {'listen_date': DATE})`;
    }

    const totals = { run_rows: 0, new_listens: 0, unknown_track_listens: 0, unknown_user_listens: 0 };
    for (const date of dates) {
      signal.throwIfAborted();
      const folder = path.join(dir, `lake-${date}`);
      const file = path.join(folder, 'new.parquet');
      await mkdir(folder, { recursive: true });
      const { own, others } = await lakeOf(store, job, date);
      const older = await downloadAll(store, job.dates === undefined ? others : [...others, ...own], path.join(folder, 'older'));
      // Dates are those of a DATE column or were checked by who asked for them, so they can hold nothing but a date.
      await sql.run(
        `CREATE OR REPLACE VIEW run_listens AS SELECT user_id, track_id, listened_at, listen_date FROM ${all} WHERE listen_date = DATE ${text(date)}`,
      );
      await sql.run(
        `CREATE OR REPLACE VIEW lake_listens AS ${older.length === 0 ? EMPTY_LISTENS : `SELECT user_id, track_id, listened_at, listen_date FROM read_parquet(${textList(older)}, hive_partitioning = false)`}`,
      );
      await sql.run(`COPY (${MODELS.new_listens}) TO ${text(file)} (FORMAT parquet, ${PARQUET})`);
      const written = job.dates === undefined ? replaceInLake(store, job, date, own, file) : Promise.resolve();
      written.catch(() => undefined); // awaited with its day
      await sql.run(`CREATE OR REPLACE VIEW new_listens AS SELECT * FROM read_parquet(${text(file)})`);
      await sql.run(
        `CREATE OR REPLACE VIEW day_listens AS SELECT * FROM new_listens${older.length === 0 ? '' : ' UNION ALL SELECT * FROM lake_listens'}`,
      );
      const kpis = await dayKpis(sql, date, job.keepUnknownTracks);
      const [report] = await sql.rows<Record<keyof typeof totals, bigint>>(MODELS.run_report);
      for (const name of Object.keys(totals) as (keyof typeof totals)[]) totals[name] += Number(report?.[name] ?? 0);
      // The next day is computed while this one's objects are written.
      const day = Promise.all([store.putJson(job.resultBucket, `${results}date=${date}.json`, kpis), written]).then(async ([object]) => {
        await rm(folder, { recursive: true, force: true });
        return { date, kpis: object };
      });
      day.catch(() => undefined); // awaited below
      days.push(day);
      if (days.length > 1) await days.at(-2);
    }
    const summary: KpiJobSummary = {
      runId: job.runId,
      engine: 'duckdb',
      sqlVersion: MODELS_VERSION,
      days: await Promise.all(days),
      runRows: totals.run_rows,
      newListens: totals.new_listens,
      unknownTrackListens: totals.unknown_track_listens,
      unknownUserListens: totals.unknown_user_listens,
      unreadableDurations,
      seconds: Math.round(performance.now() - began) / 1_000,
    };
    return await store.putJson(job.lakeBucket, newSummaryKey(job.runId), summary);
  } finally {
    await Promise.allSettled(days);
    engine?.close();
    await rm(dir, { recursive: true, force: true });
  }
}

/** The lake's objects of a day: those of this run, and those of all others. */
async function lakeOf(store: ObjectStore, job: KpiJob, date: string): Promise<{ own: StoredObject[]; others: StoredObject[] }> {
  const own: StoredObject[] = [];
  const others: StoredObject[] = [];
  for await (const object of store.list(job.lakeBucket, lakePrefix(date))) {
    if (!object.key.endsWith('.parquet')) continue; // Spark leaves folder markers
    (object.key.startsWith(lakeRunPrefix(date, job.runId)) ? own : others).push(object);
  }
  return { own, others };
}

/**
 * Puts the run's new listens of a day into the lake, in place of what an earlier try, or another engine, left of them. Throws
 * WrittenMeanwhile where another replica has put its own there: this one may have been away for long, and what it found in the
 * lake may no longer be all that there is.
 */
async function replaceInLake(store: ObjectStore, job: KpiJob, date: string, own: readonly StoredObject[], file: string): Promise<void> {
  const key = `${lakeRunPrefix(date, job.runId)}listens.parquet`;
  // First: a run's listens count only once its job is done, so that they may be missing for a moment, but not be there twice.
  for (const object of own) if (object.key !== key) await store.deleteIfUnchanged(object);
  await store.uploadOver(
    own.find((object) => object.key === key),
    job.lakeBucket,
    key,
    file,
  );
}

async function dayKpis(sql: Engine, date: string, keepUnknownTracks: boolean): Promise<DayKpis> {
  await sql.run(`CREATE OR REPLACE VIEW counted_listens AS ${countedListensSql(keepUnknownTracks)}`);
  await sql.run(`CREATE OR REPLACE TABLE track_genre_day AS ${MODELS.track_genre_day}`);
  await sql.run(`CREATE OR REPLACE TABLE genre_day AS ${MODELS.genre_day}`);
  const rows = async <T>(model: string, order: string) =>
    (await sql.rows(`SELECT * EXCLUDE (listen_date) FROM (${model}) ORDER BY ${order}`)).map((row) => withNumbers(row) as T);
  const [day] = await rows<Pick<DayKpis, 'listen_count' | 'unique_listeners'>>(MODELS.day, 'listen_count');
  return {
    date,
    listen_count: day?.listen_count ?? 0,
    unique_listeners: day?.unique_listeners ?? 0,
    genres: await rows<GenreKpis>('SELECT * FROM genre_day', 'genre'),
    top_songs: await rows<TopSong>(MODELS.top_songs, 'genre, rank'),
    top_genres: await rows<TopGenre>(MODELS.top_genres, 'rank'),
  };
}

/** Whole numbers as numbers. Throws on one that would not stay exact. */
function withNumbers(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => {
      if (typeof value !== 'bigint') return [name, value];
      if (value > Number.MAX_SAFE_INTEGER) throw new RangeError(`${name} is ${value}, more than can be kept exactly`);
      return [name, Number(value)];
    }),
  );
}
