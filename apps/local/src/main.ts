import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import {
  type DayReport,
  type RunReport,
  dayReport,
  describeRun,
  followRun,
  requestRun,
  runReport,
  table,
  yesterday,
} from '@music/reports';
import { deliveryFiles } from '@music/storage';
import { workspaceRoot } from '@music/local-stack';
import { Command, InvalidArgumentError, Option } from 'commander';
import { LOCAL_ENGINES, LOCAL_SERVERS, LocalPipeline } from '@music/local-pipeline';
import { DAYS_SHOWN, describeDays } from './day-text';
import { watchFolder } from './watch-folder';

interface Options {
  readonly data: string[];
  readonly json?: string;
  readonly keep: boolean;
  readonly date?: string;
  readonly stack: (typeof LOCAL_SERVERS)[number];
  readonly engine: (typeof LOCAL_ENGINES)[number];
  readonly watch?: string;
  readonly arrivals: (typeof ARRIVALS)[number];
}

const ARRIVALS = ['poll', 'sqs'] as const;

function program(): Command {
  return new Command('npm start --')
    .description('Runs the whole pipeline on this machine: servers, services, data, and a run for each folder of data.')
    .option(
      '--data <dir>',
      'folder with streams/, songs/ and users/; repeat it for several runs in order',
      (dir: string, all: string[]) => [...all, dir],
      [],
    )
    .option('--json <file>', 'write runs and days as JSON')
    .option('--keep', 'leave servers and services up until Ctrl-C', false)
    .option('--date <date>', 'logical date of the runs, YYYY-MM-DD (default: yesterday)', (date: string) => {
      if (!/^\d{4}-\d{2}-\d{2}$/.test(date) || Number.isNaN(Date.parse(date)))
        throw new InvalidArgumentError('expected YYYY-MM-DD.');
      return date;
    })
    .addOption(
      new Option(
        '--stack <stack>',
        'servers: started here, those of docker/compose.yaml, or moto with the stack of apps/infra made on it',
      )
        .choices(LOCAL_SERVERS)
        .default('own'),
    )
    .addOption(
      new Option('--engine <engine>', 'of the KPI job: DuckDB, or the PySpark script of AWS Glue')
        .choices(LOCAL_ENGINES)
        .default('duckdb'),
    )
    .option(
      '--watch <dir>',
      'take files as they are put into streams/, songs/ and users/ of a folder, and show what they change, until Ctrl-C',
    )
    .addOption(
      new Option('--arrivals <how>', 'how the sensor learns of them, with --watch: it looks, or a queue rings')
        .choices(ARRIVALS)
        .default('poll'),
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
}

async function main(): Promise<number> {
  const options = program().parse().opts<Options>();
  const here = (dir: string) => path.resolve(process.env['INIT_CWD'] ?? '.', dir);
  const watched = options.watch === undefined ? undefined : here(options.watch);
  if (watched !== undefined && options.stack === 'compose' && options.arrivals === 'sqs')
    throw new Error('--arrivals sqs needs --stack own: docker/compose.yaml has no queue');
  const standard = watched === undefined ? [path.join(workspaceRoot(), 'samples')] : [];
  const folders = options.data.length > 0 ? options.data.map(here) : standard;
  const jsonFile = options.json === undefined ? undefined : here(options.json);
  for (const folder of folders) await deliveryFiles(folder); // before anything is started
  const began = Date.now();
  say('starting Kafka, DynamoDB, S3 and the five services …');
  const pipeline = await LocalPipeline.start({
    servers: options.stack,
    engine: options.engine,
    arrivals: watched === undefined ? 'off' : options.arrivals,
    api: options.keep || watched !== undefined,
  });
  const interrupted = new Promise<'interrupted'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve('interrupted'));
  });
  try {
    say(`up after ${((Date.now() - began) / 1_000).toFixed(1)} s; logs are in ${pipeline.dir}`);
    const work = runAll(pipeline, folders, options.date ?? yesterday(pipeline.config.kpiTimeZone));
    const result = await Promise.race([work, interrupted]);
    if (result === 'interrupted') return 130;
    if (jsonFile !== undefined) {
      await writeFile(jsonFile, `${JSON.stringify(result, undefined, 2)}\n`);
      say(`\nwritten: ${jsonFile}`);
    }
    if (options.keep || watched !== undefined) say(`\nthe page, live: ${pipeline.apiUrl()}/`);
    else say('\n`npm start -- --keep` leaves everything up, with a page to look at.');
    if (watched !== undefined) {
      const stop = new AbortController();
      void interrupted.then(() => stop.abort());
      await watchFolder(pipeline, watched, stop.signal, say);
    } else if (options.keep) {
      say(keepText(pipeline));
      const alive = setInterval(() => undefined, 60_000); // the children alone do not keep this process
      await interrupted;
      clearInterval(alive);
    }
    return result.runs.every(({ state }) => state === 'completed' || state === 'skipped') ? 0 : 1;
  } finally {
    say('\nstopping …');
    await pipeline.stop();
  }
}

