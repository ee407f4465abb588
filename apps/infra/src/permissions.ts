/** A Kubernetes service account that has a role of its own, or the role of a job. */
export const PRINCIPALS = [
  'api',
  'sensor',
  'combiner',
  'validator',
  'glue-trigger',
  'archiver',
  'music-kpis',
  'glue-job',
] as const;
export type Principal = (typeof PRINCIPALS)[number];

export type Bucket = 'source' | 'intermediate' | 'lake' | 'archive';
export type Table = 'runs' | 'kpis';

/** What a permission is about; the stack knows its ARN. */
export type Target =
  | { readonly kind: 'bucket'; readonly bucket: Bucket }
  | { readonly kind: 'objects'; readonly bucket: Bucket; readonly below: string }
  | { readonly kind: 'table' | 'index'; readonly table: Table }
  | { readonly kind: 'queue' | 'glue job' | 'glue logs' };

export interface Permission {
  readonly actions: readonly string[];
  readonly on: readonly Target[];
  /** What for, where it is not the principal's daily work. */
  readonly why?: string;
}

const bucket = (name: Bucket): Target => ({ kind: 'bucket', bucket: name });
const objects = (name: Bucket, ...below: string[]): Target[] =>
  (below.length === 0 ? [''] : below).map((prefix) => ({ kind: 'objects', bucket: name, below: prefix }));
const runs: Target = { kind: 'table', table: 'runs' };
const runsByTime: Target = { kind: 'index', table: 'runs' };
const kpis: Target = { kind: 'table', table: 'kpis' };
const kpisByKpi: Target = { kind: 'index', table: 'kpis' };
const s3 = (...actions: string[]) => actions.map((action) => `s3:${action}`);
const dynamodb = (...actions: string[]) => actions.map((action) => `dynamodb:${action}`);

const ITEMS = ['GetItem', 'PutItem', 'UpdateItem', 'DeleteItem', 'Query'];

/**
 * What each role may do: its calls, and no others. Who reads objects of a bucket may list it, so that S3 tells what is
 * not there from what may not be seen. A test records the calls of whole runs and fails where one is not
 * here, or where one is here that nobody makes. `docs/operations.md` shows the same.
 */
