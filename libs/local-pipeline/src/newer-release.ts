import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { workspaceRoot } from '@music/local-stack';
import type { Service } from './local-pipeline';

const run = promisify(execFile);

/** Builds services of a newer release, in a folder that is not there yet. Gives where their bundles are. */
export async function buildNewerRelease(
  dir: string,
  services: readonly Service[],
): Promise<(service: Service) => string> {
  await run(process.execPath, [path.join(workspaceRoot(), 'tools/newer-release.mjs'), dir, ...services]);
  return (service) => path.join(dir, 'apps', service, 'dist', 'main.js');
}
