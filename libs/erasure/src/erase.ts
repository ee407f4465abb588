import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { type Engine, PARQUET, text } from '@music/duckdb';
import { type LakeObject, deliveredRows, lakeDay, writeTemplate } from '@music/lake';
import { AT_REST, type BatchEvidence, type BatchVerdict, type ListensObject, type RunStore } from '@music/runs';
import { type ObjectStore, type StoredObject, downloadAll, ensureRoom } from '@music/storage';
import { ulid } from 'ulid';
import type { ObjectRef } from '@music/events';
import { type Forgotten, isForgotten } from './forgotten';
import { eraseFromText } from './erase-text';
import { removeForGood } from './remove-for-good';

export interface ErasureContext {
  readonly runs: RunStore;
  readonly objects: ObjectStore;
  readonly lakeBucket: string;
  readonly intermediateBucket: string;
  /** The run that erases; its own objects in the intermediate bucket are left. */
  readonly runId: string;
  readonly engine: Engine;
  readonly forgotten: Forgotten;
  /** The engine's folder. */
  readonly dir: string;
  /** Whether anything is changed, or only found. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  readonly progress: () => void;
}

/** What was found of forgotten users, and what became of it. */
export interface Erased {
  listens: number;
  readonly dates: Set<string>;
  /** Runs and the numbers of their files that brought the listens. */
  readonly deliveries: Map<string, Set<number>>;
  /** Runs of which the numbers are not kept: an earlier release placed their listens. */
  readonly unknownRuns: Set<string>;
  readonly rewritten: string[];
  readonly deleted: string[];
  readonly left: { object: string; why: string }[];
}

const uri = ({ bucket, key }: Pick<StoredObject, 'bucket' | 'key'>): string => `s3://${bucket}/${key}`;

/**
 * Takes the listens of forgotten users out of the lake, the quarantine, and what runs that do nothing now have in the
 * intermediate bucket. The caller holds the turn to write the lake, and has ended compactions. Reads all of it; memory
 * stays within the engine's. Safe to repeat: what is done already is not found again.
 */
export async function eraseForgotten(context: ErasureContext): Promise<Erased> {
  const erased: Erased = {
    listens: 0,
    dates: new Set(),
    deliveries: new Map(),
    unknownRuns: new Set(),
    rewritten: [],
    deleted: [],
    left: [],
  };
  await eraseFromLake(context, erased);
  await eraseFromUsers(context, erased);
  await eraseFromQuarantine(context, erased);
  await eraseFromIntermediate(context, erased);
  return erased;
}

async function eraseFromLake(context: ErasureContext, erased: Erased): Promise<void> {
  const { objects, lakeBucket, engine, dir, forgotten, dryRun, signal, progress } = context;
  const template = await writeTemplate(engine, dir);
  for await (const folder of objects.listFolders(lakeBucket, 'listens/date=')) {
    const date = /date=([^/]+)\/$/.exec(folder)?.[1];
    if (date === undefined) continue;
    for (const object of await lakeDay(objects, lakeBucket, date)) {
      signal.throwIfAborted();
      await withLocal(context, object, async (file) => {
        const rows = deliveredRows([{ path: file, run: object.run }], template);
        if ((await forgotten.findAmong(rows)) === 0) return;
        erased.listens += await engine.count(`SELECT count(*) FROM (${rows}) AS rows WHERE ${isForgotten()}`);
        erased.dates.add(date);
        await noteDeliveries(engine, rows, object, erased);
        if (!dryRun) await rewriteLakeObject(context, object, file);
        const others = await engine.count(`SELECT count(*) FROM (${rows}) AS rows WHERE NOT ${isForgotten()}`);
        erased[others > 0 ? 'rewritten' : 'deleted'].push(uri(object));
      });
      progress();
    }
  }
  // What a compaction left half-way, and what a bucket with versions keeps of objects that are gone.
  if (!dryRun) await objects.deletePrefix(lakeBucket, 'compaction/merged/');
  for await (const old of objects.listOldVersions(lakeBucket, 'listens/')) {
    signal.throwIfAborted();
    if (old.size === 0 || !old.key.endsWith('.parquet')) continue;
    await withLocal(context, old, async (file) => {
      if ((await forgotten.findAmong(`SELECT user_id FROM ${parquetOf(file)}`)) === 0) return;
      if (!dryRun) await objects.deleteVersion(old);
      erased.deleted.push(`${uri(old)}?versionId=${old.versionId}`);
    });
    progress();
  }
}

/** The users as Parquet, once a content: what is made of it is known by its evidence, so that names the new one. */
async function eraseFromUsers(context: ErasureContext, erased: Erased): Promise<void> {
  const { objects, lakeBucket, engine, dir, forgotten, dryRun, signal } = context;
  for await (const object of objects.list(lakeBucket, 'users/')) {
    signal.throwIfAborted();
    if (!object.key.endsWith('.parquet')) continue;
    await withLocal(context, object, async (file) => {
      const rows = `SELECT user_id FROM ${parquetOf(file)}`;
      if ((await forgotten.findAmong(rows)) === 0) return;
      erased.rewritten.push(uri(object));
      if (dryRun) return;
      const out = path.join(dir, 'kept.parquet');
      await engine.run(`COPY (${rows} WHERE NOT ${isForgotten()}) TO ${text(out)} (FORMAT parquet)`);
      const parquet = await objects.uploadOver(object, object.bucket, object.key, out);
      await rm(out, { force: true });
      const evidence = await objects.head(lakeBucket, object.key.replace(/\.parquet$/, '.json'));
      if (evidence !== undefined)
        await objects.putJson(lakeBucket, evidence.key, { ...(await objects.readJson<object>(evidence)), parquet });
    });
  }
  if (!dryRun) await objects.deleteOldVersions(lakeBucket, 'users/');
}

async function noteDeliveries(engine: Engine, rows: string, object: LakeObject, erased: Erased): Promise<void> {
  const found = await engine.rows<{ delivered_by: string | null; file: number | null }>(
    `SELECT DISTINCT delivered_by, file FROM (${rows}) AS rows WHERE ${isForgotten()}`,
  );
  for (const { delivered_by: run, file } of found) {
    if (run === null || file === null) erased.unknownRuns.add(run ?? object.run);
    else erased.deliveries.set(run, (erased.deliveries.get(run) ?? new Set()).add(file));
  }
}

/** In the same folder, under a name that follows from what it is made of; then the old one goes, with its versions. */
async function rewriteLakeObject(context: ErasureContext, object: LakeObject, file: string): Promise<void> {
  const prefix = object.key.slice(0, object.key.lastIndexOf('/') + 1);
  await uploadKept(context, object, file, (name) =>
    // The names that tell what an earlier release wrote are kept.
    /\/parted-\d+\.parquet$/.test(object.key)
      ? `${prefix}parted-${parseInt(name.slice(0, 8), 16)}.parquet`
      : `${prefix}kept-${name}.parquet`,
  );
  await removeForGood(context.objects, object);
}

/**
 * Puts the rows of an object that are of no forgotten user into a new one, in the same bucket, where there are any. Its
 * name follows from what it is made of, so that another attempt makes the same.
 */
async function uploadKept(
  { objects, engine, dir }: Pick<ErasureContext, 'objects' | 'engine' | 'dir'>,
  object: StoredObject,
  file: string,
  keyOf: (name: string) => string,
): Promise<StoredObject | undefined> {
  const out = path.join(dir, `${ulid()}.parquet`);
  const kept = await engine.run(
    `COPY (SELECT * FROM ${parquetOf(file)} WHERE user_id IS NULL OR NOT ${isForgotten()}) TO ${text(out)} (FORMAT parquet, ${PARQUET})`,
  );
  const name = createHash('sha256').update(`${object.key}\0${object.etag}`).digest('hex').slice(0, 32);
  const made = kept > 0 ? await objects.upload(object.bucket, keyOf(name), out) : undefined;
  await rm(out, { force: true });
  return made;
}

const parquetOf = (file: string): string => `read_parquet(${text(file)}, hive_partitioning = false)`;

async function eraseFromQuarantine(context: ErasureContext, erased: Erased): Promise<void> {
  const { objects, lakeBucket, signal, progress } = context;
  for await (const object of objects.list(lakeBucket, 'quarantine/')) {
    signal.throwIfAborted();
    if (object.key.endsWith('.reason.json') || object.size === 0) continue;
    const isRows = /^quarantine\/[^/]+\/rejected-rows\/[^/]+\.csv$/.test(object.key);
    await eraseFromText(context, object, isRows ? 'csv' : 'lines', erased);
    progress();
  }
}

/**
 * What runs that failed, were rejected or are held have in the intermediate bucket is written anew, and their batches
 * name it; that of a run under way is cleared when it completes, and what it places is looked through before.
 */
async function eraseFromIntermediate(context: ErasureContext, erased: Erased): Promise<void> {
  const { objects, intermediateBucket, runs, runId, signal } = context;
  for await (const folder of objects.listFolders(intermediateBucket, 'runs/')) {
    signal.throwIfAborted();
    const other = /^runs\/([^/]+)\/$/.exec(folder)?.[1];
    if (other === undefined || other === runId) continue;
    const run = await runs.findRun(other);
    if (run === undefined || run.state === 'completed' || run.state === 'skipped') {
      if (!context.dryRun) await objects.deletePrefix(intermediateBucket, folder);
      continue;
    }
    if (!AT_REST.has(run.state)) {
      erased.left.push({
        object: `s3://${intermediateBucket}/${folder}`,
        why: `${other} is ${run.state}: it is cleared when the run has completed`,
      });
      continue;
    }
    await eraseFromRun(context, other, erased);
  }
}

async function eraseFromRun(context: ErasureContext, other: string, erased: Erased): Promise<void> {
  const { objects, runs, intermediateBucket, dryRun } = context;
  const made = new Map<string, ObjectRef | undefined>();
  const without = async <T extends ListensObject>(object: T): Promise<T | undefined> => {
    const known = made.has(object.key)
      ? made.get(object.key)
      : await withoutForgotten(context, object, `runs/${other}/erased/`);
    made.set(object.key, known);
    if (known === undefined) return undefined;
    return known.key === object.key ? object : { ...object, ...known };
  };
  for (const batch of await runs.batches.list(other)) {
    const changes: { evidence?: ObjectRef; verdict?: ObjectRef } = {};
    for (const [name, ref] of [
      ['evidence', batch.evidence],
      ['verdict', batch.verdict],
    ] as const) {
      if (ref === undefined || (await objects.head(ref.bucket, ref.key)) === undefined) continue;
      const before = await objects.readJson<Partial<BatchEvidence & BatchVerdict>>(ref);
      const parts = [];
      for (const part of before.parts ?? []) {
        const object = await without(part.object);
        if (object !== undefined) parts.push({ ...part, object });
      }
      const listens = [];
      for (const object of before.listens ?? []) {
        const kept = await without(object);
        if (kept !== undefined) listens.push(kept);
      }
      const after = {
        ...before,
        ...(before.parts === undefined ? {} : { parts }),
        ...(before.listens === undefined ? {} : { listens }),
      };
      if (JSON.stringify(after) === JSON.stringify(before) || dryRun) continue;
      changes[name] = await objects.putJson(intermediateBucket, `${ref.key.replace(/\.json$/, '')}-erased.json`, after);
    }
    if (Object.keys(changes).length > 0) await runs.batches.refer(other, batch.batch, changes);
  }
  for (const [key, kept] of made) {
    if (kept?.key === key) continue;
    erased[kept === undefined ? 'deleted' : 'rewritten'].push(`s3://${intermediateBucket}/${key}`);
    const old = dryRun ? undefined : await objects.head(intermediateBucket, key);
    if (old !== undefined) await removeForGood(objects, old);
  }
  // Rows that a batch rejected stand here until they are in the quarantine.
  for await (const object of objects.list(intermediateBucket, `runs/${other}/staging/`))
    if (object.key.endsWith('/rejected-rows.csv')) await eraseFromText(context, object, 'csv', erased);
}

/**
 * An object without the rows of forgotten users: itself where it has none, one made below a prefix where it has some,
 * nothing where it has no others.
 */
export async function withoutForgotten<T extends ObjectRef>(
  context: Pick<ErasureContext, 'objects' | 'engine' | 'forgotten' | 'dir' | 'dryRun'>,
  object: T,
  prefix: string,
): Promise<T | ObjectRef | undefined> {
  const { objects, engine, forgotten, dryRun } = context;
  if ((await objects.head(object.bucket, object.key)) === undefined) return object;
  let result: T | ObjectRef | undefined = object;
  await withLocal(context, object, async (file) => {
    if ((await forgotten.findAmong(`SELECT user_id FROM ${parquetOf(file)}`)) === 0) return;
    const keyOf = (name: string) => `${prefix}${name}.parquet`;
    if (!dryRun) result = await uploadKept(context, object, file, keyOf);
    else {
      const kept = await engine.count(
        `SELECT count(*) FROM ${parquetOf(file)} WHERE user_id IS NULL OR NOT ${isForgotten()}`,
      );
      result = kept > 0 ? { ...object, key: keyOf('not-made') } : undefined;
    }
  });
  return result;
}

/**
 * A local copy of an object for as long as it is used, under a name of its own: the engine remembers what it read of a
 * path.
 */
async function withLocal(
  { objects, dir }: Pick<ErasureContext, 'objects' | 'dir'>,
  object: StoredObject,
  use: (file: string) => Promise<void>,
): Promise<void> {
  await ensureRoom(dir, 2 * object.size, 'to look for forgotten users');
  const folder = path.join(dir, ulid());
  const [file = ''] = await downloadAll(objects, [object], folder);
  try {
    await use(file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
