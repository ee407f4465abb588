import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { type DuckDBLimits, Engine, PARQUET, text, textList } from '@music/duckdb';
import type { ObjectRef } from '@music/events';
import type { ListensObject } from '@music/runs';
import { type ObjectStore, downloadAll, ensureRoom, mapLimited } from '@music/storage';
import { LISTEN_COLUMNS, lakeDay, lakeRunPrefix } from './lake-day';

export interface Placing {
  readonly runId: string;
  readonly listens: readonly ListensObject[];
  /**
   * Asked before each day is written: whether it is still this run's turn. A replica that was away for long leaves off.
   */
  readonly isOurTurn: () => Promise<boolean>;
  readonly signal: AbortSignal;
}

/** Thrown when the run's turn to write the lake went on to another attempt. That one places the listens. */
export class TurnIsOver extends Error {
  override readonly name = 'TurnIsOver';
}

const DAYS_AT_ONCE = 8;

/**
 * Which days a run has ever put listens into. Written before the first of them, so that a later attempt finds what an
 * earlier one left.
 */
const placedKey = (runId: string): string => `runs/${runId}/placed.json`;

/**
 * Puts a run's listens into the lake, in place of what an earlier attempt of the run left there. Objects of one day are
 * copied by the server; only those of several days are written anew, once for each day. Gives the days that have
 * changed or may have, ascending. Safe to repeat: what is there already stays, and a reader counts a listen once
 * however often it is there.
 */
export async function placeListens(
  store: ObjectStore,
  bucket: string,
  { runId, listens, isOurTurn, signal }: Placing,
  scratch: string,
  limits: DuckDBLimits,
): Promise<string[]> {
  const dir = await mkdtemp(path.join(scratch, 'place-'));
  try {
    const days = new Map<string, { copied: ObjectRef[]; written: string[] }>();
    const dayOf = (date: string) => {
      const day = days.get(date) ?? { copied: [], written: [] };
      days.set(date, day);
      return day;
    };
    const mixed = [];
    for (const { date, ...object } of listens) {
      if (date === undefined) mixed.push(object);
      else dayOf(date).copied.push(object);
    }
    for (const { date, file } of await partByDay(store, mixed, dir, limits)) dayOf(date).written.push(file);
    const earlier = await store.head(bucket, placedKey(runId));
    for (const date of earlier === undefined ? [] : (await store.readJson<{ dates: string[] }>(earlier)).dates)
      dayOf(date);
    const dates = [...days.keys()].sort();
    await store.putJson(bucket, placedKey(runId), { dates });
    await mapLimited(dates, DAYS_AT_ONCE, async (date) => {
      signal.throwIfAborted();
      if (!(await isOurTurn()))
        throw new TurnIsOver(`${runId} no longer has the turn in which its listens were to be placed`);
      const prefix = lakeRunPrefix(date, runId);
      // Before its first attempt a run has nothing there.
      const found = earlier === undefined ? [] : await lakeDay(store, bucket, date, runId);
      const there = new Map(found.map((object) => [object.key, object]));
      const { copied, written } = dayOf(date);
      for (const object of copied) {
        const key = `${prefix}${nameOf(object)}.parquet`;
        if (there.get(key)?.size !== object.size) await store.copy(object, bucket, key);
        there.delete(key);
      }
      for (const [i, file] of written.entries()) {
        const key = `${prefix}parted-${i}.parquet`;
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

/** Local files of one day each, from objects of many. */
async function partByDay(
  store: ObjectStore,
  objects: readonly ObjectRef[],
  dir: string,
  limits: DuckDBLimits,
): Promise<{ date: string; file: string }[]> {
  if (objects.length === 0) return [];
  await ensureRoom(dir, 2 * objects.reduce((sum, { size }) => sum + size, 0), 'to part listens by day');
  const engine = await Engine.open(dir, { ...limits, unordered: true });
  try {
    const files = await downloadAll(store, objects, path.join(dir, 'mixed'));
    const parted = path.join(dir, 'by-day');
    // In order of days, so that few of their files are open at a time.
    await engine.run(
      `COPY (SELECT ${LISTEN_COLUMNS} FROM read_parquet(${textList(files)}, union_by_name = true) ORDER BY listen_date)
       TO ${text(parted)} (FORMAT parquet, ${PARQUET}, PARTITION_BY (listen_date), WRITE_PARTITION_COLUMNS true)`,
    );
    await rm(path.join(dir, 'mixed'), { recursive: true });
    const found = await readdir(parted, { recursive: true });
    return found.flatMap((name) => {
      const date = /^listen_date=(\d{4}-\d{2}-\d{2})\/[^/]+\.parquet$/.exec(name)?.[1];
      return date === undefined ? [] : [{ date, file: path.join(parted, name) }];
    });
  } finally {
    engine.close();
  }
}
