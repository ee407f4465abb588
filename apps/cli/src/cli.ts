import { GlueClient } from '@aws-sdk/client-glue';
import { describeError } from '@music/errors';
import { NoGlueRole, setUpGlueJob } from '@music/job-runners';
import { CATALOG_FROM, setUpCatalog } from '@music/lake';
import { recoverRuns } from '@music/reports';
import { type Stores, type StoresConfig, WrongSettings, awsClient, setUp } from '@music/service';
import { deliveryFiles, loadDelivery } from '@music/storage';
import { Command, Option } from 'commander';
import { addErasureCommands } from './erasure-commands';
import { addEventCommands } from './event-commands';
import { addExportCommand } from './export-command';
import { addKeyCommands } from './key-commands';
import { addKpiCommands } from './kpi-commands';
import { addRunCommands } from './run-commands';
import { addStandingCommands } from './standing-commands';
import { UsageError, date, positive } from './usage';
import { print, printJson, withStores } from './with-stores';

interface SetUpOptions {
  readonly glue: boolean;
  readonly glueRole?: string;
  readonly glueWorkerType: string;
  readonly glueWorkers: number;
  readonly glueTimeout: number;
  readonly catalog: boolean;
  readonly catalogFrom: string;
  readonly patience: number;
  readonly json: boolean;
}

async function setUpGlue({ objects }: Stores, config: StoresConfig, options: SetUpOptions) {
  const client = new GlueClient(awsClient(config));
  const { lakeBucket, glueJobName: jobName, glueDatabase: database } = config;
  try {
    const job = options.glue
      ? await setUpGlueJob(client, objects, lakeBucket, {
          jobName,
          roleArn: options.glueRole,
          workerType: options.glueWorkerType,
          workers: options.glueWorkers,
          timeoutMinutes: options.glueTimeout,
        })
      : undefined;
    const tables = options.catalog
      ? await setUpCatalog(client, lakeBucket, { database, from: options.catalogFrom })
      : undefined;
    return { job, tables };
  } catch (error) {
    throw error instanceof NoGlueRole ? new UsageError(`${error.message}: --glue-role, or GLUE_ROLE_ARN`) : error;
  } finally {
    client.destroy();
  }
}

const patience = () =>
  new Option('--patience <seconds>', 'try again for so long while servers or buckets are not there')
    .default(0)
    .argParser(positive);

/**
 * Does something until it succeeds, or the patience is over; says what it waits for. Wrong settings are not waited for.
 */
async function patiently<T>(seconds: number, act: () => Promise<T>): Promise<T> {
  for (const deadline = Date.now() + seconds * 1_000; ; await new Promise((resolve) => setTimeout(resolve, 1_000))) {
    try {
      return await act();
    } catch (error) {
      if (error instanceof WrongSettings || Date.now() >= deadline) throw error;
      process.stderr.write(`music-kpis: trying again: ${describeError(error, 300)}\n`);
    }
  }
}

/** `music-kpis`. Exit codes: 0 done, 1 it did not succeed, 2 wrong usage. */
export function cli(): Command {
  const program = new Command('music-kpis')
    .description('Runs of the music streaming pipeline, and their KPIs')
    .exitOverride()
    .showHelpAfterError();
  program.configureHelp({ sortSubcommands: false });
  program
    .command('setup')
    .description('create the topics, tables and buckets that are not there')
    .option(
      '--glue',
      'also create or update the AWS Glue job of the KPIs (GLUE_JOB_NAME), its script and its SQL',
      false,
    )
    .addOption(
      new Option('--glue-role <arn>', 'with --glue: the IAM role that the job runs as (default: as it is)').env(
        'GLUE_ROLE_ARN',
      ),
    )
    .option('--glue-worker-type <type>', 'with --glue: size of a worker', 'G.1X')
    .option('--glue-workers <n>', 'with --glue: how many workers', positive, 2)
    .option('--glue-timeout <minutes>', 'with --glue: longest time of a job run', positive, 120)
    .option('--catalog', 'also make the lake a database of the Glue Data Catalog (GLUE_DATABASE), for Athena', false)
    .option('--catalog-from <date>', 'with --catalog: the first day that queries look for', date, CATALOG_FROM)
    .addOption(patience())
    .option('--json', 'for programs', false)
    .action(async (options: SetUpOptions) =>
      withStores(async (stores, config) => {
        const { created } = await patiently(options.patience, () => setUp(stores, config));
        const { takenBack, forgotten } = await recoverRuns(stores, config.lakeBucket);
        const { job, tables } = await setUpGlue(stores, config, options);
        if (options.json)
          return printJson({
            created,
            recovered: { taken_back: takenBack, forgotten },
            glue_job: job,
            catalog_tables: tables,
          });
        const count = (names: readonly string[], what: string) =>
          `${names.length} ${what}${names.length > 0 && names.length < 5 ? ` (${names.join(', ')})` : ''}`;
        print(
          `created ${count(created.buckets, 'buckets')}, ${count(created.tables, 'tables')}, ${count(created.topics, 'topics')}; the rest was there`,
        );
        if (takenBack + forgotten > 0)
          print(
            `${config.runsTable} had lost, and has from the lake again: ${takenBack} deliveries that were taken back, ` +
              `${forgotten} users who are forgotten`,
          );
        if (job !== undefined) print(`Glue job ${config.glueJobName}: ${job}`);
        for (const [name, done] of Object.entries(tables ?? {})) print(`table ${config.glueDatabase}.${name}: ${done}`);
      }),
    );
  program
    .command('load')
    .description('put the files of a folder with streams/, songs/ and users/ into the source bucket')
    .argument('<dir>', 'the folder')
    .addOption(patience())
    .action(async (dir: string, { patience: seconds }: { patience: number }) =>
      withStores(async ({ objects }, { sourceBucket, leaveNames }) => {
        await deliveryFiles(dir, leaveNames); // a wrong folder is no reason for patience
        const files = await patiently(seconds, () => loadDelivery(objects, sourceBucket, dir, { leaveNames }));
        print(`${files} files of ${dir} are in s3://${sourceBucket}`);
      }),
    );
  addRunCommands(program);
  addStandingCommands(program);
  addErasureCommands(program);
  addKpiCommands(program);
  addExportCommand(program);
  addEventCommands(program);
  addKeyCommands(program);
  for (const command of program.commands) command.exitOverride();
  return program;
}
