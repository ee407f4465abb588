import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Engine, PARQUET, text, textList } from '@music/duckdb';
import type { ObjectRef } from '@music/events';
import { LISTEN_COLUMNS, type LakeFile, type LakeObject, deliveredRows, isCompacted, standing } from '@music/lake';
import type { LeftOut } from '@music/runs';
import { ObjectChanged, type ObjectStore, downloadAll } from '@music/storage';
import { ulid } from 'ulid';
import type { KpiJob } from './job-runner';
import { MODELS, MODELS_VERSION, catalogueSql } from './kpi-models';

/**
 * What is summed up over buckets of users, and so over any users: the columns by which, and those that are. Taking some
 * users' part away and adding what it has become gives what computing all of a day again would.
 */
const PARTS = {
  track_day: { by: ['track'], sums: ['listen_count', 'new_listens'] },
  genre_listeners: { by: ['genre'], sums: ['unique_listeners'] },
  day_listeners: { by: [], sums: ['unique_listeners'] },
  listener_day: { by: ['is_known', 'listen_count'], sums: ['listener_count', 'new_listens'] },
} as const;

type Part = keyof typeof PARTS;
const PART_NAMES = Object.keys(PARTS) as Part[];

/**
 * Where those whom changes concern have so large a part of a day's listens, to take theirs away and to add them is no
 * less than to compute all of the day. Then totals are kept anew; until then those of before go on to do.
 */
const MOST_CHANGED = 1 / 4;

/**
 * What the parts of one day came to, and of what they were computed: with the same objects, deliveries that stand,
 * catalogue and models they are the same, whoever computed them and when. Nothing in them names a user.
 */
interface DayTotals {
  readonly sqlVersion: string;
  readonly keepUnknownTracks: boolean;
  readonly songs: readonly string[];
  readonly users: readonly string[];
  readonly objects: readonly Pick<LakeObject, 'key' | 'etag'>[];
  readonly leftOut: LeftOut;
  /** Distinct ones, those of tracks that do not count included. */
  readonly listens: number;
  readonly at: ObjectRef;
}

/** Totals of a day, and where their rows are on this machine. */
export interface KnownTotals extends DayTotals {
  readonly file: string;
}

type TotalsJob = Pick<KpiJob, 'keepUnknownTracks' | 'songs' | 'users' | 'leftOut' | 'resultBucket'>;

/** A local copy of an object of the lake, and whether the run of the job brought it. */
export interface DayFile extends LakeFile {
  readonly object: LakeObject;
  readonly isOwn: boolean;
}

const totalsPrefix = (date: string): string => `totals/date=${date}/`;
const totalsKey = (date: string): string => `${totalsPrefix(date)}totals.json`;
const name = ({ key, etag }: Pick<ObjectRef, 'key' | 'etag'>): string => `${key} ${etag}`;

/**
 * The totals of a day, where they are such that a job needs to look at nothing but what has changed since: same models
 * and catalogue, and all objects that they were computed of are there as they were.
 */
export async function findTotals(
  store: ObjectStore,
  job: TotalsJob,
  date: string,
  objects: readonly LakeObject[],
  dir: string,
): Promise<KnownTotals | undefined> {
  const totals = await readTotals(store, job, date);
  if (totals === undefined) return undefined;
  const there = new Set(objects.map(name));
  const isUsable =
    isDeepStrictEqual(circumstances(totals), circumstancesOf(job)) &&
    totals.objects.every((object) => there.has(name(object)));
  if (!isUsable) return undefined;
  try {
    const [file = ''] = await downloadAll(store, [totals.at], path.join(dir, 'totals'));
    return { ...totals, file };
  } catch (error) {
    // Replaced since, or expired.
    if (error instanceof ObjectChanged) return undefined;
    throw error;
  }
}

