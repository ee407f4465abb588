import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { type DuckDBLimits, Engine, EngineExhausted, textList } from '@music/duckdb';
import type { ObjectRef } from '@music/events';
import { type DayKpis, type DayQuality, type GenreKpis, NO_LISTENS, type TopGenre, type TopSong } from '@music/kpis';
import { lakeDays, writeTemplate } from '@music/lake';
import { type ObjectStore, downloadAll, ensureRoom } from '@music/storage';
import { ulid } from 'ulid';
import { rowsByDay } from './by-day';
import {
  type FetchOptions,
  type FetchedListens,
  type PassOptions,
  type ReportTotals,
  computePass,
  defineFunctions,
  fetchFirst,
} from './duckdb-pass';
import { type KpiJob, type KpiJobSummary, newSummaryKey } from './job-runner';
import { MODELS_VERSION } from './kpi-models';
import { type Pass, planPasses } from './plan-passes';

/** Days whose KPIs are in one object: an object costs a call, however small it is. */
const DAYS_AN_OBJECT = 16;
/**
 * The share of the memory that days which are computed together have as Parquet; in memory they are some times as
 * large.
 */
const SHARE_TOGETHER = 1 / 8;

/** How many times as many buckets as usual are tried before the job fails for want of memory. */
const FINER = [1, 4, 16];

/**
 * What a listen takes of the engine's memory while distinct ones are sought: three numbers, a date, a hash and a
 * pointer in a table of groups, and what is left of it afterwards. Bytes, measured with room to spare, so that no
 * bucket spills.
 */
const BYTES_A_LISTEN = 72;

/** Smaller days are computed about as quickly as their totals are read and written. */
const TOTALS_FROM_BYTES = 16 * 2 ** 20;

/** How much is done at once; it follows from the memory, and specs make it small. */
export interface JobSizes {
  /** Listens that are made distinct at once. */
  readonly listensAtOnce: number;
  /** Bytes of Parquet that are fetched at once. */
  readonly bytesAtOnce: number;
  /** Bytes of Parquet of a day from which on its totals are kept. */
  readonly totalsFromBytes: number;
}

export const sizesFor = ({ memoryBytes }: DuckDBLimits, totalsFromBytes = TOTALS_FROM_BYTES): JobSizes => ({
  listensAtOnce: Math.floor(memoryBytes / BYTES_A_LISTEN),
  bytesAtOnce: memoryBytes,
  totalsFromBytes,
});

type Day = KpiJobSummary['days'][number];

/**
 * Computes a run's KPIs with the embedded engine. Time follows the listens of the run's days; memory stays within its
 * limit, and scratch space follows the largest day. Calls `step` whenever a part is done, with the days that can be
 * published and how many days are computed, also in part. Throws as the store and the engine do; repeating it writes another result.
 */
