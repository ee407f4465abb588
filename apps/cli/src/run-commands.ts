import { TERMINAL } from '@music/runs';
import { type RunReport, describeRun, requestRun, runReport, table, waitForRun, yesterday } from '@music/reports';
import type { Command } from 'commander';
import { UsageError, date, positive } from './usage';
import { print, printJson, withStores } from './with-stores';

interface RunOptions {
  readonly date?: string;
  readonly wait: boolean;
  readonly now: boolean;
  readonly scheduled: boolean;
  readonly timeout?: number;
  readonly json: boolean;
}

export function addRunCommands(program: Command): void {
  program
    .command('run')
    .description('ask for a run')
    .option('--date <date>', 'its logical date (default: yesterday in KPI_TIME_ZONE)', date)
    .option('--wait', 'wait until it has ended; the exit code tells whether it succeeded', false)
    .option('--now', 'judge the source as it is now: without files the run is skipped at once, not at its deadline', false)
    .option('--scheduled', 'the run of the schedule: one a date, however often it is asked for', false)
    .option('--timeout <seconds>', 'with --wait: give up waiting after so long', positive)
    .option('--json', 'for programs', false)
    .action(run);

  program
    .command('status')
    .description('what happened in a run: stages, files, rows, job')
    .argument('[run]', 'its id (default: the newest)')
    .option('--json', 'for programs', false)
    .action(status);

  program
    .command('runs')
    .description('runs, newest first')
    .option('--limit <n>', 'how many', positive, 20)
    .option('--json', 'for programs', false)
    .action(runs);
}

async function run(options: RunOptions): Promise<void> {
  await withStores(async (stores, config) => {
    const logicalDate = options.date ?? yesterday(config.kpiTimeZone);
    const runId = await requestRun(stores, { logicalDate, scheduled: options.scheduled, immediately: options.now });
    if (!options.wait) {
      if (options.json) printJson({ run_id: runId, logical_date: logicalDate });
      else print(`${runId} for ${logicalDate} is requested; \`music-kpis status ${runId}\` tells how it stands`);
      return;
    }
    const progress = progressLine(runId);
    const ended = await waitForRun(stores, runId, {
      timeoutMs: options.timeout === undefined ? Infinity : options.timeout * 1_000,
      onState: (state) => progress.show(state?.state ?? 'requested'),
    });
    progress.end();
    const report = await runReport(stores, runId);
    if (options.json) printJson(report ?? { run_id: runId, state: 'requested' });
    else print(report === undefined ? `${runId}: no service has taken it yet; are the services running?` : describeRun(report));
    if (ended === undefined || !succeeded(ended)) process.exitCode = 1;
  });
}

async function status(runId: string | undefined, { json }: { json: boolean }): Promise<void> {
  await withStores(async (stores) => {
    const id = runId ?? (await stores.runs.listRuns(1))[0]?.runId;
    const report = id === undefined ? undefined : await runReport(stores, id);
    if (report === undefined)
      throw new UsageError(runId === undefined ? 'there has been no run yet' : `there is no run ${runId}; \`music-kpis runs\` lists them`);
    if (json) printJson(report);
    else print(describeRun(report));
    if (TERMINAL.has(report.state) && !succeeded(report)) process.exitCode = 1;
  });
}

async function runs({ limit, json }: { limit: number; json: boolean }): Promise<void> {
  await withStores(async (stores) => {
    const found = await stores.runs.listRuns(limit);
    if (json)
      printJson(
        found.map(({ runId, logicalDate, state, requestedAt, rows, reasons, days }) => ({
          run_id: runId,
          logical_date: logicalDate,
          state,
          requested_at: requestedAt,
          rows,
          days,
          reasons: reasons ?? [],
        })),
      );
    else if (found.length === 0) print('there has been no run yet');
    else
      print(
        table(
          ['run', 'date', 'state', 'requested', 'rows kept', 'days', 'reason'],
          found.map((each) => [each.runId, each.logicalDate, each.state, each.requestedAt, each.rows?.kept, each.days, each.reasons?.[0]]),
        ),
      );
  });
}

/** A skipped run did what there was to do. */
function succeeded({ state }: Pick<RunReport, 'state'>): boolean {
  return state === 'completed' || state === 'skipped';
}

/** One line that is written over on a terminal, a line a state elsewhere. On standard error, so that output stays clean. */
function progressLine(runId: string): { show(state: string): void; end(): void } {
  const began = Date.now();
  const out = process.stderr;
  let current = 'requested';
  const line = () => `${runId}: ${current}, ${((Date.now() - began) / 1_000).toFixed(0)} s`;
  const timer = out.isTTY ? setInterval(() => out.write(`\r\u001b[K${line()}`), 500) : undefined;
  return {
    show: (state) => {
      current = state;
      out.write(out.isTTY ? `\r\u001b[K${line()}` : `${line()}\n`);
    },
    end: () => {
      clearInterval(timer);
      if (out.isTTY) out.write('\n');
    },
  };
}
