import { CATALOG_FROM } from '@music/lake';
import type { Node } from 'constructs';

/** What a team may say about its stack: `-c name=value`, or cdk.context.json. */
export interface Options {
  /** With which the names of buckets, queues, roles and the job begin. */
  readonly prefix: string;
  /** Kubernetes namespace of the services. */
  readonly namespace: string;
  /** EKS cluster whose pods get the roles, by Pod Identity. */
  readonly clusterName?: string;
  /** Issuer of the cluster's tokens, without `https://`: roles by IRSA, for clusters without Pod Identity. */
  readonly oidcIssuer?: string;
  /** Key for the buckets in place of S3's own. */
  readonly kmsKeyArn?: string;
  /** MSK cluster that services log in to by their roles (KAFKA_SASL_MECHANISM=aws-iam). */
  readonly kafkaClusterArn?: string;
  /** Its brokers, as `aws kafka get-bootstrap-brokers` gives them. */
  readonly kafkaBrokers?: string;
  /** Class of the archive: ARCHIVE_STORAGE_CLASS. */
  readonly archiveStorageClass: string;
  /** First day that queries of the lake look for, YYYY-MM-DD. */
  readonly catalogFrom: string;
  /** Who is told of alarms. */
  readonly alarmEmail?: string;
}

const PATTERN: Record<keyof Options, RegExp> = {
  prefix: /^[a-z][a-z0-9-]{0,19}$/,
  namespace: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
  clusterName: /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/,
  oidcIssuer: /^[a-z0-9.-]+\/[A-Za-z0-9./_-]+$/,
  kmsKeyArn: /^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key\/[a-f0-9-]+$/,
  kafkaClusterArn: /^arn:aws[a-z-]*:kafka:[a-z0-9-]+:\d{12}:cluster\/[^/]+\/[^/]+$/,
  kafkaBrokers: /^[^\s:,]+:\d+(,[^\s:,]+:\d+)*$/,
  archiveStorageClass: /^(GLACIER|DEEP_ARCHIVE|GLACIER_IR)$/,
  catalogFrom: /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/,
  alarmEmail: /^[^@\s]+@[^@\s]+$/,
};
const DEFAULTS = { prefix: 'music', namespace: 'music', archiveStorageClass: 'GLACIER', catalogFrom: CATALOG_FROM };

/** Reads the options from an app's context. Throws with all that is wrong with them. */
export function optionsOf(node: Node): Options {
  const given = Object.keys(PATTERN).flatMap((name) => {
    const value = node.tryGetContext(name) as unknown;
    return value === undefined || value === '' ? [] : [[name, String(value)] as const];
  });
  const wrong = given.filter(([name, value]) => !PATTERN[name as keyof Options].test(value));
  if (wrong.length > 0)
    throw new Error(
      wrong
        .map(([name, value]) => `-c ${name}=${value}: must match ${PATTERN[name as keyof Options].source}`)
        .join('\n'),
    );
  return { ...DEFAULTS, ...Object.fromEntries(given) };
}
