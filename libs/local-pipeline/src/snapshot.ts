import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { type AttributeValue, PutItemCommand, paginateScan } from '@aws-sdk/client-dynamodb';
import { STAGES, topicSpecs } from '@music/events';
import { type PlainMessage, publish, readTopics } from '@music/messaging';
import type { StoresConfig, Stores } from '@music/service';
import type { LocalPipeline } from './local-pipeline';

const run = promisify(execFile);
const S3 = 's3';
const TOPICS = 'topics.jsonl';
/** The folder of the S3 server in a snapshot, and a folder as it notes it. */
const SAVED = '/snapshot';
const NOTED = /"file:\/\/[^"]*?\/music-(?=source|lake|intermediate|archive)/g;
type Item = Record<string, AttributeValue>;

const tableFiles = ({ runsTable, kpiTable }: StoresConfig) => [
  { table: runsTable, file: 'pipeline_runs.jsonl' },
  { table: kpiTable, file: 'music_kpis_table.jsonl' },
];
const lines = (values: readonly unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');
const parsed = async <T>(file: string): Promise<T[]> =>
  (await readFile(file, 'utf8')).split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as T]));

/**
 * Kills the services of a pipeline and writes what they leave, tables, topics and buckets, into one file (tar, gzip),
 * from which another release can go on. The pipeline is good for nothing but `stop` afterwards.
 */
export async function saveSnapshot(pipeline: LocalPipeline, file: string): Promise<void> {
  for (const stage of STAGES) for (const child of pipeline.children(stage)) child.kill('SIGKILL');
  const { stores, config, stack } = pipeline;
  if (stack === undefined) throw new Error('only a pipeline with servers of its own can be saved');
  const dir = await mkdtemp(path.join(tmpdir(), 'music-snapshot-'));
  try {
    for (const { table, file } of tableFiles(config)) {
      const items: Item[] = [];
      for await (const { Items = [] } of paginateScan({ client: stores.dynamo }, { TableName: table }))
        items.push(...Items);
      await writeFile(path.join(dir, file), lines(items));
    }
    const messages: PlainMessage[] = [];
    const topics = topicSpecs(config.retryDelaysSeconds.length).map(({ topic }) => topic);
    await readTopics(stores.kafka, topics, ({ topic, key, value, headers }) =>
      messages.push({ topic, key, value, headers }),
    );
    await writeFile(path.join(dir, TOPICS), lines(messages));
    await stack.child('s3').stop();
    await copyS3(path.join(stack.dir, S3), path.join(dir, S3), SAVED);
    await run('tar', ['--create', '--gzip', '--file', file, '--directory', dir, '.']);
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** Unpacks a snapshot; its buckets are those of a stack that is to be started in `stackDir`. Gives where the rest is. */
export async function unpackSnapshot(file: string, dir: string, stackDir: string): Promise<string> {
  const to = path.join(dir, 'snapshot');
  await mkdir(to, { recursive: true });
  await run('tar', ['--extract', '--gzip', '--file', file, '--directory', to]);
  await mkdir(stackDir, { recursive: true });
  await copyS3(path.join(to, S3), path.join(stackDir, S3), path.join(stackDir, S3));
  return to;
}

/** Copies what the S3 server has; it notes with each object in which folder it is. */
async function copyS3(from: string, to: string, noted: string): Promise<void> {
  await cp(from, to, { recursive: true });
  for (const file of await readdir(to, { recursive: true })) {
    if (!/(bucket|object)Metadata\.json$/.test(file)) continue;
    const text = await readFile(path.join(to, file), 'utf8');
    await writeFile(path.join(to, file), text.replaceAll(NOTED, `"file://${noted}/music-`));
  }
}

/** Puts what was in the tables and topics of a snapshot into those that are there. */
export async function fillFromSnapshot(
  { dynamo, kafka }: Pick<Stores, 'dynamo' | 'kafka'>,
  config: StoresConfig,
  unpacked: string,
): Promise<void> {
  for (const { table, file } of tableFiles(config))
    for (const Item of await parsed<Item>(path.join(unpacked, file)))
      await dynamo.send(new PutItemCommand({ TableName: table, Item }));
  await publish(kafka, await parsed<PlainMessage>(path.join(unpacked, TOPICS)));
}
