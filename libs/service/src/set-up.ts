import {
  BucketAlreadyOwnedByYou,
  CreateBucketCommand,
  HeadBucketCommand,
  PutBucketVersioningCommand,
} from '@aws-sdk/client-s3';
import { topicSpecs } from '@music/events';
import { kpiTable } from '@music/kpis';
import { ensureTopics } from '@music/messaging';
import { LAKE_TURN, ensureTable, pipelineRunsTable } from '@music/runs';
import type { StoresConfig } from './service-config';
import type { Stores } from './stores';

export interface SetUpReport {
  readonly created: {
    readonly buckets: readonly string[];
    readonly tables: readonly string[];
    readonly topics: readonly string[];
  };
}

/** Creates the buckets, tables and topics that are not there. Services create none. Safe to repeat. */
export async function setUp(stores: Stores, config: StoresConfig): Promise<SetUpReport> {
  const [buckets, tables, topics] = await Promise.all([
    setUpBuckets(stores, config),
    setUpTables(stores, config),
    ensureTopics(
      stores.kafka,
      topicSpecs(config.retryDelaysSeconds.length, {
        eventDays: config.kafkaRetentionDays,
        deadLetterDays: config.kafkaDeadLetterDays,
      }),
      { factor: config.kafkaReplicationFactor, minInSync: config.kafkaMinInSyncReplicas },
    ),
  ]);
  await stores.runs.noteSetUp();
  await keepVersionsRising(stores);
  return { created: { buckets, tables, topics } };
}

/** A table of runs that is new, or of a backup, has forgotten versions that numbers were published under. */
async function keepVersionsRising({ kpis, runs }: Stores): Promise<void> {
  const highest = await kpis.highestVersion();
  if (highest > 0) await runs.turns.numberAbove(LAKE_TURN, highest);
}

async function setUpBuckets({ s3 }: Stores, config: StoresConfig): Promise<string[]> {
  const created: string[] = [];
  for (const Bucket of [config.sourceBucket, config.intermediateBucket, config.lakeBucket, config.archiveBucket]) {
    if (await s3.send(new HeadBucketCommand({ Bucket })).then(() => true, notFound)) continue;
    try {
      const CreateBucketConfiguration =
        config.awsRegion === 'us-east-1' ? undefined : { LocationConstraint: config.awsRegion as 'eu-west-1' };
      await s3.send(new CreateBucketCommand({ Bucket, CreateBucketConfiguration }));
    } catch (error) {
      if (!(error instanceof BucketAlreadyOwnedByYou)) throw error;
    }
    created.push(Bucket);
  }
  // With versions, what a run froze stays readable when a file is replaced.
  if (config.sourceVersions && created.includes(config.sourceBucket))
    await s3.send(
      new PutBucketVersioningCommand({ Bucket: config.sourceBucket, VersioningConfiguration: { Status: 'Enabled' } }),
    );
  return created;
}

async function setUpTables({ dynamo }: Stores, config: StoresConfig): Promise<string[]> {
  const tables = [pipelineRunsTable(config.runsTable), kpiTable(config.kpiTable)];
  return (await Promise.all(tables.map((table) => ensureTable(dynamo, table)))).flat();
}

function notFound(error: unknown): false {
  if ((error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode === 404) return false;
  throw error;
}