/** Undefined where there are none, or they are being replaced. */
async function readTotals(
  store: ObjectStore,
  { resultBucket }: TotalsJob,
  date: string,
): Promise<DayTotals | undefined> {
  const found = await store.head(resultBucket, totalsKey(date));
  if (found === undefined) return undefined;
  try {
    return await store.readJson<DayTotals>(found);
  } catch (error) {
    if (error instanceof ObjectChanged) return undefined;
    throw error;
  }
}

type Circumstances = Pick<DayTotals, 'sqlVersion' | 'keepUnknownTracks' | 'songs' | 'users'>;
const circumstances = ({ sqlVersion, keepUnknownTracks, songs, users }: Circumstances): Circumstances => ({
  sqlVersion,
  keepUnknownTracks,
  songs,
  users,
});
const circumstancesOf = ({ keepUnknownTracks, songs, users }: TotalsJob): Circumstances => ({
  sqlVersion: MODELS_VERSION,
  keepUnknownTracks,
  songs: songs.map(name),
  users: users.map(name),
});

/**
 * Keeps what the parts of a day came to. The engine has them as tables, with `tracks`; once this has ended it need not
 * have them any longer. `stored` ends when the totals are there: `totals.json` names an object of its own, so whoever
 * reads it has one or the other, never a mixture.
 */
export async function keepTotals(
  engine: Engine,
  store: ObjectStore,
  job: TotalsJob,
  date: string,
  objects: readonly LakeObject[],
  dir: string,
): Promise<{ readonly stored: Promise<void> }> {
  const file = path.join(dir, 'totals-kept.parquet');
  await engine.run(
    `COPY (
       SELECT 'track_day' AS part, track_id AS name, NULL::INTEGER AS is_known, listen_count, NULL::BIGINT AS listeners
       FROM (SELECT track, sum(listen_count)::BIGINT AS listen_count FROM track_day GROUP BY track) INNER JOIN tracks USING (track)
       UNION ALL SELECT 'genre_listeners', genre, NULL, NULL, sum(unique_listeners)::BIGINT FROM genre_listeners GROUP BY genre
       UNION ALL SELECT 'day_listeners', NULL, NULL, NULL, sum(unique_listeners)::BIGINT FROM day_listeners
       UNION ALL SELECT 'listener_day', NULL, is_known, listen_count, sum(listener_count)::BIGINT FROM listener_day GROUP BY is_known, listen_count
     ) TO ${text(file)} (FORMAT parquet, ${PARQUET})`,
  );
  const listens = await engine.count('SELECT coalesce(sum(listen_count), 0) FROM track_day');
  const stored = storeTotals(store, job, date, objects, listens, file);
  stored.catch(() => undefined); // awaited by the caller
  return { stored };
}

async function storeTotals(
  store: ObjectStore,
  job: TotalsJob,
  date: string,
  objects: readonly LakeObject[],
  listens: number,
  file: string,
): Promise<void> {
  const before = await readTotals(store, job, date);
  const at = await store.upload(job.resultBucket, `${totalsPrefix(date)}${ulid()}.parquet`, file);
  const totals: DayTotals = {
    ...circumstancesOf(job),
    objects: objects.map(({ key, etag }) => ({ key, etag })),
    leftOut: job.leftOut ?? {},
    listens,
    at,
  };
  await store.putJson(job.resultBucket, totalsKey(date), totals);
  // A process that dies here leaves it to the bucket's expiry.
  if (before !== undefined) await store.deleteIfUnchanged(before.at);
}

/** Puts the parts of `distinct_listens`, of a bucket or of all, where `into` says, each by a statement. */
export async function computeParts(engine: Engine, into: (part: Part, model: string) => string): Promise<void> {
  await engine.run(`CREATE OR REPLACE TABLE genre_bitmaps AS ${MODELS.genre_bitmaps}`);
  for (const part of PART_NAMES) await engine.run(into(part, MODELS[part]));
  await engine.run('DROP TABLE distinct_listens; DROP TABLE genre_bitmaps');
}

