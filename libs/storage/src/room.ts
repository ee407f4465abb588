import { statfs } from 'node:fs/promises';
import { LastingError } from '@music/errors';

/**
 * Thrown before work is begun that its scratch folder has no room for. Trying again cannot help as long as the folder
 * is as it is.
 */
export class NotEnoughScratch extends LastingError {
  constructor(neededBytes: number, freeBytes: number, what: string) {
    const mib = (bytes: number) => bytes / 2 ** 20;
    super(
      `${Math.ceil(mib(neededBytes))} MiB of scratch space are needed ${what}, ${Math.floor(mib(freeBytes))} MiB are free: ` +
        `give the folder of SCRATCH_DIR ${Math.ceil(mib(neededBytes - freeBytes))} MiB more`,
    );
  }
}

/** Throws NotEnoughScratch where the file system of a folder has less than so many bytes free. */
export async function ensureRoom(dir: string, bytes: number, what: string): Promise<void> {
  const { bavail, bsize } = await statfs(dir);
  if (bavail * bsize < bytes) throw new NotEnoughScratch(bytes, bavail * bsize, what);
}
