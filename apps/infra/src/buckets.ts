import { Aws, Duration, RemovalPolicy, Validations } from 'aws-cdk-lib';
import { Key } from 'aws-cdk-lib/aws-kms';
import { BlockPublicAccess, Bucket, BucketEncryption, type LifecycleRule, StorageClass } from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import type { Options } from './options';
import type { Bucket as BucketKind } from './permissions';

export type Buckets = Readonly<Record<BucketKind, Bucket>>;

/** Known before the bucket is made, so that the queue's policy can name it. */
export const bucketName = ({ prefix }: Options, bucket: BucketKind): string =>
  `${prefix}-${bucket}-${Aws.ACCOUNT_ID}-${Aws.REGION}`;

/** Parts of uploads that were never completed are paid for, and seen by nobody. */
const UNFINISHED: LifecycleRule = { abortIncompleteMultipartUploadAfter: Duration.days(7) };

/** The four buckets: encrypted, private, spoken to over TLS, and kept when the stack goes. */
export function makeBuckets(scope: Construct, options: Options): Buckets {
  const key = options.kmsKeyArn && Key.fromKeyArn(scope, 'Key', options.kmsKeyArn);
  const make = (kind: BucketKind, lifecycleRules: LifecycleRule[], versioned = false) => {
    const bucket = new Bucket(scope, `${kind[0]?.toUpperCase()}${kind.slice(1)}Bucket`, {
      bucketName: bucketName(options, kind),
      ...(key
        ? { encryption: BucketEncryption.KMS, encryptionKey: key, bucketKeyEnabled: true }
        : { encryption: BucketEncryption.S3_MANAGED }),
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      enforceSSL: true,
      versioned,
      lifecycleRules: [UNFINISHED, ...lifecycleRules],
      removalPolicy: RemovalPolicy.RETAIN,
    });
    Validations.of(bucket).acknowledge({
      id: 'AwsSolutions-S1',
      reason:
        'Who called what is told by CloudTrail data events, where a team pays for them; a log bucket would be one more to keep',
    });
    return bucket;
  };
  return {
    // A file that was replaced while a run worked on it is read to its end, and can be had again for a month.
    source: make('source', [{ noncurrentVersionExpiration: Duration.days(30) }], true),
    // Runs clear what they leave; what is left is of runs that did not complete, and totals that can be computed again.
    intermediate: make('intermediate', [{ expiration: Duration.days(30) }]),
    lake: make('lake', []),
    // The archiver puts files into their class itself; this is for what others put there.
    archive: make('archive', [
      {
        transitions: [
          { storageClass: new StorageClass(options.archiveStorageClass), transitionAfter: Duration.days(1) },
        ],
      },
    ]),
  };
}
