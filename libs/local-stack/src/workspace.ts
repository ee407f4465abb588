import { existsSync } from 'node:fs';
import path from 'node:path';

/** The folder that holds nx.json, from wherever in it a process was started. */
export function workspaceRoot(from = process.cwd()): string {
  for (let dir = from; ; dir = path.dirname(dir)) {
    if (existsSync(path.join(dir, 'nx.json'))) return dir;
    if (dir === path.dirname(dir)) throw new Error(`${from} is not inside the workspace: no nx.json above it`);
  }
}
