import { type ObjectStore, type StoredObject, mapLimited } from '@music/storage';

/** The tables of which the lake keeps Parquet of every content there was, and runs read one. */
export type CurrentTable = 'songs' | 'users';

/** A folder with copies of those of the newest numbers, and of no others: what SQL reads as a table. */
export const currentPrefix = (table: CurrentTable): string => `${table}/current/`;

const COPIED_AT_ONCE = 4;

/**
 * Copies the songs and users that the newest numbers are of to where SQL finds them. An object is replaced as a whole, so
 * that of a table that is one file a reader sees one content or the other. The caller holds the turn to write the lake.
 */
export async function writeCurrentTables(
  store: ObjectStore,
  bucket: string,
  tables: Readonly<Record<CurrentTable, readonly StoredObject[]>>,
): Promise<void> {
  await Promise.all([
    writeTable(store, bucket, 'songs', tables.songs),
    writeTable(store, bucket, 'users', tables.users),
  ]);
}

async function writeTable(
  store: ObjectStore,
  bucket: string,
  table: CurrentTable,
  objects: readonly StoredObject[],
): Promise<void> {
  const prefix = currentPrefix(table);
  const there = new Map<string, StoredObject>();
  for await (const object of store.list(bucket, prefix)) there.set(object.key, object);
  await mapLimited(objects, COPIED_AT_ONCE, async (object, i) => {
    const key = `${prefix}${i}.parquet`;
    // A copy of one that came in parts has another ETag, and is made again each time.
    if (there.get(key)?.etag !== object.etag) await store.copy(object, bucket, key);
    there.delete(key);
  });
  for (const left of there.values()) await store.deleteIfUnchanged(left);
}
