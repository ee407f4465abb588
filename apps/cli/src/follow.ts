import { type RunReport, describeRun, followRun, runReport } from '@music/reports';
import type { Stores } from '@music/service';
import type { Command } from 'commander';
import { positive } from './usage';
import { print, printJson } from './with-stores';

export interface WaitOptions {
  readonly wait: boolean;
  readonly timeout?: number;
  readonly json: boolean;
}

/** Adds the options of commands that ask for a run. */
export function waitOptions(command: Command): Command {
  return command
    .option('--wait', 'wait until it has ended; the exit code tells whether it succeeded', false)
    .option('--timeout <seconds>', 'with --wait: give up waiting after so long', positive)
    .option('--json', 'for programs', false);
}

/** Says that a run is under way; or waits for its end and says how it went. */
export async function follow(
  stores: Stores,
  runId: string,
  { wait, timeout, json }: WaitOptions,
  about: object = {},
): Promise<void> {
  if (!wait) {
    if (json) printJson({ run_id: runId, ...about });
    else print(`${runId} is requested; \`music-kpis status ${runId}\` tells how it stands`);
    return;
  }
  const ended = await followRun(stores, runId, { timeoutMs: timeout === undefined ? Infinity : timeout * 1_000 });
  const report = await runReport(stores, runId);
  if (json) printJson(report ?? { run_id: runId, state: 'requested' });
  else
    print(
      report === undefined ? `${runId}: no service has taken it yet; are the services running?` : describeRun(report),
    );
  if (ended === undefined || !succeeded(ended)) process.exitCode = 1;
}

/** A skipped run did what there was to do. */
export function succeeded({ state }: Pick<RunReport, 'state'>): boolean {
  return state === 'completed' || state === 'skipped';
}
