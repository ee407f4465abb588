import type { IncomingHttpHeaders } from 'node:http';

/** What a role must allow for a call to AWS. */
export interface IamNeed {
  /** As IAM calls it: `s3:GetObject`. */
  readonly action: string;
  /** `BUCKET`, `BUCKET/KEY`, `TABLE`, `TABLE/INDEX`, or the name of a queue or job. */
  readonly on: string;
}

/**
 * `body`: of a call that removes several objects, which names them. Who reads objects must be allowed to list their
 * bucket: otherwise S3 answers 403 for one that is not there, as for one that may not be seen.
 */
export function s3Needs(method: string, url: string, headers: IncomingHttpHeaders, body = ''): IamNeed[] {
  const needs = ofCall(method, url, headers, body);
  const read = needs.filter(({ action }) => /^s3:GetObject(Version)?$/.test(action));
  return [...needs, ...read.map(({ on }) => ({ action: 's3:ListBucket', on: on.split('/')[0] ?? '' }))];
}

function ofCall(method: string, url: string, headers: IncomingHttpHeaders, body: string): IamNeed[] {
  const { pathname, searchParams } = new URL(url, 'http://s3');
  const [, bucket = '', ...rest] = decodeURIComponent(pathname).split('/');
  const key = rest.join('/');
  const need = (action: string, on: string) => ({ action: `s3:${action}`, on });
  const object = (action: string) => need(action, `${bucket}/${key}`);
  if (key === '') {
    if (method === 'POST')
      return [...body.matchAll(/<Object>(.*?)<\/Object>/gs)].map(([, inner = '']) =>
        need(
          inner.includes('<VersionId>') ? 'DeleteObjectVersion' : 'DeleteObject',
          `${bucket}/${/<Key>(.*?)<\/Key>/s.exec(inner)?.[1] ?? ''}`,
        ),
      );
    if (method === 'PUT')
      return [need(searchParams.has('versioning') ? 'PutBucketVersioning' : 'CreateBucket', bucket)];
    if (searchParams.has('versioning')) return [need('GetBucketVersioning', bucket)];
    return [need(searchParams.has('versions') ? 'ListBucketVersions' : 'ListBucket', bucket)];
  }
  const version = searchParams.has('versionId') ? 'Version' : '';
  if (method === 'GET' || method === 'HEAD') return [object(`GetObject${version}`)];
  // Who asks whether an object is still the one must be allowed to read it.
  const compared = headers['if-match'] === undefined ? [] : [object('GetObject')];
  if (method === 'DELETE')
    return [object(searchParams.has('uploadId') ? 'AbortMultipartUpload' : `DeleteObject${version}`), ...compared];
  return [object('PutObject'), ...compared, ...copied(headers)];
}

function copied(headers: IncomingHttpHeaders): IamNeed[] {
  const source = headers['x-amz-copy-source'];
  if (typeof source !== 'string') return [];
  const [path = '', query = ''] = source.split('?');
  return [
    {
      action: query.includes('versionId=') ? 's3:GetObjectVersion' : 's3:GetObject',
      on: decodeURIComponent(path).replace(/^\//, ''),
    },
  ];
}

interface DynamoBody {
  readonly TableName?: string;
  readonly IndexName?: string;
  readonly TransactItems?: readonly Readonly<Record<string, { readonly TableName?: string }>>[];
  readonly RequestItems?: Readonly<Record<string, unknown>>;
}

/** A transaction needs what its parts need. */
const PART: Readonly<Record<string, string>> = {
  Put: 'PutItem',
  Update: 'UpdateItem',
  Delete: 'DeleteItem',
  ConditionCheck: 'ConditionCheckItem',
  Get: 'GetItem',
};

export function dynamoNeeds(operation: string, body: string): IamNeed[] {
  const { TableName = '', IndexName, TransactItems, RequestItems } = JSON.parse(body || '{}') as DynamoBody;
  const need = (action: string, on: string) => ({ action: `dynamodb:${action}`, on });
  if (TransactItems !== undefined)
    return TransactItems.flatMap((item) =>
      Object.entries(item).map(([part, { TableName: table = '' }]) => need(PART[part] ?? part, table)),
    );
  if (RequestItems !== undefined) return Object.keys(RequestItems).map((table) => need(operation, table));
  return [need(operation, IndexName === undefined ? TableName : `${TableName}/${IndexName}`)];
}

/** Of several messages as of one. */
export function sqsNeeds(operation: string, body: string): IamNeed[] {
  const { QueueUrl = '' } = JSON.parse(body || '{}') as { QueueUrl?: string };
  return [{ action: `sqs:${operation.replace(/Batch$/, '')}`, on: QueueUrl.split('/').at(-1) ?? '' }];
}

export function glueNeeds(operation: string, body: string): IamNeed[] {
  const { JobName, Name } = JSON.parse(body || '{}') as { JobName?: string; Name?: string };
  return [{ action: `glue:${operation}`, on: JobName ?? Name ?? '' }];
}