async function runAll(
  pipeline: LocalPipeline,
  folders: readonly string[],
  logicalDate: string,
): Promise<{ runs: RunReport[]; days: DayReport[] }> {
  const { stores } = pipeline;
  const runs: RunReport[] = [];
  for (const folder of folders) {
    const files = await pipeline.load(folder);
    const runId = await requestRun(stores, { logicalDate, immediately: true });
    say(`\n${files} files of ${folder} are in s3://${pipeline.config.sourceBucket}; ${runId} is requested`);
    await followRun(stores, runId, { out: process.stdout });
    const report = await runReport(stores, runId);
    if (report === undefined) throw new Error(`${runId} is gone`);
    runs.push(report);
    say(`\n${describeRun(report)}`);
  }
  const dates = [...new Set(runs.flatMap((run) => run.days))].sort();
  const days: DayReport[] = [];
  for (const date of dates) {
    const day = await dayReport(stores.kpis, date);
    if (day === undefined) throw new Error(`${date} was published and is not in ${pipeline.config.kpiTable}`);
    days.push(day);
  }
  if (days.length > 0) say(`\n${describeDays(days.slice(-DAYS_SHOWN), days.length)}`);
  if (runs.length > 0) say(`\n${whereText(pipeline, runs)}`);
  return { runs, days };
}

function whereText({ config }: LocalPipeline, runs: readonly RunReport[]): string {
  const rows = [
    ['KPIs', `DynamoDB table ${config.kpiTable}`],
    ['runs and files', `DynamoDB table ${config.runsTable}`],
    ['listens by day', `s3://${config.lakeBucket}/listens/`],
    ['archived files', `s3://${config.archiveBucket}/streams/`],
  ];
  if (
    runs.some(
      ({ files, rows: { rejected } }) =>
        files.some(({ state }) => state === 'rejected') || Object.keys(rejected).length > 0,
    )
  )
    rows.push(['rejected files and rows', `s3://${config.lakeBucket}/quarantine/`]);
  return table(['what', 'where'], rows);
}

function keepText({ env, glue }: LocalPipeline): string {
  const names = [
    'KAFKA_BROKERS',
    'AWS_ENDPOINT_URL_DYNAMODB',
    'AWS_ENDPOINT_URL_S3',
    'S3_FORCE_PATH_STYLE',
    'AWS_REGION',
    'AWS_ACCESS_KEY_ID',
    'AWS_SECRET_ACCESS_KEY',
    ...(glue === undefined ? [] : ['AWS_ENDPOINT_URL_GLUE']),
  ];
  return [
    '\nEverything stays up until Ctrl-C. In another terminal:',
    '',
    ...names.map((name) => `  export ${name}=${env[name]}`),
    '',
    '  npx music-kpis runs',
    '  npx music-kpis status',
    '  npx music-kpis events',
    '  npx music-kpis run --wait',
    '  npx music-kpis top-genres --date 2024-06-25',
  ].join('\n');
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
