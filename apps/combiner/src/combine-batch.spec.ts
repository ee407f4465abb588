import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Engine, textList } from '@music/duckdb';
import type { BatchEvidence, Manifest } from '@music/runs';
import { ObjectStore, downloadAll } from '@music/storage';
import { LocalStack } from '@music/testing';
import { CombineBatch } from './combine-batch';

jest.setTimeout(120_000);

const HEADER = 'user_id,track_id,listen_time\n';
const GOOD = '1,t1,2024-06-25 10:00:00\n';

describe('combining a batch', () => {
  let stack: LocalStack;
  let s3: S3Client;
  let store: ObjectStore;
  let scratch: string;
  let runs = 0;
  const engineLimits = { memoryBytes: 256 * 2 ** 20, threads: 2 };

  beforeAll(async () => {
    stack = await LocalStack.start(['s3']);
    s3 = new S3Client({
      endpoint: stack.env['AWS_ENDPOINT_URL_S3'],
      forcePathStyle: true,
      region: 'us-east-1',
      credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
    });
    store = new ObjectStore(s3);
    scratch = await mkdtemp(path.join(tmpdir(), 'combine-spec-'));
    for (const Bucket of ['source', 'intermediate', 'lake']) await s3.send(new CreateBucketCommand({ Bucket }));
  });
  afterAll(async () => {
    await stack.stop();
    await rm(scratch, { recursive: true });
  });

  const put = async (key: string, body: string | Buffer) => {
    await s3.send(new PutObjectCommand({ Bucket: 'source', Key: key, Body: body }));
    const head = await store.head('source', key);
    if (head === undefined) throw new Error('just written');
    return { bucket: 'source', key, etag: head.etag, size: head.size };
  };

  /** Combines the files; gives the evidence and the rows: [file, user, track, instant, day]. */
  const combine = async (
    files: (string | Buffer)[],
    options: {
      zones?: { source: string; kpi: string };
      filesTogether?: number;
      rowsPerPart?: number;
      songs?: string;
      maxRowBytes?: number;
    } = {},
  ) => {
    const runId = `scheduled__2024-01-${String((runs += 1)).padStart(2, '0')}`;
    const streams = [];
    for (const [file, body] of files.entries())
      streams.push({ ...(await put(`streams/${runId}/${file}.csv`, body)), file, batch: 0, lastModified: new Date().toISOString() });
    const manifest: Manifest = {
      runId,
      logicalDate: '2024-06-25',
      frozenAt: '',
      batches: 1,
      streams,
      left: [],
      songs: options.songs === undefined ? [] : [await put(`songs/${runId}.csv`, options.songs)],
      users: [],
    };
    const combiner = new CombineBatch(
      store,
      { intermediate: 'intermediate', lake: 'lake' },
      options.zones ?? { source: 'UTC', kpi: 'UTC' },
      {
        engine: engineLimits,
        maxFileBytes: 10 ** 9,
        maxRowBytes: options.maxRowBytes ?? 2 ** 20,
        rowsPerPart: options.rowsPerPart ?? 1_000_000,
        filesTogether: options.filesTogether ?? 100,
        filesAhead: 3,
      },
      scratch,
    );
    const evidence = await store.readJson<BatchEvidence>(await combiner.execute(manifest, 0, new AbortController().signal));
    const dir = await mkdtemp(path.join(scratch, 'read-'));
    const engine = await Engine.open(dir, engineLimits);
    const parquet = await downloadAll(
      store,
      evidence.parts.map(({ object }) => object),
      path.join(dir, 'parts'),
    );
    const rows =
      parquet.length === 0
        ? []
        : (
            await engine.rows(
              `SELECT file, user_id, track_id, strftime(listened_at, '%Y-%m-%d %H:%M:%S.%g') AS at, CAST(listen_date AS VARCHAR) AS day FROM read_parquet(${textList(parquet)}) ORDER BY ALL`,
            )
          ).map(Object.values);
    engine.close();
    let bad = '';
    if (evidence.rejectedRows !== undefined) for await (const chunk of await store.open(evidence.rejectedRows)) bad += String(chunk);
    return {
      evidence,
      rows,
      bad: bad
        .trimEnd()
        .split('\n')
        .slice(1)
        .map((line) => line.replace(/^[^,]*\/(\d+)\.csv/, '$1')),
    };
  };

  it.each([
    ['a byte order mark and CRLF', '\ufeffuser_id,track_id,listen_time\r\n1,t1,2024-06-25 10:00:00\r\n'],
    ['columns in another order, and more of them', 'x,listen_time,track_id,y,user_id\n9,2024-06-25 10:00:00,t1,,1\n'],
    ['blanks around header and ids', ' user_id ,track_id\t, listen_time\n  1 ,\u00a0t1\t, 2024-06-25 10:00:00 \n'],
    ['quoted fields', '"user_id","track_id","listen_time"\n"1","t1","2024-06-25 10:00:00"\n'],
    ['no line end after the last row, and empty lines', 'user_id,track_id,listen_time\n\n1,t1,2024-06-25 10:00:00\n\n'],
    ['a comma after each row', 'user_id,track_id,listen_time,\n1,t1,2024-06-25 10:00:00,\n'],
    ['other columns with commas, quotes and line breaks', 'note,user_id,track_id,listen_time\n"a, ""b""\nc",1,t1,2024-06-25 10:00:00\n'],
    ['line ends of two kinds', 'user_id,track_id,listen_time\r\n1,t1,2024-06-25 10:00:00\n'],
  ])('reads a file with %s', async (_, file) => {
    const { rows, evidence } = await combine([file]);
    expect(evidence.files[0]).toMatchObject({ rows: 1, rejected: {}, sha256: createHash('sha256').update(file).digest('hex') });
    expect(rows).toEqual([[0, '1', 't1', '2024-06-25 10:00:00.000', '2024-06-25']]);
  });

  it('keeps ids as text', async () => {
    const { rows } = await combine([`${HEADER}007,1e5,2024-06-25 10:00:00\n99999999999999999999,"a,""b""\nc",2024-06-25 10:00:00\n`]);
    expect(rows.map((row) => row.slice(1, 3))).toEqual([
      ['007', '1e5'],
      ['99999999999999999999', 'a,"b"\nc'],
    ]);
  });

  it.each([
    ['2024-06-25T10:00:00', '2024-06-25 10:00:00.000'],
    ['2024-06-25 10:00:00.5', '2024-06-25 10:00:00.500'],
    ['2024-06-25T10:00:00.123Z', '2024-06-25 10:00:00.123'],
    ['2024-06-25 10:00:00+02:00', '2024-06-25 08:00:00.000'],
    ['2024-06-25 10:00:00.25-0330', '2024-06-25 13:30:00.250'],
    ['2024-06-25 01:00:00+02', '2024-06-24 23:00:00.000'],
    ['2024-02-29 23:59:59', '2024-02-29 23:59:59.000'],
    ['0001-01-01 00:00:00', '0001-01-01 00:00:00.000'],
    ['9999-12-31 23:59:59', '9999-12-31 23:59:59.000'],
  ])('reads the time %s as %s', async (time, at) => {
    const { rows } = await combine([`${HEADER}1,t1,${time}\n`]);
    expect(rows).toEqual([[0, '1', 't1', at, at.slice(0, 10)]]);
  });

  it('rejects times that are no instant', async () => {
    const wrong = [
      '2024-06-25',
      '2023-02-29 10:00:00',
      '2024-06-25 24:00:00',
      '2024-06-25 10:60:00',
      '2024-06-25 10:00:60',
      '25/06/2024 10:00',
      '2024-6-5 1:00:00',
      '1719309600',
      '0000-01-01 00:00:00',
      '0044-03-15 10:00:00 (BC)',
      'infinity',
      'epoch',
      '2024-06-25 10:00:00.1234',
      '2024-06-25 10:00:00 UTC',
      '2024-06-25 10:00:00+19:00',
      '2024-06-25 10:00:00+01:60',
      '9999-12-31 23:59:59-01:00',
      '0001-01-01 00:00:00+01:00',
      '10000-01-01 00:00:00',
      '２０２４-06-25 10:00:00',
    ];
    const { evidence, rows } = await combine([HEADER + GOOD + wrong.map((time) => `1,t1,${time}\n`).join('')]);
    expect(rows).toHaveLength(1);
    expect(evidence.files[0]).toMatchObject({ rows: wrong.length + 1, rejected: { invalid_listen_time: wrong.length } });
  });

  it('takes times without zone in the source zone, and days in the KPI zone', async () => {
    const { rows } = await combine([`${HEADER}1,t1,2024-06-25 01:00:00\n1,t2,2024-06-25 01:00:00Z\n`], {
      zones: { source: 'Europe/Berlin', kpi: 'America/New_York' },
    });
    expect(rows).toEqual([
      [0, '1', 't1', '2024-06-24 23:00:00.000', '2024-06-24'],
      [0, '1', 't2', '2024-06-25 01:00:00.000', '2024-06-24'],
    ]);
  });

  it('sets bad rows apart with their reason and place', async () => {
    const { evidence, rows, bad } = await combine([
      `${HEADER}${GOOD} ,t1,2024-06-25 10:00:00\n2,,2024-06-25 10:00:00\n3,t1\n4,t1,later\n5,"t1"x,2024-06-25 10:00:00\n6,t1,2024-06-25 10:00:00,more\n7,t1,2024-06-25 10:00:00,a,b,c\n,,\n${GOOD}8,t1,\n`,
      HEADER + GOOD,
    ]);
    expect(rows).toHaveLength(3);
    expect(evidence.files).toMatchObject([
      { rows: 11, rejected: { missing_user_id: 2, missing_track_id: 1, missing_listen_time: 2, invalid_listen_time: 1, malformed_row: 3 } },
      { rows: 1, rejected: {} },
    ]);
    expect(bad.map((line) => line.split(',').slice(0, 3).join(','))).toEqual([
      '0,2,missing_user_id',
      '0,3,missing_track_id',
      '0,4,missing_listen_time',
      '0,5,invalid_listen_time',
      '0,6,malformed_row',
      '0,7,malformed_row',
      '0,8,malformed_row',
      '0,9,missing_user_id',
      '0,11,missing_listen_time',
    ]);
    expect(bad[3]).toBe('0,5,invalid_listen_time,4,t1,later');
  });

  it.each([
    ['not_utf8', Buffer.from(`${HEADER}é,t1,2024-06-25 10:00:00\n`, 'latin1')],
    ['not_utf8', Buffer.from(HEADER + GOOD, 'utf16le')],
    ['unterminated_quote', `${HEADER}1,"t1,2024-06-25 10:00:00\n`],
  ])('writes down that a file is %s and goes on with the next', async (defect, file) => {
    const { evidence, rows } = await combine([file, HEADER + GOOD]);
    expect(evidence.files).toMatchObject([{ defect, rows: 0 }, { rows: 1 }]);
    expect(rows).toHaveLength(1);
  });

  it('reads no rows of a file without its columns, and says what columns it has', async () => {
    const { evidence } = await combine([
      'user_id;track_id;listen_time\n1;t;x\n',
      'user_id,track_id,listen_time,user_id\n1,t,2024-06-25 10:00:00,2\n',
      HEADER,
    ]);
    expect(evidence.files).toMatchObject([
      { columns: ['user_id;track_id;listen_time'], rows: 0 },
      { columns: ['user_id', 'track_id', 'listen_time', 'user_id'], rows: 0 },
      { columns: ['user_id', 'track_id', 'listen_time'], rows: 0 },
    ]);
  });

  it('writes several Parquet objects, each with whole files', async () => {
    const { evidence, rows } = await combine(
      Array.from({ length: 5 }, (_, i) => HEADER + GOOD + `${i},t2,2024-06-25 10:00:00\n`),
      { rowsPerPart: 4, filesTogether: 1 },
    );
    expect(evidence.parts.map(({ files, rows: n }) => [files, n])).toEqual([
      [[0, 1], 4],
      [[2, 3], 4],
      [[4], 2],
    ]);
    expect(rows).toHaveLength(10);
  });

  it('passes over a line of 50 MB in a large file with a reason', async () => {
    const file = Buffer.concat([
      Buffer.from(HEADER + GOOD.repeat(400_000)),
      Buffer.from('2,'),
      Buffer.alloc(50 * 2 ** 20, 'x'),
      Buffer.from(`,2024-06-25 10:00:00\n${GOOD.repeat(10)}`),
    ]);
    const { evidence } = await combine([file]);
    expect(evidence.files[0]).toMatchObject({ rows: 400_011, rejected: { malformed_row: 1 } });
  });

  it('leaves a file that was replaced after the manifest was frozen', async () => {
    const replaced = await put('streams/replaced.csv', HEADER + GOOD);
    await put('streams/replaced.csv', HEADER + GOOD + GOOD);
    const manifest: Manifest = {
      runId: 'scheduled__2024-02-01',
      logicalDate: '2024-06-25',
      frozenAt: '',
      batches: 1,
      streams: [{ ...replaced, file: 0, batch: 0, lastModified: '' }],
      songs: [],
      users: [],
      left: [],
    };
    const combiner = new CombineBatch(
      store,
      { intermediate: 'intermediate', lake: 'lake' },
      { source: 'UTC', kpi: 'UTC' },
      { engine: engineLimits, maxFileBytes: 20, maxRowBytes: 2 ** 20, rowsPerPart: 10, filesTogether: 100, filesAhead: 1 },
      scratch,
    );
    const again = await store.readJson<BatchEvidence>(
      await combiner.execute(
        { ...manifest, streams: [{ ...replaced, size: 10, file: 0, batch: 0, lastModified: '' }] },
        0,
        new AbortController().signal,
      ),
    );
    expect(again.files[0]).toMatchObject({ defect: 'source_changed' });
    const large = await store.readJson<BatchEvidence>(await combiner.execute(manifest, 0, new AbortController().signal));
    expect(large.files[0]).toMatchObject({ defect: 'too_large' });
  });

  it('turns songs into Parquet once per content', async () => {
    const songs =
      'id,track_id,artists,track_name,popularity,duration_ms,track_genre\n0,t1,A,"N, ""x""\ny",5,1000,pop\n1,t1,A,,x,12.5,\n2,,A,n,1,1,pop\n3,t2,B,m,7,2000.0,rock\n';
    const first = await combine([HEADER + GOOD], { songs });
    const second = await combine([HEADER + GOOD], { songs });
    expect(first.evidence.songs).toMatchObject([{ rows: 3, rejected: {} }]);
    expect(second.evidence.songs?.[0]?.parquet).toEqual(first.evidence.songs?.[0]?.parquet);
    const dir = await mkdtemp(path.join(scratch, 'songs-'));
    const parquet = first.evidence.songs?.[0]?.parquet;
    const engine = await Engine.open(dir, engineLimits);
    const rows = await engine.rows(
      `SELECT * FROM read_parquet(${textList(await downloadAll(store, parquet === undefined ? [] : [parquet], path.join(dir, 'p')))})`,
    );
    engine.close();
    expect(rows).toEqual([
      { track_id: 't1', track_genre: 'pop', track_name: 'N, "x"\ny', artists: 'A', duration_ms: 1000n, popularity: 5n },
      { track_id: 't1', track_genre: null, track_name: null, artists: 'A', duration_ms: null, popularity: null },
      { track_id: 't2', track_genre: 'rock', track_name: 'm', artists: 'B', duration_ms: 2000n, popularity: 7n },
    ]);
  });
});
