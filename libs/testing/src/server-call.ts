import type { IncomingHttpHeaders } from 'node:http';
import { type IamNeed, dynamoNeeds, glueNeeds, s3Needs, sqsNeeds } from './iam-need';

/** One call to a server, named so that the same step of the code has the same name in every run. */
export interface ServerCall {
  readonly server: 'kafka' | 'dynamodb' | 's3' | 'glue' | 'sqs';
  readonly name: string;
  /** Whether it changes what others can see. */
  readonly changes: boolean;
  /** What IAM must allow for it; nothing for Kafka. */
  readonly needs: readonly IamNeed[];
}

/** The usual name of a bucket or table on servers that are shared: see LocalStack.named. */
const usualName = (name: string): string => name.replace(/-[0-9a-f]{8}$/, '');

// ---- S3

const READS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Named by operation and the kind of object: its bucket and what of its key does not come from input. */
export function s3Call(method: string, url: string, headers: IncomingHttpHeaders, body?: string): ServerCall {
  const { pathname, searchParams } = new URL(url, 'http://s3');
  const [, bucket = '', ...key] = decodeURIComponent(pathname).split('/');
  const operation = s3Operation(method, key.join('') === '', searchParams, headers['x-amz-copy-source'] !== undefined);
  return {
    server: 's3',
    name: `${operation} ${[usualName(bucket), ...kindOf(key)].join('/')}`,
    changes: !READS.has(method),
    needs: s3Needs(method, url, headers, body),
  };
}

function s3Operation(method: string, isBucket: boolean, query: URLSearchParams, copies: boolean): string {
  switch (method) {
    case 'GET':
      return isBucket ? 'ListObjects' : 'GetObject';
    case 'HEAD':
      return 'HeadObject';
    case 'PUT':
      if (isBucket) return 'CreateBucket';
      if (query.has('uploadId')) return copies ? 'UploadPartCopy' : 'UploadPart';
      return copies ? 'CopyObject' : 'PutObject';
    case 'POST':
      if (query.has('uploads')) return 'CreateMultipartUpload';
      return query.has('delete') ? 'DeleteObjects' : 'CompleteMultipartUpload';
    case 'DELETE':
      return query.has('uploadId') ? 'AbortMultipartUpload' : 'DeleteObject';
    default:
      return method;
  }
}

/** The folders that are words, and the file's name without numbers and hashes: `runs/manifest.json`. */
function kindOf(key: readonly string[]): string[] {
  const folders = key.slice(0, -1).filter((part) => /^[a-z][a-z-]*$/.test(part));
  const name = (key.at(-1) ?? '').replace(/[0-9a-f]{16,}/g, '').replace(/^([a-z]*).*?(\.[a-z]+)?$/, '$1$2');
  return name === '' ? folders : [...folders, name];
}

// ---- DynamoDB

type Values = Record<string, Record<string, unknown> | undefined>;
interface DynamoWrite {
  readonly TableName?: string;
  readonly Key?: Values;
  readonly Item?: Values;
  readonly UpdateExpression?: string;
  readonly ExpressionAttributeNames?: Record<string, string>;
}
interface DynamoRequest extends DynamoWrite {
  readonly TransactItems?: readonly Record<string, DynamoWrite>[];
  readonly RequestItems?: Record<string, unknown>;
}

const DYNAMO_READS = /^(Get|BatchGet|Query|Scan|Describe|List)/;

/** Named by operation, the kind of item, and what is set of it. */
export function dynamoCall(target: string, body: string): ServerCall {
  const operation = target.split('.').at(-1) ?? target;
  const sent = JSON.parse(body || '{}') as DynamoRequest;
  const writes = sent.TransactItems?.flatMap((item) =>
    Object.entries(item).map(([action, write]) => `${action} ${describeWrite(write)}`),
  );
  const what = writes === undefined ? undefined : [...new Set(writes)].join(' + '); // a page of items is named like one item
  const name = `${operation} ${what ?? (sent.RequestItems === undefined ? describeWrite(sent) : Object.keys(sent.RequestItems).map(usualName).join())}`;
  return {
    server: 'dynamodb',
    name: name.trim(),
    changes: !DYNAMO_READS.test(operation),
    needs: dynamoNeeds(operation, body),
  };
}

function describeWrite({
  TableName = '',
  Key,
  Item,
  UpdateExpression = '',
  ExpressionAttributeNames = {},
}: DynamoWrite): string {
  const changed = UpdateExpression.replaceAll(/#\w+/g, (name) => ExpressionAttributeNames[name] ?? name)
    .replaceAll(/\s*=\s*(:\w+|if_not_exists\([^)]*\)[^,]*)/g, '')
    .replaceAll(/ :\w+/g, '');
  return `${itemKind(Key ?? Item) ?? usualName(TableName)} ${changed}`.trim();
}

/**
 * Of `pipeline_runs`: `work` of the key `work#sensor`; of what belongs to a run, such as `run#id` with `batch#00001`,
 * the latter.
 */
function itemKind(key: Values | undefined): string | undefined {
  const [pk, sk] = [key?.['pk'], key?.['sk']].map((part) => /^[a-z]+/.exec(String(part?.['S']))?.[0]);
  return key?.['pk'] === undefined ? undefined : pk === 'run' ? sk : pk;
}

// ---- Glue

const GLUE_READS = /^(Get|List)/;

export function glueCall(target: string, body: string): ServerCall {
  const operation = target.split('.').at(-1) ?? target;
  return { server: 'glue', name: operation, changes: !GLUE_READS.test(operation), needs: glueNeeds(operation, body) };
}

// ---- SQS

/** To receive a message hides it from others. */
export function sqsCall(target: string, body: string): ServerCall {
  const operation = target.split('.').at(-1) ?? target;
  return { server: 'sqs', name: operation, changes: !GLUE_READS.test(operation), needs: sqsNeeds(operation, body) };
}

// ---- Kafka

const KAFKA_CALLS: Readonly<Record<number, string>> = {
  0: 'Produce',
  1: 'Fetch',
  3: 'Metadata',
  8: 'OffsetCommit',
  19: 'CreateTopics',
};
const KAFKA_CHANGES = new Set(['Produce', 'OffsetCommit', 'CreateTopics']);
const TOPIC = /music\.[a-z-]+(?:\.[a-z-]+[a-z])+(?:-\d)?/;

/** A request's frame: length, key of the call, its version, correlation id, client id, and what it asks for. */
export function kafkaCall(frame: Buffer): ServerCall & { readonly id: number; readonly caller: string } {
  const call = KAFKA_CALLS[frame.readInt16BE(4)] ?? `call ${frame.readInt16BE(4)}`;
  const clientIdLength = Math.max(0, frame.readInt16BE(12));
  const caller = frame.toString('latin1', 14, 14 + clientIdLength).replace(/^music-/, '');
  const changes = KAFKA_CHANGES.has(call);
  const rest = changes ? frame.toString('latin1', 14 + clientIdLength, 14 + clientIdLength + 2_000) : '';
  const names = rest.match(new RegExp(TOPIC, 'g')) ?? [];
  // A commit names the group first, music.<stage> or music.<stage>.retry, then the topic.
  const topic = names.filter((name) => !name.endsWith('.retry'))[0];
  return {
    server: 'kafka',
    name: topic === undefined ? call : `${call} ${topic}`,
    changes,
    needs: [],
    id: frame.readInt32BE(8),
    caller: caller === 'kpis' ? 'cli' : caller,
  };
}