/**
 * Leaves `tracks`, `catalogue` and the parts of a day in tables, from its totals and from the listens of those users
 * whom what has changed since concerns; the view `listens` has what the run itself brought. Gives false, and nothing to
 * rely on, where that would be no less than to compute all of the day.
 */
export async function computeFromTotals(
  engine: Engine,
  totals: KnownTotals,
  date: string,
  files: readonly DayFile[],
  options: Pick<KpiJob, 'keepUnknownTracks'> & {
    readonly leftOut: LeftOut;
    readonly template: string;
    readonly listensAtOnce: number;
  },
): Promise<boolean> {
  const { leftOut, template, keepUnknownTracks, listensAtOnce } = options;
  const had = new Set(totals.objects.map(name));
  const arrived = files.filter(({ object, isOwn }) => isOwn || !had.has(name(object)));
  const most = Math.min(listensAtOnce, totals.listens * MOST_CHANGED);
  if ((await countRows(engine, arrived)) > most) return false;
  const rows = (of: readonly DayFile[]) => comparedRows(of, had, totals.leftOut, leftOut, template);
  const mayDiffer = files.filter(
    ({ object, run, isOwn }) => isOwn || !had.has(name(object)) || isChanged(run, totals.leftOut, leftOut),
  );
  await engine.run(
    `CREATE OR REPLACE TABLE changed AS SELECT DISTINCT user_id, track_id FROM (${rows(mayDiffer)}) WHERE was_counted <> counts OR (counts AND of_run = 1)`,
  );
  await engine.run(`CREATE OR REPLACE VIEW totals AS SELECT * FROM read_parquet(${text(totals.file)})`);
  const before = `SELECT name AS track_id FROM totals WHERE part = 'track_day'`;
  await engine.run(`CREATE OR REPLACE VIEW listens AS ${before} UNION ALL SELECT track_id FROM changed`);
  await engine.run(`CREATE OR REPLACE TABLE tracks AS ${MODELS.tracks}`);
  await engine.run('CREATE OR REPLACE VIEW listens AS SELECT user_id FROM changed');
  await engine.run(`CREATE OR REPLACE TABLE listeners AS ${MODELS.listeners}`);
  // As the model `distinct_listens` reads them, of then and of now at once.
  await engine.run(
    `CREATE OR REPLACE TABLE their_listens AS SELECT listen_date, listener, track, listened_at, of_run, was_counted, counts
     FROM (${rows(files)}) INNER JOIN listeners USING (user_id) INNER JOIN tracks USING (track_id)
     WHERE was_counted OR counts LIMIT ${Math.floor(most) + 1}`,
  );
  if ((await engine.count('SELECT count(*) FROM their_listens')) > most) {
    await engine.run('DROP TABLE their_listens; DROP TABLE changed');
    return false;
  }
  await engine.run(
    `CREATE OR REPLACE TABLE their_distinct_listens AS SELECT listen_date, listener, track, bool_or(was_counted) AS was_counted,
       bool_or(counts) AS counts, min(of_run) FILTER (counts) AS is_new
     FROM their_listens GROUP BY listen_date, listener, track, listened_at`,
  );
  await engine.run('DROP TABLE their_listens; DROP TABLE changed');
  await engine.run(`CREATE OR REPLACE TABLE catalogue AS ${catalogueSql(keepUnknownTracks)}`);
  for (const part of PART_NAMES) await engine.run(`CREATE OR REPLACE TABLE ${part} AS ${fromTotals(part, date)}`);
  await distinctListens('was_counted', '0');
  await computeParts(engine, (part, model) => {
    const { by, sums } = PARTS[part];
    return `INSERT INTO ${part} SELECT ${['listen_date', ...by, ...sums.map((sum) => `-${sum}`)].join(', ')} FROM (${model})`;
  });
  await distinctListens('counts', 'is_new');
  await computeParts(engine, (part, model) => `INSERT INTO ${part} ${model}`);
  await engine.run('DROP TABLE their_distinct_listens; DROP TABLE listeners');
  for (const part of PART_NAMES) {
    const { by, sums } = PARTS[part];
    const [count] = sums;
    const summed = ['listen_date', ...by, ...sums.map((sum) => `sum(${sum})::BIGINT AS ${sum}`)].join(', ');
    await engine.run(
      `CREATE OR REPLACE TABLE ${part} AS SELECT ${summed} FROM ${part} GROUP BY ${['listen_date', ...by].join(', ')} HAVING sum(${count}) <> 0`,
    );
    // Totals of something else than they say: never trust them further.
    if ((await engine.count(`SELECT count(*) FROM ${part} WHERE ${count} < 0`)) > 0) return false;
  }
  await engine.run(
    `CREATE OR REPLACE VIEW listens AS SELECT of_run FROM (${rows(files.filter(({ isOwn }) => isOwn))}) WHERE counts`,
  );
  return true;

  async function distinctListens(condition: string, isNew: string): Promise<void> {
    await engine.run(
      `CREATE OR REPLACE TABLE distinct_listens AS SELECT listen_date, listener, track, ${isNew} AS is_new FROM their_distinct_listens WHERE ${condition}`,
    );
  }
}

