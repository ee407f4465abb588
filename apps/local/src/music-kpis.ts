import { spawn } from 'node:child_process';
import path from 'node:path';
import { workspaceRoot } from '@music/testing';
import type { LocalPipeline } from './local-pipeline';

/** Runs `music-kpis` against a pipeline, as a process of its own. */
export function musicKpis({ env }: LocalPipeline, ...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [path.join(workspaceRoot(), 'apps/cli/dist/main.js'), ...args], { env });
    let out = '';
    let err = '';
    child.stdout.on('data', (data) => (out += String(data)));
    child.stderr.on('data', (data) => (err += String(data)));
    child.on('exit', (code) => resolve({ code, out, err }));
  });
}
