import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { workspaceRoot } from '@music/local-stack';

const FIRST_DAY = '2026-03-01';
const DAYS = ['2026-03-01', '2026-03-02'];

const NOBODYS_ROWS = {
  songs: (n: number) => `x,nobodys-${n},Nobody,Silence,0,1000,silence`,
  users: (n: number) => `nobody-${n},Nobody,0,Nowhere,2025-01-01`,
};

export const SAMPLES = path.join(workspaceRoot(), 'samples');

/** The day `days` after a day, both YYYY-MM-DD. */
export function dayAfter(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/**
 * The samples once more, their listens `days` later, as a folder below `dir`. Three days or more apart no two share a
 * day. Songs and users get a row that nobody listens to, so that they are new, too; and there is a file that is
 * rejected.
 */
export async function laterSamples(dir: string, days: number): Promise<string> {
  const folder = path.join(dir, `later-${days}`);
  await mkdir(path.join(folder, 'streams'), { recursive: true });
  for (const [kind, row] of Object.entries(NOBODYS_ROWS)) {
    await mkdir(path.join(folder, kind));
    const text = await readFile(path.join(SAMPLES, kind, `${kind}.csv`), 'utf8');
    await writeFile(path.join(folder, kind, `${kind}.csv`), `${text}${row(days)}\n`);
  }
  await writeFile(
    path.join(folder, 'streams', `${dayAfter(FIRST_DAY, days)}-broken.csv`),
    `user_id,listen_time\n${String(days).padStart(6, '0')},2026\n`,
  );
  for (const day of DAYS) {
    const text = await readFile(path.join(SAMPLES, 'streams', `${day}.csv`), 'utf8');
    const moved = text.replaceAll(/2026-0[23]-\d\d/g, (date) => dayAfter(date, days));
    await writeFile(path.join(folder, 'streams', `${dayAfter(FIRST_DAY, days)}-${day.slice(-2)}.csv`), moved);
  }
  return folder;
}
