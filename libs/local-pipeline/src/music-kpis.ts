import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { workspaceRoot } from '@music/local-stack';
import type { LocalPipeline } from './local-pipeline';

export interface CommandResult {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs `music-kpis` against a pipeline, as a process of its own. */
export function musicKpis(pipeline: LocalPipeline, ...args: string[]): Promise<CommandResult> {
  return startMusicKpis(pipeline, args).ended;
}

/** What `music-kpis` prints. Throws where it does not end with 0. */
export async function musicKpisPrints(pipeline: LocalPipeline, ...args: string[]): Promise<string> {
  const { code, out, err } = await musicKpis(pipeline, ...args);
  if (code !== 0) throw new Error(`music-kpis ${args.join(' ')} ended with ${code}: ${out}${err}`);
  return out;
}

/** Like `musicKpis`, with the process in hand. */
export function startMusicKpis(
  pipeline: LocalPipeline,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { readonly process: ChildProcess; readonly ended: Promise<CommandResult> } {
  const bundle = path.join(workspaceRoot(), 'apps/cli/dist/main.js');
  const child = spawn(process.execPath, [bundle, ...args], { env: { ...pipeline.envOf('cli'), ...env } });
  let out = '';
  let err = '';
  child.stdout.on('data', (data) => (out += String(data)));
  child.stderr.on('data', (data) => (err += String(data)));
  const ended = new Promise<CommandResult>((resolve) => child.on('exit', (code) => resolve({ code, out, err })));
  return { process: child, ended };
}
