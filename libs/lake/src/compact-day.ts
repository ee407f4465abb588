import { createHash } from 'node:crypto';
import path from 'node:path';
import { type DuckDBLimits, PARQUET, text, withEngine } from '@music/duckdb';
import { type ObjectStore, type StoredObject, downloadAll, ensureRoom } from '@music/storage';
import { ulid } from 'ulid';
import { deliveredRows, isCompacted, writeTemplate } from './delivered-rows';
import { type LakeObject, lakeDay, lakeDays, lakeRunPrefix } from './lake-day';

const JOURNAL = 'compaction/';
const journalKey = (date: string): string => `${JOURNAL}date=${date}.json`;

/** What a compaction is about to do; written before anything is removed, so that it can be finished after a crash. */
interface Compaction {
  readonly date: string;
  /** All listens of the objects that are replaced. */
  readonly merged: StoredObject;
  readonly target: string;
  readonly replaced: readonly StoredObject[];
}

/** Which runs a compacted object of the lake is from. */
interface CompactedRuns {
  readonly runs: readonly string[];
  /** Those of whose rows it is not kept which delivery they came in. Absent: of none, an earlier release merged them. */
  readonly unknown?: readonly string[];
}

/** Where that stands. */
export const compactedRunsKey = (compactedRun: string): string => `compacted/${compactedRun}.json`;

/** No more than this is merged at a time, so that neither time nor scratch space grow with the day. Bytes. */
const MERGED_BYTES = 512 * 2 ** 20;

/**
 * Compacts those of some days that have more than `maxObjects`. The caller holds the turn to write the lake. Gives
 * which.
 */
export async function compactDays(
  store: ObjectStore,
  bucket: string,
  dates: readonly string[],
  maxObjects: number,
  scratch: string,
  limits: DuckDBLimits,
  signal: AbortSignal,
): Promise<string[]> {
  const compacted: string[] = [];
  for (const { date, objects } of await lakeDays(store, bucket, dates)) {
    if (objects.length <= maxObjects) continue;
    signal.throwIfAborted();
    if (await compactDay(store, bucket, date, maxObjects, scratch, limits)) compacted.push(date);
  }
  return compacted;
}

/**
 * Merges the smallest of a day's objects in the lake into one where there are more than `maxObjects`. The caller holds
 * the turn to write the lake. Gives whether it did.
 */
export async function compactDay(
  store: ObjectStore,
  bucket: string,
  date: string,
  maxObjects: number,
  scratch: string,
  limits: DuckDBLimits,
): Promise<boolean> {
  const begun = await store.head(bucket, journalKey(date));
  if (begun !== undefined) await finish(store, bucket, await store.readJson<Compaction>(begun), begun);
  const objects = await lakeDay(store, bucket, date);
  if (objects.length <= maxObjects) return false;
  const replaced = smallest(objects);
  if (replaced.length < 2) return false;
  const id = compactedRun(replaced);
  return withEngine(scratch, 'compact', limits, async (engine, dir) => {
    await ensureRoom(dir, 2 * replaced.reduce((sum, { size }) => sum + size, 0), `to compact the lake's ${date}`);
    const files = await downloadAll(store, replaced, path.join(dir, 'in'));
    const file = path.join(dir, 'merged.parquet');
    const local = files.map((each, i) => ({ path: each, run: (replaced[i] as LakeObject).run }));
    // Each row keeps the delivery it came in, so that it can be taken back.
    await engine.run(
      `COPY (${deliveredRows(local, await writeTemplate(engine, dir))}) TO ${text(file)} (FORMAT parquet, ${PARQUET})`,
    );
    const merged = await store.upload(bucket, `${JOURNAL}merged/${ulid()}.parquet`, file);
    await store.putJson(bucket, compactedRunsKey(id), await runsOf(store, bucket, replaced));
    const compaction: Compaction = { date, merged, target: `${lakeRunPrefix(date, id)}listens.parquet`, replaced };
    const journal = await store.putJson(bucket, journalKey(date), compaction);
    await finish(store, bucket, compaction, journal);
    return true;
  });
}

/**
 * Ends compactions that a process began and did not live to end. To be called by whoever takes the turn to write the
 * lake.
 */
