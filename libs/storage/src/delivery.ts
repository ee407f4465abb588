import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { mapLimited } from './download';
import type { ObjectStore } from './object-store';

const UPLOADS_AT_ONCE = 8;

/**
 * The files of a folder that is laid out like the source bucket, relative to it, in order. Throws where there are none.
 */
export async function deliveryFiles(folder: string): Promise<string[]> {
  const files: string[] = [];
  for (const kind of ['streams', 'songs', 'users']) {
    const entries = await readdir(path.join(folder, kind), { recursive: true, withFileTypes: true }).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
        throw error;
      },
    );
    for (const entry of entries)
      if (entry.isFile()) files.push(path.relative(folder, path.join(entry.parentPath, entry.name)));
  }
  if (files.length === 0)
    throw new Error(
      `${folder} has no files in streams/, songs/ or users/: give a folder that is laid out like the source bucket`,
    );
  return files.sort();
}

/** Puts a folder's files into the source bucket. Gives how many there were. */
export async function loadDelivery(store: ObjectStore, bucket: string, folder: string): Promise<number> {
  const files = await deliveryFiles(folder);
  await mapLimited(files, UPLOADS_AT_ONCE, (file) =>
    store.upload(bucket, file.split(path.sep).join('/'), path.join(folder, file)),
  );
  return files.length;
}
