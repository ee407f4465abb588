import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Engine, text, textList } from '@music/duckdb';
import { LISTEN_COLUMNS, type LakeObject, standingRows, writeTemplate } from '@music/lake';
import type { LeftOut } from '@music/runs';
import { type ObjectStore, downloadAll, ensureRoom } from '@music/storage';
import {
  type DayFile,
  type KnownTotals,
  computeFromTotals,
  computeParts,
  countRows,
  findTotals,
  keepTotals,
} from './day-totals';
import type { KpiJob } from './job-runner';
import { MODELS, catalogueSql } from './kpi-models';
import type { Pass } from './plan-passes';

/** Buckets are meant to be so much smaller than what fits, since a hash does not fill all alike. */
const EVENLY = 0.9;
/** So few buckets are read out of the listens as they lie: to write them down takes as long, and scratch space. */
const BUCKETS_NOT_WRITTEN = 2;
/** Objects are parted so many bytes at a time, and then removed: scratch space holds the listens once, not twice. */
const PARTED_BYTES = 64 * 2 ** 20;
/**
 * Buckets are read once, soon: to compress them would take longer than to write and read what they are larger. Columns
 * with few values have dictionaries all the same.
 */
const BUCKET_PARQUET = 'FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE 122880, DICTIONARY_SIZE_LIMIT 1000';
/** What a listen takes in a bucket beside its user's id: its track's number, its time, what many have alike. Bytes. */
const BYTES_BESIDE_USER = 14;

/** Numbers a run's report is made of, as the model `run_report` names them. */
export type ReportTotals = Record<
  'run_rows' | 'new_listens' | 'unknown_track_listens' | 'unknown_user_listens',
  number
>;

/** The share of a pass that is done when its listens are parted and its tracks numbered, about. */
const NUMBERED = 0.3;

export interface PassOptions {
  readonly store: ObjectStore;
  readonly job: KpiJob;
  /** An own folder below the engine's. */
  readonly dir: string;
  /** Deliveries whose listens do not count, and what is needed to read the others, see `standingRows`. */
  readonly leftOut: LeftOut;
  readonly template: string;
  /** Listens that are made distinct at once, in memory. */
  readonly listensAtOnce: number;
  /** Bytes of objects that are fetched at once; more are parted as they come. */
  readonly bytesAtOnce: number;
  /** Of a day with so many bytes of objects, or more, totals are kept. */
  readonly totalsFromBytes: number;
  readonly signal: AbortSignal;
  /** Called whenever a part is done, with the share that is, 0 to 1. */
  readonly step: (share: number) => void;
}

/** What was fetched of a pass's objects, or of the first group of them. */
export interface FetchedListens {
  readonly folder: string;
  readonly files: readonly DayFile[];
  /** Of the pass's only day, where an earlier job kept such that go for this one. */
  readonly totals: KnownTotals | undefined;
}

export type FetchOptions = Pick<PassOptions, 'store' | 'job' | 'dir' | 'bytesAtOnce' | 'totalsFromBytes'>;

/** Fetches what a pass begins with. To be called ahead, while another pass is computed. Gives the files below `dir`. */
export async function fetchFirst(pass: Pass, options: FetchOptions): Promise<FetchedListens> {
  const { store, job, dir } = options;
  const [date] = pass.dates;
  const [fetched, totals] = await Promise.all([
    fetchGroup(groupsOf(pass, options)[0] ?? [], 0, options),
    date !== undefined && hasTotals(pass, options) ? findTotals(store, job, date, pass.objects, dir) : undefined,
  ]);
  return { ...fetched, totals };
}

/** A large day that is fetched as a whole. */
function hasTotals(
  { dates, objects, bytes }: Pass,
  { totalsFromBytes, bytesAtOnce }: Pick<PassOptions, 'totalsFromBytes' | 'bytesAtOnce'>,
): boolean {
  return dates.length === 1 && objects.length > 0 && bytes >= totalsFromBytes && bytes <= bytesAtOnce;
}

/**
 * Computes the models of some days, and leaves them as tables of the engine: `genre_day`, `top_songs`, `top_genres`,
 * `day`, `quality`. The views `songs` and `users` are there. Where a day's totals are known, it looks at the listens of
 * those users whom a change since concerns. Otherwise at all; those that do not fit into memory together are parted into
 * buckets by a hash of their user first: a listen and all its repetitions, and a listener with all their listens, are in
 * one bucket, so what buckets count adds up.
 */
export async function computePass(
  engine: Engine,
  pass: Pass,
  first: FetchedListens,
  options: PassOptions,
): Promise<ReportTotals> {
  const { dir } = options;
  await mkdir(dir, { recursive: true });
  let kept: Kept;
  try {
    kept = await computePassParts(engine, pass, first, options);
    for (const model of ['track_genre_day', 'genre_day', 'top_songs', 'top_genres', 'day', 'quality'] as const)
      await engine.run(`CREATE OR REPLACE TABLE ${model} AS ${MODELS[model]}`);
    const [report] = await engine.rows<Record<keyof ReportTotals, bigint>>(MODELS.run_report);
    const totals = (name: keyof ReportTotals) => Number(report?.[name] ?? 0);
    await kept?.stored;
    return {
      run_rows: totals('run_rows'),
      new_listens: totals('new_listens'),
      unknown_track_listens: totals('unknown_track_listens'),
      unknown_user_listens: totals('unknown_user_listens'),
    };
  } finally {
    await kept?.stored.catch(() => undefined); // the error that ended the pass is the one to tell
    await rm(dir, { recursive: true, force: true });
  }
}

