import { existsSync } from 'node:fs';
import path from 'node:path';

/**
 * The folder that `LAB_DATA` names: real listens, users and songs, laid out like the source bucket. Without it, specs
 * and the bench leave out what needs it, and say so. Throws where it names none.
 */
export function labData(): string | undefined {
  const folder = process.env['LAB_DATA'];
  if (folder === undefined || folder === '') return undefined;
  if (!existsSync(path.join(folder, 'streams')))
    throw new Error(`LAB_DATA=${folder}: there is no folder streams/ in it`);
  return path.resolve(folder);
}
