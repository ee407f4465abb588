import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { type DuckDBLimits, Engine, PARQUET, text, textList } from '@music/duckdb';
import type { ObjectRef } from '@music/events';
import type { ListensObject } from '@music/runs';
import { type ObjectStore, downloadAll, ensureRoom, mapLimited } from '@music/storage';
import { LISTEN_COLUMNS, lakeDay, lakeRunPrefix } from './lake-day';
import { readPlaced, writePlaced } from './placed-days';

export interface Placing {
  readonly runId: string;
  readonly listens: readonly ListensObject[];
  /**
   * Asked before each day is written: whether it is still this run's turn. A replica that was away for long leaves off.
   */
  readonly isOurTurn: () => Promise<boolean>;
  readonly signal: AbortSignal;
  /** Listens of days before it are not placed: those days have left the lake. YYYY-MM-DD. */
  readonly keptFrom?: string;
}

/** Thrown when the run's turn to write the lake went on to another attempt. That one places the listens. */
export class TurnIsOver extends Error {
  override readonly name = 'TurnIsOver';
}

const DAYS_AT_ONCE = 8;
/** Of a day. */
const COPIES_AT_ONCE = 4;

/**
 * Puts a run's listens into the lake, in place of what an earlier attempt of the run left there. Objects of one day are
 * copied by the server; only those of several days are written anew, once for each day. Gives the days that have
 * changed or may have, ascending. Safe to repeat: what is there already stays, and a reader counts a listen once
 * however often it is there.
 */
export async function placeListens(
  store: ObjectStore,
  bucket: string,
  { runId, listens, isOurTurn, signal, keptFrom = '' }: Placing,
  scratch: string,
  limits: DuckDBLimits,
): Promise<string[]> {
  const dir = await mkdtemp(path.join(scratch, 'place-'));
  try {
    const days = new Map<string, { copied: ObjectRef[]; written: string[]; files: Set<number> }>();
    const dayOf = (date: string) => {
      const day = days.get(date) ?? { copied: [], written: [], files: new Set() };
      days.set(date, day);
      return day;
    };
    const mixed = [];
    for (const { date, files = [], ...object } of listens) {
      if (date === undefined) mixed.push(object);
      else {
        dayOf(date).copied.push(object);
        for (const file of files) dayOf(date).files.add(file);
      }
    }
    for (const { date, path: written, files } of await partByDay(store, mixed, dir, limits)) {
      dayOf(date).written.push(written);
      for (const file of files) dayOf(date).files.add(file);
    }
    const earlier = await readPlaced(store, bucket, runId);
    for (const date of earlier?.dates ?? []) dayOf(date);
    const dates = [...days.keys()].filter((date) => date >= keptFrom).sort();
    const files = Object.fromEntries(dates.map((date) => [date, [...dayOf(date).files].sort((a, b) => a - b)]));
    // A validator of an earlier release does not tell the files of an object.
    const isTold = listens.every((object) => object.date === undefined || object.files !== undefined);
    await writePlaced(store, bucket, runId, isTold ? { dates, files } : { dates });
    await mapLimited(dates, DAYS_AT_ONCE, async (date) => {
      signal.throwIfAborted();
      if (!(await isOurTurn()))
        throw new TurnIsOver(`${runId} no longer has the turn in which its listens were to be placed`);
      const prefix = lakeRunPrefix(date, runId);
      // Before its first attempt a run has nothing there.
      const found = earlier === undefined ? [] : await lakeDay(store, bucket, date, runId);
      const there = new Map(found.map((object) => [object.key, object]));
      const { copied, written } = dayOf(date);
      await mapLimited(copied, COPIES_AT_ONCE, async (object) => {
        const key = `${prefix}${nameOf(object)}.parquet`;
        if (there.get(key)?.size !== object.size) await store.copy(object, bucket, key);
        there.delete(key);
      });
      for (const [i, file] of written.entries()) {
        const key = `${prefix}by-day-${i}.parquet`;
        await store.upload(bucket, key, file);
        there.delete(key);
      }
      for (const left of there.values()) await store.deleteIfUnchanged(left);
    });
    return dates;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/**
 * Names a copy by what it is a copy of, so that a repeated attempt finds it, and one of other content never takes its
 * place.
 */
function nameOf({ bucket, key, etag }: ObjectRef): string {
  return createHash('sha256').update(`${bucket}\0${key}\0${etag}`).digest('hex').slice(0, 32);
}

/** Local files of one day each, from objects of many, with the numbers of the stream files whose rows are in them. */
async function partByDay(
  store: ObjectStore,
  objects: readonly ObjectRef[],
  dir: string,
  limits: DuckDBLimits,
): Promise<{ date: string; path: string; files: number[] }[]> {
  if (objects.length === 0) return [];
  await ensureRoom(dir, 2 * objects.reduce((sum, { size }) => sum + size, 0), 'to part listens by day');
  const engine = await Engine.open(dir, { ...limits, unordered: true });
  try {
    const files = await downloadAll(store, objects, path.join(dir, 'mixed'));
    const parted = path.join(dir, 'by-day');
    // In order of days, so that few of their files are open at a time.
    await engine.run(
      `COPY (SELECT ${LISTEN_COLUMNS}, file FROM read_parquet(${textList(files)}, union_by_name = true) ORDER BY listen_date)
       TO ${text(parted)} (FORMAT parquet, ${PARQUET}, PARTITION_BY (listen_date), WRITE_PARTITION_COLUMNS true)`,
    );
    await rm(path.join(dir, 'mixed'), { recursive: true });
    const filesOf = new Map<string, number[]>();
    for (const { date, files } of await engine.rows<{ date: string; files: string }>(
      `SELECT CAST(listen_date AS VARCHAR) AS date, string_agg(DISTINCT CAST(file AS VARCHAR), ',') AS files
       FROM read_parquet(${text(`${parted}/*/*.parquet`)}, hive_partitioning = false) GROUP BY listen_date`,
    ))
      filesOf.set(date, files.split(',').map(Number));
    const found = await readdir(parted, { recursive: true });
    return found.flatMap((name) => {
      const date = /^listen_date=(\d{4}-\d{2}-\d{2})\/[^/]+\.parquet$/.exec(name)?.[1];
      return date === undefined ? [] : [{ date, path: path.join(parted, name), files: filesOf.get(date) ?? [] }];
    });
  } finally {
    engine.close();
  }
}
