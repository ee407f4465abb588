import { glueJob } from '@music/job-runners';
import { RemovalPolicy, Validations } from 'aws-cdk-lib';
import { CfnJob, type CfnJobProps } from 'aws-cdk-lib/aws-glue';
import type { Role } from 'aws-cdk-lib/aws-iam';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import type { Buckets } from './buckets';
import { camelCased } from './camel-case';
import type { Options } from './options';

export const logGroupName = ({ prefix }: Options): string => `/aws-glue/${prefix}-kpis`;

/**
 * The job of the KPIs, as `music-kpis setup --glue` would make it; script and models, named by their content, are put
 * into the lake by that.
 */
export function makeKpiJob(scope: Construct, options: Options, buckets: Buckets, role: Role): CfnJob {
  const logs = new LogGroup(scope, 'KpiJobLogs', {
    logGroupName: logGroupName(options),
    retention: RetentionDays.THREE_MONTHS,
    removalPolicy: RemovalPolicy.DESTROY,
  });
  const { definition } = glueJob(buckets.lake.bucketName, {
    roleArn: role.roleArn,
    workerType: 'G.1X',
    workers: 2,
    timeoutMinutes: 120,
    logGroup: logs.logGroupName,
  });
  const job = new CfnJob(scope, 'KpiJob', {
    name: `${options.prefix}-kpis`,
    ...(camelCased(definition) as Omit<CfnJobProps, 'name'>),
  });
  Validations.of(job).acknowledge(
    { id: 'AwsSolutions-GL1', reason: 'The log has counts and names of objects, and is encrypted as all logs are' },
    { id: 'AwsSolutions-GL3', reason: 'There are no bookmarks: the pipeline knows what was read' },
  );
  return job;
}
