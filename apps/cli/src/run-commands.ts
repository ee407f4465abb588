import { RERUN_STAGES, type RerunStage, runKind } from '@music/events';
import { lakeDates } from '@music/lake';
import { type DeadLetter, isOfRun, listOpenDeadLetters } from '@music/messaging';
import { AT_REST, CannotRerun, rerun, resume } from '@music/runs';
import {
  backfillDays,
  backlogs,
  describeBacklogs,
  describeRun,
  requestBackfill,
  requestRun,
  runReport,
  table,
  yesterday,
} from '@music/reports';
import type { Stores } from '@music/service';
import { type Command, Option } from 'commander';
import { type WaitOptions, follow, succeeded, waitOptions } from './follow';
import { letterForPrograms } from './letter-for-programs';
import { UsageError, date, positive } from './usage';
import { print, printJson, withStores } from './with-stores';

interface RunOptions extends WaitOptions {
  readonly date?: string;
  readonly now: boolean;
  readonly scheduled: boolean;
  readonly force: boolean;
}

export function addRunCommands(program: Command): void {
  waitOptions(
    program
      .command('run')
      .description('ask for a run')
      .option('--date <date>', 'its logical date (default: yesterday in KPI_TIME_ZONE)', date)
      .option(
        '--now',
        'judge the source as it is now: without files the run is skipped at once, not at its deadline',
        false,
      )
      .option('--scheduled', 'the run of the schedule: one a date, however often it is asked for', false)
      .option('--force', 'take files, too, that earlier runs took or rejected; no listen counts twice', false),
  ).action(run);

  waitOptions(
    program
      .command('backfill')
      .description('compute days again from the lake, with songs and users as they are now; without stream files')
      .requiredOption('--from <date>', 'first day, YYYY-MM-DD', date)
      .requiredOption('--to <date>', 'last day, YYYY-MM-DD', date)
      .option('--dry-run', 'only show which days that would be', false),
  ).action(backfill);

  waitOptions(
    program
      .command('rerun')
      .description('begin a run that was rejected or failed again, with what its earlier stages left')
      .argument('<run>', 'its id')
      .addOption(new Option('--from-stage <stage>', 'where to begin').choices(RERUN_STAGES).makeOptionMandatory()),
  ).action(rerunFrom);

  waitOptions(
    program
      .command('resume')
      .description('send again what the stages of a run under way wait for, after Kafka lost its data')
      .argument('<run>', 'its id'),
  ).action(resumeRun);

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
    const { scheduled, now: immediately, force } = options;
    await follow(stores, await requestRun(stores, { logicalDate, scheduled, immediately, force }), options, {
      logical_date: logicalDate,
    });
  });
}

async function backfill(options: WaitOptions & { from: string; to: string; dryRun: boolean }): Promise<void> {
  const { from, to } = options;
  if (from > to) throw new UsageError(`--from ${from} is after --to ${to}`);
  await withStores(async (stores, config) => {
    const dates = await lakeDates(stores.objects, config.lakeBucket, from, to);
    if (dates.length === 0) throw new UsageError(`the lake has no listens from ${from} to ${to}`);
    if (!options.dryRun) return follow(stores, await requestBackfill(stores, from, to), options);
    const days = await backfillDays(stores, dates);
    if (options.json)
      return printJson(
        days.map(({ date: day, version, run_id, songs_version }) => ({ date: day, version, run_id, songs_version })),
      );
    print(
      `${table(
        ['day', 'version now', 'computed by', 'with songs'],
        days.map(({ date: day, version, run_id, songs_version }) => [
          day,
          version,
          run_id,
          songs_version?.slice(0, 12),
        ]),
      )}\n\n${days.length} days would be computed again`,
    );
  });
}

function rerunFrom(runId: string, options: WaitOptions & { fromStage: RerunStage }): Promise<void> {
  return goOn(runId, options, ({ runs }) => rerun(runs, runId, options.fromStage));
}

function resumeRun(runId: string, options: WaitOptions): Promise<void> {
  return goOn(runId, options, ({ runs }) => resume(runs, runId));
}

async function goOn(runId: string, options: WaitOptions, begin: (stores: Stores) => Promise<unknown>): Promise<void> {
  await withStores(async (stores) => {
    try {
      await begin(stores);
    } catch (error) {
      throw error instanceof CannotRerun ? new UsageError(error.message) : error;
    }
    await follow(stores, runId, options);
  });
}

async function status(runId: string | undefined, { json }: { json: boolean }): Promise<void> {
  await withStores(async (stores, config) => {
    const id = runId ?? (await stores.runs.listRuns(1))[0]?.runId;
    const report = id === undefined ? undefined : await runReport(stores, id, config.stallMinutes * 60_000);
    if (report === undefined)
      throw new UsageError(
        runId === undefined ? 'there has been no run yet' : `there is no run ${runId}; \`music-kpis runs\` lists them`,
      );
    const open = config.kafkaBrokers.length === 0 ? undefined : await listOpenDeadLetters(stores.kafka, stores.runs);
    const own = open?.filter(({ message }) => isOfRun(message.key, report.run_id)) ?? [];
    const work = await backlogs(stores);
    if (json)
      printJson({
        ...report,
        work,
        dead_letters: open === undefined ? undefined : own.map(letterForPrograms),
        other_dead_letters: open === undefined ? undefined : open.length - own.length,
      });
    else
      print(
        [describeRun(report), describeBacklogs(work), describeDeadLetters(report.run_id, own, open?.length)].join('\n'),
      );
    if (!succeeded(report) && (AT_REST.has(report.state) || own.length > 0)) process.exitCode = 1;
  });
}

/** `open`: how many there are in all; undefined where they were not looked for. */
function describeDeadLetters(runId: string, own: readonly DeadLetter[], open: number | undefined): string {
  if (open === undefined) return 'dead letters: not looked for, since KAFKA_BROKERS is not set';
  const others =
    open === own.length ? '' : `${open - own.length} of other runs or of none: \`music-kpis replay --list\` shows them`;
  if (own.length === 0) return `dead letters: ${others === '' ? 'none' : `none of this run, ${others}`}`;
  return [
    `dead letters: ${own.length} of this run${others === '' ? '' : `, ${others}`}; \`music-kpis replay --run ${runId}\` puts them back`,
    table(
      ['stage', 'topic', 'at', 'reason'],
      own.map(({ stage, topic, at, reason }) => [stage, topic, at, reason]),
    ),
  ].join('\n');
}

async function runs({ limit, json }: { limit: number; json: boolean }): Promise<void> {
  await withStores(async (stores) => {
    const found = await stores.runs.listRuns(limit);
    if (json)
      printJson(
        found.map(({ runId, logicalDate, state, requestedAt, rows, reasons, days }) => ({
          run_id: runId,
          kind: runKind(runId),
          logical_date: logicalDate,
          state,
          requested_at: requestedAt,
          rows,
          days,
          reasons: reasons ?? [],
        })),
      );
    else if (found.length === 0) print('there has been no run yet');
    else {
      print(
        table(
          ['run', 'date', 'state', 'requested', 'rows kept', 'days', 'reason'],
          found.map((each) => [
            each.runId,
            each.logicalDate,
            each.state,
            each.requestedAt,
            each.rows?.kept,
            each.days,
            each.reasons?.[0],
          ]),
        ),
      );
      print(describeBacklogs(await backlogs(stores)));
    }
  });
}
