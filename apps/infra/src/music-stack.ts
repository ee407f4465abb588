import { Aws, CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { makeAlarms } from './alarms';
import { makeArrivals } from './arrivals';
import { bucketName, makeBuckets } from './buckets';
import { logGroupName, makeKpiJob } from './kpi-job';
import { makeLakeCatalog } from './lake-catalog';
import { type Options, optionsOf } from './options';
import type { Target } from './permissions';
import { makeRoles } from './roles';
import { TABLE_NAMES, makeTables } from './tables';

/** All that the pipeline needs of an account, but for the cluster and Kafka: those are a team's own. */
export class MusicStack extends Stack {
  constructor(scope: Construct, id: string, props?: StackProps) {
    super(scope, id, {
      description: 'Music streaming pipeline: buckets, tables, queue, job, catalog, roles, alarms',
      ...props,
    });
    const options = optionsOf(this.node);
    const buckets = makeBuckets(this, options);
    const tables = makeTables(this);
    const arrivals = makeArrivals(this, options, buckets);
    const roles = makeRoles(this, options, (target) => this.arnOf(target, options));
    const job = makeKpiJob(this, options, buckets, roles['glue-job']);
    const catalog = makeLakeCatalog(this, options, buckets);
    const alarms = makeAlarms(this, options, arrivals, job);
    this.tell({
      AWS_REGION: this.region,
      SOURCE_BUCKET: buckets.source.bucketName,
      INTERMEDIATE_BUCKET: buckets.intermediate.bucketName,
      LAKE_BUCKET: buckets.lake.bucketName,
      ARCHIVE_BUCKET: buckets.archive.bucketName,
      ARCHIVE_STORAGE_CLASS: options.archiveStorageClass,
      KPI_TABLE: tables.kpis.ref,
      RUNS_TABLE: tables.runs.ref,
      ARRIVALS: 'sqs',
      ARRIVAL_QUEUE_URL: arrivals.queue.queueUrl,
      KPI_RUNNER: 'glue',
      GLUE_JOB_NAME: job.ref,
      GLUE_DATABASE: catalog.ref,
      ...(options.kafkaBrokers === undefined ? {} : { KAFKA_BROKERS: options.kafkaBrokers }),
      ...(options.kafkaClusterArn === undefined ? {} : { KAFKA_TLS: 'true', KAFKA_SASL_MECHANISM: 'aws-iam' }),
    });
    new CfnOutput(this, 'AlarmTopic', { value: alarms.topicArn, description: 'Subscribe to it who is to be told' });
  }

  /** By names, not by reference: a role may be made before what it is about. */
  private arnOf(target: Target, options: Options): string {
    const here = `${Aws.REGION}:${Aws.ACCOUNT_ID}`;
    switch (target.kind) {
      case 'bucket':
        return `arn:${Aws.PARTITION}:s3:::${bucketName(options, target.bucket)}`;
      case 'objects':
        return `arn:${Aws.PARTITION}:s3:::${bucketName(options, target.bucket)}/${target.below}*`;
      case 'table':
        return `arn:${Aws.PARTITION}:dynamodb:${here}:table/${TABLE_NAMES[target.table]}`;
      case 'index':
        return `arn:${Aws.PARTITION}:dynamodb:${here}:table/${TABLE_NAMES[target.table]}/index/${INDEX_OF[target.table]}`;
      case 'queue':
        return `arn:${Aws.PARTITION}:sqs:${here}:${options.prefix}-arrivals`;
      case 'glue job':
        return `arn:${Aws.PARTITION}:glue:${here}:job/${options.prefix}-kpis`;
      case 'glue logs':
        return `arn:${Aws.PARTITION}:logs:${here}:log-group:${logGroupName(options)}:*`;
    }
  }

  /** Settings of the services, as outputs: the description is the setting's name. */
  private tell(settings: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(settings))
      new CfnOutput(this, `Setting${name.replaceAll('_', '')}`, { value, description: name });
  }
}

const INDEX_OF = { runs: 'runs_by_time', kpis: 'by_kpi' };
