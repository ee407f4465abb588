import type { ObjectStore, StoredObject } from '@music/storage';

/** Objects of the lake that hold the listens of one day, as they were delivered, those of each run in a folder of its own. */
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
  const prefix = run === undefined ? lakePrefix(date) : lakeRunPrefix(date, run);
  for await (const { key, etag, size } of store.list(bucket, prefix)) {
    const folder = /\/run=([^/]+)\/[^/]+\.parquet$/.exec(key)?.[1];
    if (folder !== undefined) objects.push({ bucket, key, etag, size, run: folder }); // Spark leaves folder markers
  }
  return objects;
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