/** As the files themselves say. */
export async function countRows(engine: Engine, files: readonly LakeFile[]): Promise<number> {
  if (files.length === 0) return 0;
  const paths = textList(files.map((file) => file.path));
  return engine.count(`SELECT sum(num_rows) FROM parquet_file_metadata(${paths})`);
}

/** A part's rows as the models give them, for `tracks` that have numbers of their own each time. */
function fromTotals(part: Part, date: string): string {
  const day = `${text(date)}::DATE AS listen_date`;
  switch (part) {
    case 'track_day':
      return `SELECT ${day}, track, listen_count, 0::BIGINT AS new_listens FROM totals INNER JOIN tracks ON track_id = name WHERE part = 'track_day'`;
    case 'genre_listeners':
      return `SELECT ${day}, name AS genre, listeners AS unique_listeners FROM totals WHERE part = 'genre_listeners'`;
    case 'day_listeners':
      return `SELECT ${day}, listeners AS unique_listeners FROM totals WHERE part = 'day_listeners'`;
    case 'listener_day':
      return `SELECT ${day}, is_known, listen_count, listeners AS listener_count, 0::BIGINT AS new_listens FROM totals WHERE part = 'listener_day'`;
  }
}

/** Whether rows of an object that is as it was may count now and not then, or the other way round. */
function isChanged(run: string, before: LeftOut, now: LeftOut): boolean {
  const differs = (by: string) => JSON.stringify(before[by]) !== JSON.stringify(now[by]);
  return isCompacted(run) ? [...new Set([...Object.keys(before), ...Object.keys(now)])].some(differs) : differs(run);
}

/** SQL of the rows of files, with whether the totals have each, and whether it counts now. */
function comparedRows(
  files: readonly DayFile[],
  had: ReadonlySet<string>,
  before: LeftOut,
  now: LeftOut,
  template: string,
): string {
  const kinds = [true, false].flatMap((wasThere) => [true, false].map((isOwn) => ({ wasThere, isOwn })));
  const parts = kinds.flatMap(({ wasThere, isOwn }) => {
    const alike = files.filter((file) => had.has(name(file.object)) === wasThere && file.isOwn === isOwn);
    return alike.length === 0
      ? []
      : [select(deliveredRows(alike, template), isOwn, wasThere ? standing(before) : 'FALSE')];
  });
  return parts.length === 0
    ? select(`SELECT * FROM read_parquet(${text(template)})`, false, 'FALSE')
    : parts.join(' UNION ALL ');

  function select(from: string, isOwn: boolean, wasCounted: string): string {
    return `SELECT ${LISTEN_COLUMNS}, ${isOwn ? 1 : 0} AS of_run, ${wasCounted} AS was_counted, ${standing(now)} AS counts FROM (${from})`;
  }
}
