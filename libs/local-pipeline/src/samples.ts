import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { workspaceRoot } from '@music/testing';

const FIRST_DAY = '2026-03-01';
const DAYS = ['2026-03-01', '2026-03-02'];

export const SAMPLES = path.join(workspaceRoot(), 'samples');

/** The day `days` after a day, both YYYY-MM-DD. */
export function dayAfter(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/**
 * The samples once more, their listens `days` later, as a folder below `dir`. Three days or more apart no two share a day.
 * With songs and users, so that the folder is a delivery of its own.
 */
export async function laterSamples(dir: string, days: number): Promise<string> {
  const folder = path.join(dir, `later-${days}`);
  await mkdir(path.join(folder, 'streams'), { recursive: true });
  for (const kind of ['songs', 'users']) await cp(path.join(SAMPLES, kind), path.join(folder, kind), { recursive: true });
  for (const day of DAYS) {
    const text = await readFile(path.join(SAMPLES, 'streams', `${day}.csv`), 'utf8');
    const moved = text.replaceAll(/2026-0[23]-\d\d/g, (date) => dayAfter(date, days));
    await writeFile(path.join(folder, 'streams', `${dayAfter(FIRST_DAY, days)}-${day.slice(-2)}.csv`), moved);
  }
  return folder;
}
