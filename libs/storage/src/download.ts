import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { ObjectStore, StoredObject } from './object-store';

const AT_ONCE = 4;

/**
 * Streams Parquet objects into files of one folder. Gives the files, in the objects' order, named by their place in it.
 */
export async function downloadAll(
  store: ObjectStore,
  objects: readonly StoredObject[],
  dir: string,
): Promise<string[]> {
  if (objects.length === 0) return [];
  await mkdir(dir, { recursive: true });
  return mapLimited(objects, AT_ONCE, async (object, i) => {
    const file = path.join(dir, `${i}.parquet`);
    await pipeline(await store.open(object), createWriteStream(file, { highWaterMark: 2 ** 20 }));
    return file;
  });
}

/**
 * Like `Promise.all` of `map`, with at most `limit` under way. The first error ends it, once those under way have
 * ended.
 */
export async function mapLimited<T, R>(
  items: readonly T[],
  limit: number,
  map: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  let failed = false;
  const lane = async () => {
    while (next < items.length && !failed) {
      const index = next;
      next += 1;
      try {
        results[index] = await map(items[index] as T, index);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, lane));
  const broken = lanes.find((each) => each.status === 'rejected');
  if (broken !== undefined) throw broken.reason;
  return results;
}
