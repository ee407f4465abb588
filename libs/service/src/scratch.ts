import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';

/** A folder of this process below `root`, empty. Folders of processes that are gone are removed. */
export async function openScratch(root: string, service: string): Promise<string> {
  const own = path.join(root, `${service}-${process.pid}`);
  await mkdir(root, { recursive: true });
  for (const name of await readdir(root)) {
    const pid = Number(new RegExp(`^${service}-(\\d+)$`).exec(name)?.[1]);
    if (pid === process.pid || (Number.isInteger(pid) && !isAlive(pid)))
      await rm(path.join(root, name), { recursive: true, force: true });
  }
  await mkdir(own, { recursive: true });
  return own;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