export async function finishCompactions(store: ObjectStore, bucket: string): Promise<void> {
  for await (const journal of store.list(bucket, `${JOURNAL}date=`))
    await finish(store, bucket, await store.readJson<Compaction>(journal), journal);
}

/** The smallest objects that come to no more than MERGED_BYTES together, in key order. */
function smallest(objects: readonly LakeObject[]): LakeObject[] {
  let bytes = 0;
  return [...objects]
    .sort((a, b) => a.size - b.size)
    .filter(({ size }) => (bytes += size) <= MERGED_BYTES)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}

/**
 * Between its first and its last step the day has listens twice, which no reader counts twice. Where the target is not
 * there, but neither is all that it replaces, another process did it all, and its target was compacted since.
 */
async function finish(
  store: ObjectStore,
  bucket: string,
  { merged, target, replaced }: Compaction,
  journal: StoredObject,
): Promise<void> {
  const there = await store.head(bucket, target);
  if (there !== undefined || (await areUnchanged(store, replaced))) {
    if (there?.size !== merged.size) await store.copy(merged, bucket, target);
    for (const object of replaced) await store.deleteIfUnchanged(object);
  }
  await store.deleteIfUnchanged(journal);
  await store.deleteIfUnchanged(merged);
}

async function areUnchanged(store: ObjectStore, objects: readonly StoredObject[]): Promise<boolean> {
  for (const { bucket, key, etag } of objects) if ((await store.head(bucket, key))?.etag !== etag) return false;
  return true;
}

/** Named by what it is made of, so that two processes at the same compaction leave one object. */
function compactedRun(replaced: readonly StoredObject[]): string {
  const hash = createHash('sha256');
  for (const { key, etag } of replaced) hash.update(`${key}\0${etag}\0`);
  return `compacted__${hash.digest('hex').slice(0, 32)}`;
}

/** The runs that objects of the lake are from, through compactions before. */
async function runsOf(store: ObjectStore, bucket: string, objects: readonly LakeObject[]): Promise<CompactedRuns> {
  const runs = new Set<string>();
  const unknown = new Set<string>();
  for (const { run, key } of objects) {
    const behind = await compactedRuns(store, bucket, run);
    for (const each of behind.runs) runs.add(each);
    for (const each of isOfNoFile(key) ? [run] : (behind.unknown ?? behind.runs)) unknown.add(each);
  }
  return { runs: [...runs].sort(), unknown: [...unknown].sort() };
}

/** The runs behind a `run=` folder of the lake: itself, or those that were compacted into it. */
export async function runsBehind(store: ObjectStore, bucket: string, run: string): Promise<readonly string[]> {
  return (await compactedRuns(store, bucket, run)).runs;
}

async function compactedRuns(store: ObjectStore, bucket: string, run: string): Promise<CompactedRuns> {
  if (!isCompacted(run)) return { runs: [run], unknown: [] };
  const record = await store.head(bucket, compactedRunsKey(run));
  return record === undefined ? { runs: [] } : store.readJson<CompactedRuns>(record);
}

/** Whether an object is one that an earlier release parted by days, and kept no files of. */
const isOfNoFile = (key: string): boolean => /\/parted-\d+\.parquet$/.test(key);

/**
 * The objects of some days that have listens of runs of which it is not kept in which file they came: an earlier
 * release made them.
 */
export async function objectsWithoutDeliveries(
  store: ObjectStore,
  bucket: string,
  dates: readonly string[],
  runs: ReadonlySet<string>,
): Promise<LakeObject[]> {
  const folders = new Map<string, Promise<boolean>>();
  const isUnknown = async (folder: string) => {
    const behind = await compactedRuns(store, bucket, folder);
    return (behind.unknown ?? behind.runs).some((run) => runs.has(run));
  };
  const found: LakeObject[] = [];
  for (const { objects } of await lakeDays(store, bucket, dates))
    for (const object of objects) {
      const { run, key } = object;
      if (isCompacted(run)) {
        const unknown = folders.get(run) ?? isUnknown(run);
        folders.set(run, unknown);
        if (await unknown) found.push(object);
      } else if (runs.has(run) && isOfNoFile(key)) found.push(object);
    }
  return found;
}