/** Totals that are being stored, where some are. */
type Kept = Awaited<ReturnType<typeof keepTotals>> | undefined;

/**
 * Leaves `tracks`, `catalogue` and the parts as tables, and what the run's report is made of as the view `listens`; and
 * the totals of a large day for the jobs that come.
 */
async function computePassParts(
  engine: Engine,
  pass: Pass,
  first: FetchedListens,
  options: PassOptions,
): Promise<Kept> {
  const { store, job, dir } = options;
  const [date = ''] = pass.dates;
  const { totals, files } = first;
  if (totals !== undefined) {
    const template = await writeTemplate(engine, dir);
    if (await computeFromTotals(engine, totals, date, files, { ...job, ...options, template })) return undefined;
  }
  await computeAllParts(engine, pass, first, options);
  return hasTotals(pass, options) ? keepTotals(engine, store, job, date, pass.objects, dir) : undefined;
}

async function computeAllParts(engine: Engine, pass: Pass, first: FetchedListens, options: PassOptions): Promise<void> {
  const { all, buckets, heard } = await bucketsOf(engine, pass, first, options);
  await listensView(engine, heard ?? all);
  await engine.run(`CREATE OR REPLACE TABLE tracks AS ${MODELS.tracks}`);
  await engine.run(`CREATE OR REPLACE TABLE catalogue AS ${catalogueSql(options.job.keepUnknownTracks)}`);
  options.step(NUMBERED);
  try {
    if (heard !== undefined) await numberTracks(engine);
    for (const [i, bucket] of buckets.entries()) {
      options.signal.throwIfAborted();
      if (buckets.length > 1) await listensView(engine, bucket);
      for (const model of ['listeners', 'distinct_listens'] as const)
        await engine.run(`CREATE OR REPLACE TABLE ${model} AS ${MODELS[model]}`);
      await computeParts(engine, (part, model) =>
        i === 0 ? `CREATE OR REPLACE TABLE ${part} AS ${model}` : `INSERT INTO ${part} ${model}`,
      );
      await engine.run('DROP TABLE listeners');
      options.step(NUMBERED + ((1 - NUMBERED) * (i + 1)) / buckets.length);
    }
  } finally {
    await engine.run('DROP TABLE IF EXISTS temp.tracks');
  }
  if (buckets.length > 1) await listensView(engine, all);
}

/** SQL that gives the columns of the view `listens`: those of all listens, and those of each bucket. */
interface Buckets {
  readonly all: string;
  readonly buckets: readonly string[];
  /** The ids of all tracks that are heard, where `track_id` in the others is a number of the table `parted_tracks`. */
  readonly heard?: string;
}

/**
 * Has `tracks` be found by the numbers that listens were parted with, until it is dropped: a temporary table goes before
 * another of its name.
 */
async function numberTracks(engine: Engine): Promise<void> {
  await engine.run(
    `CREATE TEMP TABLE tracks AS SELECT parted_tracks.number AS track_id, named.track
     FROM parted_tracks INNER JOIN main.tracks AS named ON named.track_id = parted_tracks.track_id`,
  );
  await engine.run('DROP TABLE parted_tracks');
}

const NO_LISTENS =
  "SELECT '' AS user_id, '' AS track_id, TIMESTAMP 'epoch' AS listened_at, DATE 'epoch' AS listen_date, 0 AS of_run WHERE FALSE";

async function listensView(engine: Engine, from: string): Promise<void> {
  await engine.run(`CREATE OR REPLACE VIEW listens AS ${from}`);
}

