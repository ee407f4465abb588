import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ScanCommand } from '@aws-sdk/lib-dynamodb';
import { Engine, text as literal } from '@music/duckdb';
import type { ErasureReport } from '@music/erasure';
import { STAGES, STAGE_EVENTS } from '@music/events';
import { PATIENCE_MS, until } from '@music/local-stack';
import { LocalPipeline, dayAfter, musicKpis } from '@music/local-pipeline';
import { readTopics } from '@music/messaging';
import { type RunReport, dayReport, requestRun, runReport, waitForRun } from '@music/reports';
import type { ObjectStore } from '@music/storage';

const SONGS = 'track_id,track_name,artists,track_genre,duration_ms,popularity\nt1,One,A,pop,60000,1\n';
const HEADER = 'user_id,track_id,listen_time\n';
/** A user who wants to be forgotten; nothing else is called so. */
const ID = 'wants-to-go-7f3a';
const OTHER = 'stays-11';

describe('who wants to be forgotten is:', () => {
  let dir: string;
  let pipeline: LocalPipeline;
  const day = '2024-06-25';

  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'erasure-spec-'));
    await writeFile(path.join(dir, 'key'), 'a key that only this test has, of 32 bytes and more\n');
    await writeFile(path.join(dir, 'ids'), `${ID}\n\n  nobody-at-all \r\n`);
    pipeline = await LocalPipeline.start({ env: { ERASURE_KEY_FILE: path.join(dir, 'key'), LAKE_MAX_OBJECTS: '2' } });
    await put({
      'songs/songs.csv': SONGS,
      'users/users.csv': `user_id,user_name,user_country\n${ID},Ada,UK\n${OTHER},Bob,UK\n`,
    });
  });
  afterAll(async () => {
    await pipeline?.stop();
    await rm(dir, { recursive: true });
  });

  const put = (texts: Record<string, string>) => pipeline.putTexts(texts);
  const listens = (user: string, date: string, ...hours: number[]) =>
    hours.map((hour) => `${user},t1,${date} ${String(hour).padStart(2, '0')}:00:00\n`).join('');
  const run = async (): Promise<RunReport> => {
    const runId = await requestRun(pipeline.stores, { logicalDate: day, immediately: true });
    await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
    return (await runReport(pipeline.stores, runId)) as RunReport;
  };
  const kpis = (...args: string[]) => musicKpis(pipeline, ...args);
  const forget = (...args: string[]) => kpis('forget', '--user-id-file', path.join(dir, 'ids'), ...args);
  const counted = async (date = day) => (await dayReport(pipeline.stores.kpis, date))?.listen_count;

  it('the listens leave the lake, merged or not, the quarantine and what failed; the archive is listed', async () => {
    await put({
      'streams/both.csv':
        HEADER +
        listens(ID, day, 1, 2) +
        listens(OTHER, day, 3) +
        `${ID},t1,no time\n${OTHER},t1,neither\n${'x'.repeat(30)},t1,2024\n`.repeat(1) +
        listens(OTHER, day, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23).repeat(4),
      'streams/only.csv': HEADER + listens(ID, dayAfter(day, 1), 1),
      'streams/others.csv': HEADER + listens(OTHER, dayAfter(day, 2), 1),
      'streams/bad.csv': `user_id,listen_time\n${ID},2024-06-25\n"${OTHER}",2024-06-25\n`,
    });
    const first = await run();
    expect(first).toMatchObject({ state: 'completed', rows: { rejected: { invalid_listen_time: 3 } } });
    for (const hour of [1, 2, 3]) {
      await put({ [`streams/more-${hour}.csv`]: HEADER + listens(ID, dayAfter(day, 2), hour) });
      await run();
    }
    expect([await counted(), await counted(dayAfter(day, 1)), await counted(dayAfter(day, 2))]).toEqual([23, 1, 4]);
    expect(await holding(pipeline.config.lakeBucket)).not.toEqual([]);

    const dry = await forget('--dry-run', '--json');
    expect(dry).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(dry.out)).toMatchObject({
      users: 2,
      listens: 6,
      dates: [day, dayAfter(day, 1), dayAfter(day, 2)],
    });
    expect(await counted()).toBe(23);

    const { code, out } = await forget('--by', 'ada', '--wait', '--json');
    const report = JSON.parse(out) as ErasureReport;
    expect([code, report]).toMatchObject([
      3,
      { users: 2, listens: 6, dates: [day, dayAfter(day, 1), dayAfter(day, 2)], left: [] },
    ]);
    expect(report.archived.map(({ key }) => key).sort()).toEqual([
      'streams/both.csv',
      ...[1, 2, 3].map((hour) => `streams/more-${hour}.csv`),
      'streams/only.csv',
    ]);
    expect([await counted(), await counted(dayAfter(day, 1)), await counted(dayAfter(day, 2))]).toEqual([21, 0, 1]);
    // Nothing that may be read without the archive has the id; what is not of the user is there still.
    for (const bucket of [pipeline.config.lakeBucket, pipeline.config.intermediateBucket])
      expect(await holding(bucket)).toEqual([]);
    expect(await holding(pipeline.config.lakeBucket, OTHER)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^listens\//),
        expect.stringMatching(/^quarantine\/.*rejected-rows/),
        expect.stringMatching(/^quarantine\/.*bad.csv$/),
        expect.stringMatching(/^users\//),
      ]),
    );
    expect(await forget('--verify')).toMatchObject({ code: 0, out: expect.stringContaining('nothing that was read') });
    const status = await kpis('status', report.runId);
    expect(status.out).toContain('forgets 2 users');

    // Again, with the archive: it is found by what an earlier run knew no more, so that one deletes nothing.
    expect((await kpis('backfill', '--from', day, '--to', dayAfter(day, 2), '--wait')).code).toBe(0);
    expect(await counted()).toBe(21);
  });

  it('later deliveries of the user are rejected, and nothing of them is kept', async () => {
    await put({
      'streams/later.csv': HEADER + listens(ID, day, 1, 2) + `${ID},,\n` + listens(OTHER, day, 1),
      'streams/bad-later.csv': HEADER + listens(ID, day, 1) + `${OTHER},t1,no time\n`,
    });
    expect(await run()).toMatchObject({
      state: 'completed',
      rows: { read: 4, kept: 1, rejected: { forgotten_user: 3 } },
      files: [
        {
          key: 'streams/bad-later.csv',
          state: 'rejected',
          detail: expect.stringContaining('it has rows of forgotten users, so it is left in the source'),
        },
        { key: 'streams/later.csv', state: 'archived', rows: { rejected: { forgotten_user: 3 } } },
      ],
    });
    expect(await counted()).toBe(22);
    expect(await holding(pipeline.config.lakeBucket)).toEqual([]);
    // Another version of the users, too.
    await put({
      'users/users.csv': `user_id,user_name,user_country\n${ID},Ada,UK\n${OTHER},Bob,UK\nmore,M,UK\n`,
      'streams/x.csv': HEADER + listens('more', day, 2),
    });
    expect(await run()).toMatchObject({ state: 'completed', notes: { unknownUserListens: 0 } });
    expect(await holding(pipeline.config.lakeBucket)).toEqual([]);
  });

  it('archived files are deleted where that is asked', async () => {
    await put({ 'streams/carol.csv': HEADER + listens('carol', day, 1) + listens(OTHER, day, 2) });
    await run();
    await writeFile(path.join(dir, 'carol'), 'carol');
    const { code, out } = await kpis(
      'forget',
      '--user-id-file',
      path.join(dir, 'carol'),
      '--archive',
      'delete',
      '--wait',
      '--json',
    );
    const report = JSON.parse(out) as ErasureReport;
    expect([code, report.archived]).toMatchObject([0, [{ key: 'streams/carol.csv', deleted: true }]]);
    expect(await holding(pipeline.config.archiveBucket, 'carol')).toEqual([]);
    expect(await counted()).toBe(24);
  });

  it('no log, event or table has the id', async () => {
    for (const stage of STAGES) expect(readFileSync(pipeline.logOf(stage), 'utf8')).not.toContain(ID);
    const topics: string[] = [];
    await readTopics(
      pipeline.stores.kafka,
      STAGE_EVENTS.map(({ topic }) => topic),
      ({ value }) => void topics.push(value),
    );
    expect(topics.length).toBeGreaterThan(20);
    expect(topics.filter((value) => value.includes(ID))).toEqual([]);
    for (const TableName of [pipeline.config.runsTable, pipeline.config.kpiTable]) {
      const { Items = [] } = await pipeline.stores.dynamo.send(new ScanCommand({ TableName }));
      expect(Items.length).toBeGreaterThan(5);
      expect(JSON.stringify(Items)).not.toContain(ID);
    }
  });

  it('wrong requests are told what is wrong', async () => {
    expect(await kpis('forget', '--user-id-file', path.join(dir, 'nothing'))).toMatchObject({
      code: 2,
      err: expect.stringContaining('ENOENT'),
    });
    await writeFile(path.join(dir, 'empty'), '\n \n');
    expect(await kpis('forget', '--user-id-file', path.join(dir, 'empty'))).toMatchObject({
      code: 2,
      err: expect.stringContaining('it has no id'),
    });
    expect(await forget('--dry-run', '--verify')).toMatchObject({ code: 2 });
  });

  it('listens of days that are not to be kept leave the lake, and their numbers stay', async () => {
    const old = '2020-01-05';
    await put({ 'streams/old.csv': HEADER + listens(OTHER, old, 1, 2) });
    const delivered = await run();
    expect(await counted(old)).toBe(2);
    const keepDays = Math.floor((Date.now() - Date.parse('2021-01-01')) / 86_400_000);
    await pipeline.replaceService('sensor', { LISTENS_KEEP_DAYS: String(keepDays) });
    let runId = '';
    await until('a run asks for it', async () => {
      runId = (await pipeline.stores.runs.expiry.last())?.runId ?? '';
      return (await pipeline.stores.runs.findRun(runId))?.state === 'completed';
    });
    expect(await runReport(pipeline.stores, runId)).toMatchObject({ kind: 'expire', erasure: { what: 'expire' } });
    expect(await counted(old)).toBe(2);
    expect((await pipeline.stores.objects.list(pipeline.config.lakeBucket, `listens/date=${old}/`).next()).done).toBe(
      true,
    );

    // A late file of the day, a backfill of it, and taking back what was delivered leave its numbers as they are.
    await put({
      'streams/late.csv': HEADER + listens(OTHER, old, 3),
      'streams/new.csv': HEADER + listens(OTHER, '2024-07-01', 3),
    });
    expect(await run()).toMatchObject({
      state: 'completed',
      files: expect.arrayContaining([
        expect.objectContaining({
          key: 'streams/late.csv',
          state: 'rejected',
          detail: expect.stringContaining('expired_day'),
        }),
      ]),
    });
    await kpis('retract', '--run', delivered.run_id, '--reason', 'x', '--wait');
    expect(await counted(old)).toBe(2);
    expect((await kpis('backfill', '--from', old, '--to', old)).code).toBe(2);
  });

  /** The keys of a bucket's objects that have a text in them. */
  async function holding(bucket: string, text = ID): Promise<string[]> {
    const { objects } = pipeline.stores;
    const keys: string[] = [];
    for await (const object of objects.list(bucket, '')) if (await has(objects, object, text)) keys.push(object.key);
    return keys;
  }

  async function has(objects: ObjectStore, object: Parameters<ObjectStore['open']>[0], text: string): Promise<boolean> {
    const file = path.join(dir, 'read');
    const chunks: Buffer[] = [];
    for await (const chunk of await objects.open(object)) chunks.push(chunk as Buffer);
    if (!object.key.endsWith('.parquet')) return Buffer.concat(chunks).includes(text);
    await writeFile(file, Buffer.concat(chunks));
    const engine = await Engine.open(dir, { memoryBytes: 2 ** 27, threads: 1 });
    const columns = await engine.rows<{ column_name: string }>(`DESCRIBE SELECT * FROM read_parquet(${literal(file)})`);
    const found = columns.some(({ column_name }) => column_name === 'user_id')
      ? await engine.count(
          `SELECT count(*) FROM read_parquet(${literal(file)}, hive_partitioning = false) WHERE user_id = $id`,
          { id: text },
        )
      : 0;
    engine.close();
    return found > 0;
  }
});
