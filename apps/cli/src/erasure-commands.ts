import { createInterface } from 'node:readline';
import { createReadStream } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { BLANKS } from '@music/contracts';
import { withEngine } from '@music/duckdb';
import {
  type Erased,
  ErasureKey,
  type ErasureReport,
  Forgotten,
  NoErasureKey,
  eraseForgotten,
  leftOf,
} from '@music/erasure';
import { followRun, number, requestForget, runReport, yesterday } from '@music/reports';
import type { Stores, StoresConfig } from '@music/service';
import { type Command, Option } from 'commander';
import { type WaitOptions, follow, waitOptions } from './follow';
import { UsageError } from './usage';
import { print, printJson, withStores } from './with-stores';

interface ForgetOptions extends WaitOptions {
  readonly userIdFile: string;
  readonly dryRun: boolean;
  readonly verify: boolean;
  readonly archive: 'keep' | 'delete';
  readonly by?: string;
}

const MOST_USERS = 1_000_000;
/** Something of the users is left. */
const LEFT = 3;
const LIMITS = { memoryBytes: 512 * 2 ** 20, threads: 2 };

export function addErasureCommands(program: Command): void {
  waitOptions(
    program
      .command('forget')
      .description('take all listens of users out of the lake, the quarantine and what is under way, for good')
      .requiredOption('--user-id-file <file>', 'a file with their ids, one a line; `-`: standard input')
      .option('--dry-run', 'only show what has listens of them', false)
      .option('--verify', 'read all that is left, and find none of them', false)
      .addOption(
        new Option('--archive <what>', 'archived files that hold their listens: `keep` and list, or `delete` them')
          .choices(['keep', 'delete'])
          .default('keep'),
      )
      .option('--by <name>', 'who asks (default: the user of this machine)'),
  ).action(forget);
}

async function forget({
  userIdFile,
  dryRun,
  verify,
  archive,
  by = userInfo().username,
  ...wait
}: ForgetOptions): Promise<void> {
  if (dryRun && verify) throw new UsageError('--dry-run shows what there is, --verify that there is nothing: name one');
  const ids = await readIds(userIdFile);
  await withStores(async (stores, config) => {
    const key = keyOf(config);
    const hashes = [...ids].map((id) => key.hash(id));
    if (dryRun || verify) return show(await find(stores, config, key, hashes), hashes.length, verify, wait.json);
    const asker = { through: 'cli' as const, name: by };
    const logicalDate = yesterday(config.kpiTimeZone);
    const runId = await requestForget(stores, config.lakeBucket, { hashes, archive }, logicalDate, asker);
    if (!wait.wait || !wait.json) await follow(stores, runId, wait);
    else await followRun(stores, runId, { timeoutMs: wait.timeout === undefined ? Infinity : wait.timeout * 1_000 });
    if (!wait.wait) return;
    const run = await stores.runs.findRun(runId);
    if (run?.state !== 'completed' || run.erasure?.report === undefined) {
      if (wait.json) printJson((await runReport(stores, runId)) ?? { run_id: runId, state: 'requested' });
      process.exitCode = 1;
      return;
    }
    const report = await stores.objects.readJson<ErasureReport>(run.erasure.report);
    if (wait.json) printJson(report);
    else print(`\n${describeReport(report)}`);
    if (leftOf(report) > 0) process.exitCode = LEFT;
  });
}

/** The ids of a text, one a line, each once. They are in no argument, since those stand in histories of shells. */
async function readIds(file: string): Promise<Set<string>> {
  const ids = new Set<string>();
  const input = file === '-' ? process.stdin : createReadStream(file);
  const blanks = new RegExp(`^[${BLANKS}]+|[${BLANKS}]+$`, 'g');
  try {
    for await (const line of createInterface({ input, crlfDelay: Infinity })) {
      const id = line.replace(blanks, '');
      if (id !== '') ids.add(id);
      if (ids.size > MOST_USERS) throw new UsageError(`--user-id-file: more than ${number(MOST_USERS)} ids`);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`--user-id-file ${file}: ${(error as NodeJS.ErrnoException).code ?? 'it cannot be read'}`);
  }
  if (ids.size === 0) throw new UsageError('--user-id-file: it has no id');
  return ids;
}

function keyOf({ erasureKeyFile }: StoresConfig): ErasureKey {
  try {
    return ErasureKey.read(erasureKeyFile);
  } catch (error) {
    throw error instanceof NoErasureKey ? new UsageError(error.message) : error;
  }
}

async function find(
  { runs, objects }: Stores,
  { lakeBucket, intermediateBucket }: StoresConfig,
  key: ErasureKey,
  hashes: readonly string[],
): Promise<Erased> {
  return withEngine(tmpdir(), 'forget', LIMITS, async (engine, dir) =>
    eraseForgotten({
      runs,
      objects,
      lakeBucket,
      intermediateBucket,
      engine,
      forgotten: await Forgotten.open(engine, key, hashes),
      dir,
      runId: '',
      dryRun: true,
      signal: new AbortController().signal,
      progress: () => undefined,
    }),
  );
}

function show(found: Erased, users: number, verify: boolean, json: boolean): void {
  const objects = [...found.rewritten, ...found.deleted];
  const clean = objects.length === 0 && found.left.length === 0;
  if (json)
    printJson({
      users,
      listens: found.listens,
      dates: [...found.dates].sort(),
      objects,
      left: found.left,
    });
  else {
    print(
      objects.length === 0
        ? `nothing that was read has listens of ${number(users)} users`
        : `${number(found.listens)} listens of ${number(users)} users, in ${number(objects.length)} objects, on ${number(found.dates.size)} days:\n${objects.map((each) => `  ${each}`).join('\n')}`,
    );
    for (const { object, why } of found.left) print(`not read: ${object}: ${why}`);
  }
  if (verify && !clean) process.exitCode = objects.length > 0 ? 1 : LEFT;
}

function describeReport(report: ErasureReport): string {
  const { listens, users, dates, objects, archived, left } = report;
  const kept = archived.filter(({ deleted }) => !deleted);
  return [
    `${number(listens)} listens of ${number(users)} users have left the lake; ${number(dates.length)} days were computed again`,
    `objects: ${objects.rewritten.length} rewritten, ${objects.deleted.length} deleted`,
    `archived files with their listens: ${archived.length - kept.length} deleted, ${kept.length} left`,
    ...kept.map(({ object }) => `  ${object}`),
    ...left.map(({ object, why }) => `left: ${object}: ${why}`),
  ].join('\n');
}