/** Fetches a pass's objects, and parts them where they are too many for memory. */
async function bucketsOf(engine: Engine, pass: Pass, fetched: FetchedListens, options: PassOptions): Promise<Buckets> {
  const { dates, objects, bytes } = pass;
  if (objects.length === 0) return { all: NO_LISTENS, buckets: [NO_LISTENS] };
  const groups = groupsOf(pass, options);
  const [first = [], ...others] = groups;
  const rows = await countRows(engine, fetched.files);
  const inAll = bytes / first.reduce((sum, { size }) => sum + size, 0);
  const all = readBoth(fetched.files, options);
  if (others.length === 0 && rows <= options.listensAtOnce) return { all, buckets: [all] };
  const count = Math.ceil((rows * inAll) / (options.listensAtOnce * EVENLY));
  if (others.length === 0 && count <= BUCKETS_NOT_WRITTEN)
    return {
      all,
      buckets: numbers(count).map((bucket) => `SELECT * FROM (${all}) WHERE hash(user_id) % ${count} = ${bucket}`),
    };
  await ensureRoom(
    options.dir,
    (await partedBytes(engine, fetched.files, rows)) * inAll + (others.length > 0 ? PARTED_BYTES : 0),
    `for the listens of ${dates.length === 1 ? dates[0] : `${dates[0]} to ${dates.at(-1)}`}`,
  );
  await engine.run('CREATE OR REPLACE TABLE parted_tracks (track_id VARCHAR, number INTEGER)');
  await part(fetched, 0);
  let ahead = others.length > 0 ? fetchGroup(others[0] as LakeObject[], 1, options) : undefined;
  for (const i of others.keys()) {
    options.signal.throwIfAborted();
    const group = await (ahead as Promise<FetchedListens>);
    ahead = i + 1 < others.length ? fetchGroup(others[i + 1] as LakeObject[], i + 2, options) : undefined;
    ahead?.catch(() => undefined); // awaited in its turn
    await part(group, i + 1);
  }
  const parted = readBuckets(path.join(options.dir, 'buckets'));
  return {
    all: parted,
    buckets: numbers(count).map((bucket) => `${parted} WHERE bucket = ${bucket}`),
    heard: 'SELECT track_id FROM parted_tracks',
  };

  /** Numbers the tracks that no group before had, and writes the group's listens with the numbers in place of ids. */
  async function part({ folder, files }: FetchedListens, n: number): Promise<void> {
    const group = readBoth(files, options);
    await engine.run(
      `INSERT INTO parted_tracks SELECT track_id, (SELECT count(*) FROM parted_tracks) + row_number() OVER ()
       FROM (SELECT DISTINCT track_id FROM (${group})) ANTI JOIN parted_tracks USING (track_id)`,
    );
    await engine.run(
      `COPY (SELECT user_id, number AS track_id, listened_at, listen_date, of_run, hash(user_id) % ${count} AS bucket
             FROM (${group}) INNER JOIN parted_tracks USING (track_id))
       TO ${text(path.join(options.dir, 'buckets'))}
       (${BUCKET_PARQUET}, PARTITION_BY (bucket), FILENAME_PATTERN '${n}-{i}', OVERWRITE_OR_IGNORE)`,
    );
    await rm(folder, { recursive: true });
    options.step((NUMBERED * (n + 1)) / (groups.length + 1));
  }
}

/** What the listens of some files take in buckets. */
async function partedBytes(engine: Engine, files: readonly DayFile[], rows: number): Promise<number> {
  const users = await engine.count(
    `SELECT coalesce(sum(total_uncompressed_size), 0) FROM parquet_metadata(${textList(files.map((file) => file.path))})
     WHERE path_in_schema = 'user_id'`,
  );
  return users + rows * BYTES_BESIDE_USER;
}

async function fetchGroup(
  group: readonly LakeObject[],
  n: number,
  { store, dir, job }: Pick<PassOptions, 'store' | 'dir' | 'job'>,
): Promise<FetchedListens> {
  const folder = path.join(dir, `in-${n}`);
  const paths = await downloadAll(store, group, folder);
  const files = group.map((object, i): DayFile => ({
    path: paths[i] as string,
    run: object.run,
    object,
    isOwn: object.run === job.runId,
  }));
  return { folder, files, totals: undefined };
}

/** All objects at once, or a few at a time where they are many times what memory holds. */
function groupsOf({ objects, bytes }: Pass, { bytesAtOnce }: Pick<PassOptions, 'bytesAtOnce'>): LakeObject[][] {
  return inGroups(objects, bytes <= bytesAtOnce ? Infinity : Math.min(PARTED_BYTES, bytesAtOnce));
}

/** Objects in their order, in groups of up to so many bytes, or one alone. */
function inGroups(objects: readonly LakeObject[], most: number): LakeObject[][] {
  const groups: LakeObject[][] = [];
  let bytes = Infinity;
  for (const object of objects) {
    bytes += object.size;
    if (bytes > most || groups.length === 0) {
      groups.push([]);
      bytes = object.size;
    }
    groups.at(-1)?.push(object);
  }
  return groups;
}

function readBoth(files: readonly DayFile[], { leftOut, template }: Pick<PassOptions, 'leftOut' | 'template'>): string {
  return [true, false]
    .map((isOwn) => ({ isOwn, alike: files.filter((file) => file.isOwn === isOwn) }))
    .filter(({ alike }) => alike.length > 0)
    .map(({ isOwn, alike }) => standingRows(alike, leftOut, template, `${isOwn ? 1 : 0} AS of_run`))
    .join(' UNION ALL ');
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

/** All buckets; a condition on `bucket` leaves the files of others unread. */
function readBuckets(folder: string): string {
  return `SELECT ${LISTEN_COLUMNS}, of_run FROM read_parquet(${text(`${folder}/*/*.parquet`)}, hive_partitioning = true, hive_types = {'bucket': BIGINT})`;
}

/** Functions that Spark has and DuckDB spells otherwise. To be defined before the models run. */
export async function defineFunctions(engine: Engine): Promise<void> {
  await engine.run('CREATE OR REPLACE MACRO shiftleft(n, bits) AS n << bits');
}
