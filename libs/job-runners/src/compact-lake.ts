import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { type DuckDBLimits, Engine, PARQUET, text, textList } from '@music/duckdb';
import { type ObjectStore, type StoredObject, downloadAll } from '@music/storage';
import { ulid } from 'ulid';
import { lakePrefix, lakeRunPrefix } from './job-runner';

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

/** Where it stands which runs a compacted object of the lake is from. */
export const compactedRunsKey = (compactedRun: string): string => `compacted/${compactedRun}.json`;

/**
 * Merges a day's objects in the lake into one where there are more than `maxObjects`. The caller holds the turn to write
 * the lake. Gives whether it did.
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
  const replaced: StoredObject[] = [];
  for await (const object of store.list(bucket, lakePrefix(date))) if (object.key.endsWith('.parquet')) replaced.push(object);
  if (replaced.length <= maxObjects) return false;
  const id = compactedRun(replaced);
  const dir = await mkdtemp(path.join(scratch, 'compact-'));
  const engine = await Engine.open(dir, limits);
  try {
    const files = await downloadAll(store, replaced, path.join(dir, 'in'));
    const file = path.join(dir, 'merged.parquet');
    await engine.run(
      `COPY (SELECT user_id, track_id, listened_at, listen_date FROM read_parquet(${textList(files)}, hive_partitioning = false)) TO ${text(file)} (FORMAT parquet, ${PARQUET})`,
    );
    const merged = await store.upload(bucket, `${JOURNAL}merged/${ulid()}.parquet`, file);
    await store.putJson(bucket, compactedRunsKey(id), { runs: await runsOf(store, bucket, replaced) });
    const compaction: Compaction = { date, merged, target: `${lakeRunPrefix(date, id)}listens.parquet`, replaced };
    const journal = await store.putJson(bucket, journalKey(date), compaction);
    await finish(store, bucket, compaction, journal);
    return true;
  } finally {
    engine.close();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Ends compactions that a process began and did not live to end. To be called by whoever takes the turn to write the lake. */
export async function finishCompactions(store: ObjectStore, bucket: string): Promise<void> {
  for await (const journal of store.list(bucket, `${JOURNAL}date=`))
    await finish(store, bucket, await store.readJson<Compaction>(journal), journal);
}

/**
 * Between its first and its last step the day has listens twice; nobody reads the lake without the turn. Where the target is not
 * there, but neither is all that it replaces, another process did it all, and its target was compacted since.
 */
async function finish(store: ObjectStore, bucket: string, { merged, target, replaced }: Compaction, journal: StoredObject): Promise<void> {
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
async function runsOf(store: ObjectStore, bucket: string, objects: readonly StoredObject[]): Promise<string[]> {
  const runs = new Set<string>();
  for (const { key } of objects) for (const run of await runsBehind(store, bucket, /\/run=([^/]+)\//.exec(key)?.[1] ?? '')) runs.add(run);
  return [...runs].sort();
}

/** The runs behind a `run=` folder of the lake: itself, or those that were compacted into it. */
export async function runsBehind(store: ObjectStore, bucket: string, run: string): Promise<readonly string[]> {
  if (!run.startsWith('compacted__')) return [run];
  const record = await store.head(bucket, compactedRunsKey(run));
  return record === undefined ? [] : (await store.readJson<{ runs: string[] }>(record)).runs;
}
