import { Aws, Duration } from 'aws-cdk-lib';
import { Effect, PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { CfnBucket } from 'aws-cdk-lib/aws-s3';
import { Queue, QueueEncryption, QueuePolicy } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { type Buckets, bucketName } from './buckets';
import type { Options } from './options';

export interface Arrivals {
  readonly queue: Queue;
  /** What nobody could take. */
  readonly deadLetters: Queue;
}

/** Folders whose new files ring the sensor. */
const FOLDERS = ['streams/', 'songs/', 'users/'];

/** The queue that the source bucket's notifications ring the sensor by. */
export function makeArrivals(scope: Construct, options: Options, buckets: Buckets): Arrivals {
  const common = { encryption: QueueEncryption.SQS_MANAGED, enforceSSL: true, retentionPeriod: Duration.days(14) };
  const deadLetters = new Queue(scope, 'ArrivalsDeadLetters', {
    queueName: `${options.prefix}-arrivals-dead`,
    ...common,
  });
  const queue = new Queue(scope, 'Arrivals', {
    queueName: `${options.prefix}-arrivals`,
    ...common,
    visibilityTimeout: Duration.minutes(2),
    deadLetterQueue: { queue: deadLetters, maxReceiveCount: 5 },
  });
  queue.addToResourcePolicy(
    new PolicyStatement({
      effect: Effect.ALLOW,
      principals: [new ServicePrincipal('s3.amazonaws.com')],
      actions: ['sqs:SendMessage'],
      resources: [queue.queueArn],
      conditions: {
        ArnLike: { 'aws:SourceArn': `arn:${Aws.PARTITION}:s3:::${bucketName(options, 'source')}` },
        StringEquals: { 'aws:SourceAccount': Aws.ACCOUNT_ID },
      },
    }),
  );
  // Not the bucket's own method: that makes a function that sets it.
  const source = buckets.source.node.defaultChild as CfnBucket;
  source.notificationConfiguration = {
    queueConfigurations: FOLDERS.map((folder) => ({
      event: 's3:ObjectCreated:*',
      queue: queue.queueArn,
      filter: { s3Key: { rules: [{ name: 'prefix', value: folder }] } },
    })),
  };
  // S3 tries the queue when the bucket is made.
  for (const policy of queue.node.findAll().filter((each) => each instanceof QueuePolicy))
    source.node.addDependency(policy);
  return { queue, deadLetters };
}
