import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { LEAVE_NAMES, leavesBy } from '@music/contracts';
import type { ObjectRef } from '@music/events';
import { mapLimited } from './download';
import type { ObjectStore } from './object-store';

const UPLOADS_AT_ONCE = 8;

/** How a delivery is read and put. */
export interface DeliveryOptions {
  /** Patterns of names that are no files of data. */
  readonly leaveNames?: readonly string[];
  /** Called for each object that was put. */
  readonly put?: (object: ObjectRef) => Promise<void>;
}

/**
 * The files of data in a folder that is laid out like the source bucket, relative to it and with `/`, in order; none
 * where there is none.
 */
export async function filesBelow(folder: string, leaveNames: readonly string[] = LEAVE_NAMES): Promise<string[]> {
  const leave = leavesBy(leaveNames);
  const files: string[] = [];
  for (const kind of ['streams', 'songs', 'users']) {
    const entries = await readdir(path.join(folder, kind), { recursive: true, withFileTypes: true }).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
        throw error;
      },
    );
    for (const entry of entries)
      if (entry.isFile())
        files.push(path.relative(folder, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'));
  }
  return files.filter((file) => leave(file) === undefined).sort();
}

/** Like `filesBelow`. Throws where there are none. */
export async function deliveryFiles(folder: string, leaveNames?: readonly string[]): Promise<string[]> {
  const files = await filesBelow(folder, leaveNames);
  if (files.length === 0)
    throw new Error(
      `${folder} has no files in streams/, songs/ or users/: give a folder that is laid out like the source bucket`,
    );
  return files;
}

/** Puts a folder's files of data into the source bucket. Gives how many there were. */
export async function loadDelivery(
  store: ObjectStore,
  bucket: string,
  folder: string,
  { leaveNames, put = async () => undefined }: DeliveryOptions = {},
): Promise<number> {
  const files = await deliveryFiles(folder, leaveNames);
  await mapLimited(files, UPLOADS_AT_ONCE, async (file) =>
    put(await store.upload(bucket, file, path.join(folder, file))),
  );
  return files.length;
}
