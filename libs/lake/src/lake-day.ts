import { type ObjectStore, type StoredObject, mapLimited } from '@music/storage';

/**
 * Objects of the lake that hold the listens of one day, as they were delivered, those of each run in a folder of its
 * own.
 */
export interface LakeObject extends StoredObject {
  readonly run: string;
}

/** The columns of a listen in the lake. A listen may stand there several times: whoever reads counts it once. */
export const LISTEN_COLUMNS = 'user_id, track_id, listened_at, listen_date';

export const lakePrefix = (date: string): string => `listens/date=${date}/`;
export const lakeRunPrefix = (date: string, runId: string): string => `${lakePrefix(date)}run=${runId}/`;

/** All objects of a day, or those of one run on it, in key order. */
export async function lakeDay(store: ObjectStore, bucket: string, date: string, run?: string): Promise<LakeObject[]> {
  const objects: LakeObject[] = [];
  for await (const { object } of listing(
    store,
    bucket,
    run === undefined ? lakePrefix(date) : lakeRunPrefix(date, run),
  ))
    objects.push(object);
  return objects;
}

/** A month of which more days are asked for is listed as a whole. */
const DAYS_LISTED_ALONE = 4;
const LISTED_AT_ONCE = 8;

/** All objects of some days, day by day in the order of `dates`. */
export async function lakeDays(
  store: ObjectStore,
  bucket: string,
  dates: readonly string[],
): Promise<{ readonly date: string; readonly objects: readonly LakeObject[] }[]> {
  const months = new Map<string, string[]>();
  for (const date of dates) months.set(date.slice(0, 7), [...(months.get(date.slice(0, 7)) ?? []), date]);
  const prefixes = [...months].flatMap(([month, days]) =>
    days.length > DAYS_LISTED_ALONE ? [`listens/date=${month}-`] : days.map((date) => lakePrefix(date)),
  );
  const found = new Map<string, LakeObject[]>(dates.map((date) => [date, []]));
  await mapLimited(prefixes, LISTED_AT_ONCE, async (prefix) => {
    for await (const { date, object } of listing(store, bucket, prefix)) found.get(date)?.push(object);
  });
  return dates.map((date) => ({ date, objects: found.get(date) ?? [] }));
}

async function* listing(
  store: ObjectStore,
  bucket: string,
  prefix: string,
): AsyncGenerator<{ date: string; object: LakeObject }> {
  for await (const { key, etag, size } of store.list(bucket, prefix)) {
    // Spark of versions before this one left folder markers.
    const [, date, run] = /^listens\/date=([^/]+)\/run=([^/]+)\/[^/]+\.parquet$/.exec(key) ?? [];
    if (date !== undefined && run !== undefined) yield { date, object: { bucket, key, etag, size, run } };
  }
}

/** The days of the lake from one to another, both inclusive, ascending. */
export async function lakeDates(store: ObjectStore, bucket: string, from: string, to: string): Promise<string[]> {
  const dates: string[] = [];
  for await (const folder of store.listFolders(bucket, 'listens/date=')) {
    const date = /date=(\d{4}-\d{2}-\d{2})\/$/.exec(folder)?.[1];
    if (date !== undefined && date >= from && date <= to) dates.push(date);
  }
  return dates.sort();
}