export async function runDuckDBJob(
  job: KpiJob,
  store: ObjectStore,
  scratch: string,
  limits: DuckDBLimits,
  signal: AbortSignal,
  step: (ready: readonly Day[], daysDone: number) => void = () => undefined,
  sizes: JobSizes = sizesFor(limits),
): Promise<ObjectRef> {
  const began = performance.now();
  const dir = await mkdtemp(path.join(scratch, 'kpis-'));
  // The models order what has an order.
  const opening = Engine.open(dir, { ...limits, unordered: true });
  let ahead: Promise<FetchedListens> | undefined;
  const results = `${job.resultPrefix}${ulid()}/`; // not where another replica may be writing
  try {
    const { leftOut = {} } = job;
    const standing = (await lakeDays(store, job.lakeBucket, job.dates)).map(({ date, objects }) => ({
      date,
      objects: objects.filter(({ run }) => leftOut[run] !== 'all'),
    }));
    const passes = planPasses(standing, Math.min(sizes.bytesAtOnce * SHARE_TOGETHER, sizes.totalsFromBytes));
    const fetching = { store, job, ...sizes };
    const [firstPass] = passes;
    ahead = firstPass === undefined ? undefined : fetchAll(firstPass, { ...fetching, dir: path.join(dir, 'pass-0') });
    ahead?.catch(() => undefined); // awaited in its turn
    const [songs, users, engine] = await Promise.all([
      downloadAll(store, job.songs, path.join(dir, 'songs')),
      downloadAll(store, job.users, path.join(dir, 'users')),
      opening,
    ]);
    await defineFunctions(engine);
    // Read where they lie: of a large catalogue only the tracks that are heard come into memory.
    await engine.run(`CREATE VIEW songs AS SELECT * FROM read_parquet(${textList(songs)})`);
    await engine.run(`CREATE VIEW users AS SELECT user_id FROM read_parquet(${textList(users)})`);
    const unreadableDurations = await engine.count('SELECT count(*) FROM songs WHERE duration_ms IS NULL');
    const songRows = await engine.count('SELECT count(*) FROM songs');

    const totals: ReportTotals = { run_rows: 0, new_listens: 0, unknown_track_listens: 0, unknown_user_listens: 0 };
    const days: Day[] = [];
    const common = {
      ...fetching,
      leftOut,
      template: Object.keys(leftOut).length === 0 ? '' : await writeTemplate(engine, dir),
      signal,
    };
    for (const [i, pass] of passes.entries()) {
      signal.throwIfAborted();
      const inPass = (share: number) => step(days, days.length + share * pass.dates.length);
      const options = { ...common, step: inPass, dir: path.join(dir, `pass-${i}`) };
      const next = passes[i + 1];
      const first = await (ahead ?? fetchAll(pass, options));
      // Fetched while this pass is computed, where both are small enough for scratch space to hold them together.
      ahead =
        next !== undefined && pass.bytes + next.bytes <= sizes.bytesAtOnce
          ? fetchAll(next, { ...options, dir: path.join(dir, `pass-${i + 1}`) })
          : undefined;
      ahead?.catch(() => undefined); // awaited in its turn
      const report = await computeInMemory(engine, pass, first, options);
      for (const name of Object.keys(totals) as (keyof ReportTotals)[]) totals[name] += report[name];
      days.push(...(await writeDays(engine, pass.dates, store, job.resultBucket, results)));
      step(days, days.length);
    }
    const summary: KpiJobSummary = {
      runId: job.runId,
      engine: 'duckdb',
      sqlVersion: MODELS_VERSION,
      days,
      runRows: totals.run_rows,
      newListens: totals.new_listens,
      unknownTrackListens: totals.unknown_track_listens,
      unknownUserListens: totals.unknown_user_listens,
      unreadableDurations,
      songRows,
      seconds: Math.round(performance.now() - began) / 1_000,
    };
    return await store.putJson(job.lakeBucket, newSummaryKey(job.runId), summary);
  } finally {
    await ahead?.catch(() => undefined); // the error that ended the job is the one to tell
    (await opening.catch(() => undefined))?.close();
    await rm(dir, { recursive: true, force: true });
  }
}

async function fetchAll(pass: Pass, options: FetchOptions): Promise<FetchedListens> {
  await ensureRoom(path.dirname(options.dir), Math.min(pass.bytes, options.bytesAtOnce), 'for the listens of a day');
  return fetchFirst(pass, options);
}

/** A user may have so many listens that buckets of the usual number do not fit: then they are made smaller. */
async function computeInMemory(
  engine: Engine,
  pass: Pass,
  first: FetchedListens,
  options: PassOptions,
): Promise<ReportTotals> {
  for (const finer of FINER) {
    try {
      // Without totals: what they spare was not enough.
      const fetched = finer === 1 ? first : await fetchAll(pass, { ...options, totalsFromBytes: Infinity });
      return await computePass(engine, pass, fetched, {
        ...options,
        listensAtOnce: options.listensAtOnce / finer,
      });
    } catch (error) {
      if (!(error instanceof EngineExhausted) || finer === FINER.at(-1)) throw error;
    }
  }
  throw new Error('unreachable: the last try gives a result or throws');
}

/** Puts the KPIs of days into objects of some days each. Holds no more than those of one object in memory. */
async function writeDays(
  engine: Engine,
  dates: readonly string[],
  store: ObjectStore,
  bucket: string,
  prefix: string,
): Promise<Day[]> {
  const totals = await rowsByDay<Pick<DayKpis, 'listen_count' | 'unique_listeners'>>(engine, 'day', 'listen_count');
  const genres = await rowsByDay<GenreKpis>(engine, 'genre_day', 'genre');
  const topSongs = await rowsByDay<TopSong>(engine, 'top_songs', 'genre, rank');
  const topGenres = await rowsByDay<TopGenre>(engine, 'top_genres', 'rank');
  const quality = await rowsByDay<DayQuality>(engine, 'quality', 'listens');
  const written: Day[] = [];
  for (let i = 0; i < dates.length; i += DAYS_AN_OBJECT) {
    const kpis: DayKpis[] = [];
    for (const date of dates.slice(i, i + DAYS_AN_OBJECT)) {
      const [total] = await totals.of(date);
      kpis.push({
        date,
        listen_count: total?.listen_count ?? 0,
        unique_listeners: total?.unique_listeners ?? 0,
        genres: await genres.of(date),
        top_songs: await topSongs.of(date),
        top_genres: await topGenres.of(date),
        quality: (await quality.of(date))[0] ?? NO_LISTENS,
      });
    }
    const object = await store.putJson(bucket, `${prefix}from=${dates[i]}.json`, kpis);
    written.push(...kpis.map(({ date }) => ({ date, kpis: object })));
  }
  return written;
}