export const PERMISSIONS: Record<Principal, readonly Permission[]> = {
  api: [
    { actions: dynamodb('GetItem', 'Query', 'BatchGetItem'), on: [runs] },
    { actions: dynamodb('Query'), on: [runsByTime, kpis, kpisByKpi] },
    { actions: dynamodb('DescribeTable'), on: [kpis] },
    { actions: s3('ListBucket'), on: [bucket('source'), bucket('lake')] },
    { actions: s3('GetObject'), on: objects('lake', 'runs/', 'compacted/') },
  ],
  sensor: [
    { actions: dynamodb(...ITEMS, 'ConditionCheckItem', 'BatchGetItem'), on: [runs] },
    { actions: dynamodb('Query'), on: [runsByTime] },
    { actions: s3('ListBucket', 'GetBucketVersioning'), on: [bucket('source')] },
    { actions: s3('GetObject'), on: objects('source') },
    { actions: s3('ListBucket'), on: [bucket('lake')] },
    { actions: s3('GetObject', 'PutObject'), on: objects('lake', 'runs/') },
    { actions: s3('GetObject'), on: objects('lake', 'erasures/'), why: 'forgetting users' },
    { actions: ['sqs:ReceiveMessage', 'sqs:DeleteMessage'], on: [{ kind: 'queue' }], why: 'ARRIVALS=sqs' },
  ],
  combiner: [
    { actions: dynamodb(...ITEMS), on: [runs] },
    { actions: s3('ListBucket'), on: [bucket('source'), bucket('lake')] },
    { actions: s3('GetObject', 'GetObjectVersion'), on: objects('source') },
    { actions: s3('PutObject'), on: objects('intermediate') },
    { actions: s3('GetObject', 'PutObject'), on: objects('lake', 'songs/', 'users/') },
    { actions: s3('GetObject'), on: objects('lake', 'runs/') },
  ],
  validator: [
    { actions: dynamodb(...ITEMS), on: [runs] },
    { actions: s3('ListBucket'), on: [bucket('source'), bucket('intermediate'), bucket('lake')] },
    { actions: s3('GetObject', 'GetObjectVersion', 'DeleteObject'), on: objects('source', 'streams/') },
    { actions: s3('GetObject', 'PutObject'), on: objects('intermediate') },
    { actions: s3('GetObject', 'PutObject'), on: objects('lake', 'quarantine/') },
    { actions: s3('GetObject'), on: objects('lake', 'runs/') },
  ],
  'glue-trigger': [
    { actions: dynamodb(...ITEMS, 'BatchGetItem'), on: [runs] },
    {
      actions: dynamodb('PutItem', 'UpdateItem', 'DeleteItem', 'ConditionCheckItem', 'Query', 'BatchGetItem'),
      on: [kpis],
    },
    { actions: s3('ListBucket'), on: [bucket('lake'), bucket('intermediate')] },
    {
      actions: s3('GetObject', 'PutObject', 'DeleteObject'),
      on: [...objects('lake'), ...objects('intermediate')],
    },
    { actions: s3('GetBucketVersioning'), on: [bucket('lake'), bucket('intermediate')], why: 'forgetting users' },
    {
      actions: ['glue:StartJobRun', 'glue:GetJobRun', 'glue:GetJobRuns', 'glue:BatchStopJobRun'],
      on: [{ kind: 'glue job' }],
      why: 'KPI_RUNNER=glue',
    },
  ],
  archiver: [
    { actions: dynamodb(...ITEMS, 'BatchGetItem'), on: [runs] },
    { actions: s3('GetObject', 'GetObjectVersion', 'DeleteObject'), on: objects('source', 'streams/') },
    {
      actions: s3('ListBucket'),
      on: [bucket('source'), bucket('intermediate'), bucket('lake'), bucket('archive')],
    },
    { actions: s3('PutObject'), on: objects('archive') },
    { actions: s3('DeleteObject'), on: objects('intermediate') },
    { actions: s3('GetObject'), on: objects('lake', 'runs/') },
    { actions: s3('GetObject', 'DeleteObject'), on: objects('archive'), why: 'forget --archive delete' },
    { actions: s3('GetBucketVersioning'), on: [bucket('archive')], why: 'forget --archive delete' },
    { actions: s3('GetObject', 'PutObject'), on: objects('lake', 'erasures/'), why: 'forget --archive delete' },
  ],
  'music-kpis': [
    { actions: dynamodb('GetItem', 'PutItem', 'UpdateItem', 'Query', 'BatchGetItem'), on: [runs] },
    { actions: dynamodb('Query'), on: [runsByTime, kpis, kpisByKpi] },
    { actions: dynamodb('BatchGetItem'), on: [kpis] },
    { actions: dynamodb('DescribeTable'), on: [runs, kpis], why: 'setup' },
    {
      actions: s3('ListBucket'),
      on: [bucket('source'), bucket('intermediate'), bucket('lake'), bucket('archive')],
    },
    { actions: s3('GetObject'), on: [...objects('lake'), ...objects('intermediate')] },
    { actions: s3('GetBucketVersioning'), on: [bucket('lake')], why: 'forget' },
    { actions: s3('PutObject'), on: objects('lake', 'erasures/'), why: 'forget' },
    { actions: s3('PutObject'), on: objects('lake', 'glue/'), why: 'setup --glue' },
    { actions: ['glue:GetJob'], on: [{ kind: 'glue job' }], why: 'setup --glue' },
  ],
  'glue-job': [
    { actions: s3('ListBucket'), on: [bucket('lake'), bucket('intermediate')] },
    { actions: s3('GetObject'), on: objects('lake', 'listens/', 'songs/', 'users/', 'glue/') },
    { actions: s3('GetObject', 'PutObject', 'DeleteObject'), on: objects('intermediate', 'runs/') },
    { actions: ['logs:CreateLogStream', 'logs:PutLogEvents'], on: [{ kind: 'glue logs' }] },
  ],
};
