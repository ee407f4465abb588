import { userInfo } from 'node:os';
import { NoSuchDelivery, findDeliveries } from '@music/lake';
import { type StandingPlan, number, planStanding, printable, requestStanding, table, yesterday } from '@music/reports';
import { NotHeld, decideHold } from '@music/runs';
import type { Command } from 'commander';
import { type WaitOptions, follow, waitOptions } from './follow';
import { UsageError } from './usage';
import { print, printJson, withStores } from './with-stores';

interface StandingOptions extends WaitOptions {
  readonly file?: string;
  readonly version?: string;
  readonly run?: string;
  readonly reason: string;
  readonly by?: string;
  readonly dryRun: boolean;
}

const MAX_REASON = 1_000;
const FILES_SHOWN = 3;

export function addStandingCommands(program: Command): void {
  for (const [change, description] of [
    ['retract', 'take deliveries back: their listens count no more, but for those that another one has'],
    ['restore', 'give deliveries back that were taken back: their listens count again'],
  ] as const)
    waitOptions(
      program
        .command(change)
        .description(description)
        .option('--file <key>', 'those of a stream file, as streams/a.csv')
        .option(
          '--version <version>',
          'with --file: only this version, as `explain` shows it, or its ETag (default: all)',
        )
        .option('--run <run>', 'those that a run took, or took back')
        .requiredOption('--reason <text>', 'why, for those who look at the numbers later')
        .option('--by <name>', 'who asks (default: the user of this machine)')
        .option('--dry-run', 'only show the days and listens that it would change', false),
    ).action((options: StandingOptions) => changeStanding(change, options));
  addHoldCommands(program);
}

interface HoldOptions extends WaitOptions {
  readonly reason?: string;
  readonly by?: string;
}

function addHoldCommands(program: Command): void {
  const command = (what: 'release' | 'discard', description: string) =>
    waitOptions(
      program
        .command(what)
        .description(description)
        .argument('<run>', 'its id')
        .option('--by <name>', 'who decides (default: the user of this machine)'),
    ).action((runId: string, options: HoldOptions) => decide(what, runId, options));
  command('release', 'publish a run that checks hold back').option('--reason <text>', 'why');
  command('discard', 'take back what a run delivered that checks hold back').requiredOption('--reason <text>', 'why');
}

async function decide(
  what: 'release' | 'discard',
  runId: string,
  { reason, by = userInfo().username, ...wait }: HoldOptions,
): Promise<void> {
  if (reason !== undefined) checkReason(reason);
  await withStores(async (stores) => {
    try {
      await decideHold(stores.runs, runId, { what, by, ...(reason === undefined ? {} : { reason }) });
    } catch (error) {
      throw error instanceof NotHeld ? new UsageError(error.message) : error;
    }
    await follow(stores, runId, wait);
  });
}

function checkReason(reason: string): void {
  if (reason.trim() === '' || reason.length > MAX_REASON)
    throw new UsageError(`--reason is a text of 1 to ${MAX_REASON} characters`);
}

async function changeStanding(
  change: 'retract' | 'restore',
  { file: key, version, run: ofRun, reason, by = userInfo().username, dryRun, ...wait }: StandingOptions,
): Promise<void> {
  if ((key === undefined) === (ofRun === undefined)) throw new UsageError('name either a --file or a --run');
  if (version !== undefined && key === undefined) throw new UsageError('--version is one of a --file');
  checkReason(reason);
  const asked = { change, key, version, ofRun };
  await withStores(async (stores, config) => {
    try {
      if (dryRun) {
        const plan = await planStanding(stores, config.lakeBucket, asked);
        if (wait.json) printJson(plan);
        else print(describePlan(change, plan));
        return;
      }
      await findDeliveries(stores, asked); // what is wrong is to be told now, not by a run
      const runId = await requestStanding(stores, { ...asked, reason }, yesterday(config.kpiTimeZone), {
        through: 'cli',
        name: by,
      });
      await follow(stores, runId, wait);
    } catch (error) {
      throw error instanceof NoSuchDelivery ? new UsageError(error.message) : error;
    }
  });
}

function describePlan(change: 'retract' | 'restore', { deliveries, days }: StandingPlan): string {
  const [lost, stay] = change === 'retract' ? ['listens lost', 'stay'] : ['listens that come back', 'count already'];
  const rows = days.map(({ date, listens, staying, because_of }) => [
    date,
    number(listens),
    number(staying),
    because_of
      .slice(0, FILES_SHOWN)
      .map(({ key, run_id, listens: n }) => `${printable(key)} (${run_id}): ${number(n)}`)
      .join(', '),
  ]);
  const what = `${deliveries.length === 1 ? '1 delivery' : `${number(deliveries.length)} deliveries`}`;
  if (rows.length === 0) return `${what}; no day has listens of it`;
  return `${table(['day', lost, stay, 'because of'], rows)}\n\n${what} on ${days.length === 1 ? '1 day' : `${number(days.length)} days`} would be ${change === 'retract' ? 'taken' : 'given'} back`;
}
