import { LEAVE_NAMES, leavesBy } from '@music/contracts';
import type { Claim, SourceObject } from '@music/runs';
import { planBatches, planRun } from './plan-run';

const NOW = new Date('2024-06-26T03:00:00Z');
const object = (key: string, more: Partial<SourceObject> = {}): SourceObject => ({
  bucket: 'b',
  key: `streams/${key}`,
  etag: key,
  size: 10,
  lastModified: new Date('2024-06-26T02:00:00Z'),
  ...more,
});
const LEAVE = leavesBy(LEAVE_NAMES);
const plan = (
  objects: SourceObject[],
  options: { deadline?: string; patienceMs?: number; claims?: Record<string, Claim> } = {},
) =>
  planRun({
    patienceMs: options.patienceMs ?? Infinity,
    leave: LEAVE,
    runId: 'me',
    now: NOW,
    quietMs: 30_000,
    deadline: new Date(options.deadline ?? '2024-06-26T04:00:00Z'),
    objects,
    claimOf: ({ key }) => options.claims?.[key.slice(8)],
  });

describe('a run that looks at the source', () => {
  it('takes files that are quiet, and says why it leaves others', () => {
    const claims = {
      'done.csv': { runId: 'r1', takenBy: ['r1'], state: 'archived', free: false, failed: false },
      'bad.csv': {
        runId: 'r1',
        takenBy: ['r1'],
        state: 'rejected',
        free: false,
        failed: false,
        reason: 'missing_columns',
      },
    } as const;
    expect(
      plan([object('a.csv'), object(''), object('empty.csv', { size: 0 }), object('done.csv'), object('bad.csv')], {
        claims,
      }),
    ).toEqual({
      decision: 'take',
      files: [object('a.csv')],
      left: [
        { key: 'streams/', reason: 'folder_marker' },
        { key: 'streams/empty.csv', reason: 'empty_object' },
        { key: 'streams/done.csv', reason: 'taken', detail: 'r1' },
        { key: 'streams/bad.csv', reason: 'rejected_before', detail: 'r1: missing_columns' },
      ],
    });
  });

  it('takes again what a run that ended without it had taken, and what it took itself', () => {
    const claims = {
      'a.csv': { runId: 'failed', takenBy: ['failed'], state: 'taken', free: true, failed: true },
      'b.csv': { runId: 'me', takenBy: ['me'], state: 'taken', free: false, failed: false },
    } as const;
    expect(plan([object('a.csv'), object('b.csv')], { claims })).toMatchObject({
      decision: 'take',
      files: [object('a.csv'), object('b.csv')],
    });
  });

  it('waits for files that are still arriving, but not beyond its deadline', () => {
    const objects = [object('a.csv'), object('b.csv', { lastModified: new Date('2024-06-26T02:59:50Z') })];
    expect(plan(objects)).toEqual({ decision: 'wait', why: '1 files are still arriving' });
    expect(plan(objects, { deadline: '2024-06-26T03:00:00Z' })).toMatchObject({
      decision: 'take',
      files: [object('a.csv')],
      left: [{ reason: 'still_arriving' }],
    });
  });

  it('does not let a file wait longer for others than it may', () => {
    const objects = [object('a.csv'), object('b.csv', { lastModified: new Date('2024-06-26T02:59:50Z') })];
    expect(plan(objects, { patienceMs: 3_600_001 })).toMatchObject({ decision: 'wait' });
    expect(plan(objects, { patienceMs: 3_600_000 })).toMatchObject({ decision: 'take', files: [object('a.csv')] });
  });

  it.each([
    ['_SUCCESS', '_SUCCESS', '_*'],
    ['_committed_123', '_committed_123', '_*'],
    ['.DS_Store', '.DS_Store', '.*'],
    ['x_$folder$', 'x_$folder$', '*_$folder$'],
    ['_temporary/0/part-0.csv', '_temporary', '_*'],
    ['.spark-staging/part-0.csv', '.spark-staging', '.*'],
    ['dt=2025-01-25/a.csv.part', 'a.csv.part', '*.part'],
    ['a.csv.TMP', 'a.csv.TMP', '*.tmp'],
    ['a.csv.crdownload', 'a.csv.crdownload', '*.crdownload'],
    ['a.csv.filepart', 'a.csv.filepart', '*.filepart'],
    ['a.partial', 'a.partial', '*.partial'],
  ])('leaves %s, which is no file of data', (key, part, pattern) => {
    expect(plan([object(key), object('a.csv')])).toMatchObject({
      decision: 'take',
      files: [object('a.csv')],
      left: [{ key: `streams/${key}`, reason: 'not_data', detail: `${part} is as ${pattern} of LEAVE_NAMES` }],
    });
  });

  it.each(['dt=2025-01-25/part-0.csv', 'a_b.csv', 'a.csv', 'part', 'x.tmp.csv', 'a$folder$'])('takes %s', (key) => {
    expect(plan([object(key)])).toMatchObject({ decision: 'take', left: [] });
  });

  it('is skipped at its deadline, with the reason', () => {
    expect(plan([])).toMatchObject({ decision: 'wait' });
    expect(plan([], { deadline: '2024-06-26T03:00:00Z' })).toMatchObject({
      decision: 'skip',
      why: 'no stream files: there is nothing below streams/',
    });
    expect(plan([object('x.csv', { size: 0 })], { deadline: '2024-06-26T03:00:00Z' })).toMatchObject({
      decision: 'skip',
      why: 'no stream files to take: 1 empty_object',
    });
  });
});

it('parts files into batches', () => {
  expect(planBatches([5, 5, 5, 20, 1, 1], 10)).toEqual([0, 0, 1, 2, 3, 3]);
  expect(planBatches([], 10)).toEqual([]);
});

it('plans 100 million rows in 100,000 files, and the manifest can be read again', () => {
  const bytes = 45 * 1_000; // a file of 1,000 rows
  const objects = Array.from({ length: 100_000 }, (_, i) =>
    object(`2024/06/25/device-${String(i).padStart(8, '0')}.csv`, {
      size: bytes,
      etag: '"0123456789abcdef0123456789abcdef"',
    }),
  );
  const planned = plan(objects);
  if (planned.decision !== 'take') throw new Error(planned.decision);
  expect(planned.files).toHaveLength(objects.length);
  const batchBytes = 256 * 2 ** 20;
  const batches = planBatches(
    planned.files.map(({ size }) => size),
    batchBytes,
  );
  expect(batches.at(-1)).toBe(Math.ceil(100_000 / Math.floor(batchBytes / bytes)) - 1);
  const manifest = planned.files.map((file, i) => ({ ...file, file: i, batch: batches[i], versionId: 'x'.repeat(32) }));
  expect(Buffer.byteLength(JSON.stringify(manifest, undefined, 1))).toBeLessThan(64 * 2 ** 20); // what is read into memory
});

it('takes what changed by a clock ahead of ours for what changed just now', () => {
  const ahead = object('a.csv', { lastModified: new Date(NOW.getTime() + 600_000) });
  expect(plan([ahead])).toMatchObject({ decision: 'wait' });
  expect(
    planRun({
      runId: 'me',
      now: NOW,
      quietMs: 0,
      patienceMs: Infinity,
      deadline: NOW,
      objects: [ahead],
      leave: LEAVE,
      claimOf: () => undefined,
    }),
  ).toMatchObject({
    decision: 'take',
  });
});
