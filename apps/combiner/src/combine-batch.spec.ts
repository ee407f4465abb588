import { createHash } from 'node:crypto';
import { Combining, type CombiningOptions } from './combining.fixture';

const HEADER = 'user_id,track_id,listen_time\n';
const GOOD = '1,t1,2024-06-25 10:00:00\n';

describe('combining a batch', () => {
  let combining: Combining;
  beforeAll(async () => {
    combining = await Combining.start();
  });
  afterAll(() => combining.stop());
  const combine = (files: (string | Buffer)[], options?: CombiningOptions) => combining.combine(files, options);

  it.each([
    ['a byte order mark and CRLF', '\ufeffuser_id,track_id,listen_time\r\n1,t1,2024-06-25 10:00:00\r\n'],
    ['columns in another order, and more of them', 'x,listen_time,track_id,y,user_id\n9,2024-06-25 10:00:00,t1,,1\n'],
    ['blanks around header and ids', ' user_id ,track_id\t, listen_time\n  1 ,\u00a0t1\t, 2024-06-25 10:00:00 \n'],
    ['quoted fields', '"user_id","track_id","listen_time"\n"1","t1","2024-06-25 10:00:00"\n'],
    ['no line end after the last row, and empty lines', 'user_id,track_id,listen_time\n\n1,t1,2024-06-25 10:00:00\n\n'],
    ['a comma after each row', 'user_id,track_id,listen_time,\n1,t1,2024-06-25 10:00:00,\n'],
    [
      'other columns with commas, quotes and line breaks',
      'note,user_id,track_id,listen_time\n"a, ""b""\nc",1,t1,2024-06-25 10:00:00\n',
    ],
    ['line ends of two kinds', 'user_id,track_id,listen_time\r\n1,t1,2024-06-25 10:00:00\n'],
  ])('reads a file with %s', async (_, file) => {
    const { rows, evidence } = await combine([file]);
    expect(evidence.files[0]).toMatchObject({
      rows: 1,
      rejected: {},
      sha256: createHash('sha256').update(file).digest('hex'),
    });
    expect(rows).toEqual([[0, '1', 't1', '2024-06-25 10:00:00.000000', '2024-06-25']]);
  });

  it('rejects listens of users who are forgotten, and keeps nothing of their rows', async () => {
    const { evidence, rows, bad } = await combine(
      [
        `${HEADER}1,t1,2024-06-25 10:00:00\n gone ,t1,2024-06-25 10:00:00\ngone,,no time\n2,t1,no time\ngone,t1,2024-06-25 11:00:00,more\n`,
        `${HEADER}1,t2,2024-06-25 10:00:00\n,t1,2024-06-25 10:00:00\n`,
        `${HEADER}GONE,t3,2024-06-25 10:00:00\n`,
        HEADER,
      ],
      { users: 'user_id,user_name,user_country\n1,A,B\ngone,A,B\n', erased: { users: ['gone', 'nobody'] } },
    );
    expect(rows.map((row) => row.slice(0, 3))).toEqual([
      [0, '1', 't1'],
      [1, '1', 't2'],
      [2, 'GONE', 't3'],
    ]);
    expect(evidence.files.map(({ rows: read, rejected }) => [read, rejected])).toEqual([
      [5, { forgotten_user: 3, invalid_listen_time: 1 }],
      [2, { missing_user_id: 1 }],
      [1, {}],
      [0, {}],
    ]);
    expect(bad).toEqual(['0,4,invalid_listen_time,2,t1,no time', '1,2,missing_user_id,,t1,2024-06-25 10:00:00']);
    expect(evidence.forgotten).toBe(2);
    const users = evidence.users?.flatMap(({ parquet }) => (parquet === undefined ? [] : [parquet])) ?? [];
    expect(await combining.read(users, 'user_id')).toEqual([{ user_id: '1' }]);
  });

  it('rejects listens of days that have left the lake', async () => {
    const { evidence, rows } = await combine([`${HEADER}1,t1,2024-06-24 23:59:59\n1,t1,2024-06-25 00:00:00\n`], {
      erased: { before: '2024-06-25' },
    });
    expect([rows.length, evidence.files[0]?.rejected]).toEqual([1, { expired_day: 1 }]);
  });

  it('keeps ids as text', async () => {
    const { rows } = await combine([
      `${HEADER}007,1e5,2024-06-25 10:00:00\n99999999999999999999,"a,""b""\nc",2024-06-25 10:00:00\n`,
    ]);
    expect(rows.map((row) => row.slice(1, 3))).toEqual([
      ['007', '1e5'],
      ['99999999999999999999', 'a,"b"\nc'],
    ]);
  });

  it.each([
    ['2024-06-25T10:00:00', '2024-06-25 10:00:00.000000'],
    ['2024-06-25 10:00:00.5', '2024-06-25 10:00:00.500000'],
    ['2024-06-25T10:00:00.123Z', '2024-06-25 10:00:00.123000'],
    ['2024-06-25 10:00:00+02:00', '2024-06-25 08:00:00.000000'],
    ['2024-06-25 10:00:00.25-0330', '2024-06-25 13:30:00.250000'],
    ['2024-06-25 01:00:00+02', '2024-06-24 23:00:00.000000'],
    ['2024-02-29 23:59:59', '2024-02-29 23:59:59.000000'],
    ['0001-01-01 00:00:00', '0001-01-01 00:00:00.000000'],
    ['9999-12-31 23:59:59', '9999-12-31 23:59:59.000000'],
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
      '2024-06-25 10:00:00.1234567890',
      '2024-06-25 10:00:00UTC',
      '2024-06-25 10:00:00 CET',
      '2024-06-25 10:00',
      '2024-06-25 10:00:00 AM',
      '06/25/2024 10:00:00',
      '2024-06-25 10:00:00+19:00',
      '2024-06-25 10:00:00+01:60',
      '9999-12-31 23:59:59-01:00',
      '0001-01-01 00:00:00+01:00',
      '10000-01-01 00:00:00',
      '２０２４-06-25 10:00:00',
    ];
    const { evidence, rows } = await combine([HEADER + GOOD + wrong.map((time) => `1,t1,${time}\n`).join('')]);
    expect(rows).toHaveLength(1);
    expect(evidence.files[0]).toMatchObject({
      rows: wrong.length + 1,
      rejected: { invalid_listen_time: wrong.length },
    });
  });

  it('takes times without zone in the source zone, and days in the KPI zone', async () => {
    const { rows } = await combine([`${HEADER}1,t1,2024-06-25 01:00:00\n1,t2,2024-06-25 01:00:00Z\n`], {
      zones: { source: 'Europe/Berlin', kpi: 'America/New_York' },
    });
    expect(rows).toEqual([
      [0, '1', 't1', '2024-06-24 23:00:00.000000', '2024-06-24'],
      [0, '1', 't2', '2024-06-25 01:00:00.000000', '2024-06-24'],
    ]);
  });

  it('sets bad rows apart with their reason and place', async () => {
    const { evidence, rows, bad } = await combine([
      `${HEADER}${GOOD} ,t1,2024-06-25 10:00:00\n2,,2024-06-25 10:00:00\n3,t1\n4,t1,later\n5,"t1"x,2024-06-25 10:00:00\n6,t1,2024-06-25 10:00:00,more\n7,t1,2024-06-25 10:00:00,a,b,c\n,,\n${GOOD}8,t1,\n`,
      HEADER + GOOD,
    ]);
    expect(rows).toHaveLength(3);
    expect(evidence.files).toMatchObject([
      {
        rows: 11,
        rejected: {
          missing_user_id: 2,
          missing_track_id: 1,
          missing_listen_time: 2,
          invalid_listen_time: 1,
          malformed_row: 3,
        },
      },
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
    ['unsupported_form', Buffer.from(HEADER + GOOD, 'utf16le')],
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

  it('writes a Parquet object a day, with the files that are in it', async () => {
    const { evidence, rows } = await combine([
      HEADER + GOOD + '2,t2,2024-06-26 10:00:00\n',
      `${HEADER}3,t1,2024-06-26 10:00:00\n,t1,2024-06-25 10:00:00\n`,
    ]);
    expect(evidence.parts.map(({ object, files }) => [object.date, files])).toEqual([
      ['2024-06-25', [0]],
      ['2024-06-26', [0, 1]],
    ]);
    expect(rows).toHaveLength(3);
  });

  it('writes rows of very many days into one object', async () => {
    const day = (n: number) => new Date(Date.UTC(2020, 0, n)).toISOString().slice(0, 10);
    const { evidence, rows } = await combine([
      HEADER + Array.from({ length: 400 }, (_, i) => `1,t1,${day(i)} 10:00:00\n`).join(''),
    ]);
    expect(evidence.parts.map(({ object, files }) => [object.date, files])).toEqual([[undefined, [0]]]);
    expect(rows).toHaveLength(400);
  });

  it('places bad rows of files that are read together, with lines that cannot be read in between', async () => {
    const broken = '9,"t1"x,2024-06-25 10:00:00\n';
    const { evidence, bad } = await combine([
      HEADER + GOOD + broken + ',t1,2024-06-25 10:00:00\n',
      HEADER + GOOD,
      `${HEADER}"8",t1,2024-06-25 10:00:00\n${GOOD}7,,2024-06-25 10:00:00\n`,
      `${HEADER}${GOOD}${GOOD} ,t1,2024-06-25 10:00:00\n6,t1,\n`,
    ]);
    expect(evidence.files.map(({ rows, rejected }) => [rows, rejected])).toEqual([
      [3, { missing_user_id: 1, malformed_row: 1 }],
      [1, {}],
      [3, { missing_track_id: 1 }],
      [4, { missing_user_id: 1, missing_listen_time: 1 }],
    ]);
    expect(bad.map((line) => line.split(',').slice(0, 3).join(','))).toEqual([
      '0,2,malformed_row',
      '0,3,missing_user_id',
      '2,3,missing_track_id',
      '3,3,missing_user_id',
      '3,4,missing_listen_time',
    ]);
  });

  it('places rows of a large file that lack a value', async () => {
    const lacking: Record<number, string> = {
      1: ',t1,2024-06-25 10:00:00\n',
      70_000: '"",t1,2024-06-25 10:00:00\n',
      70_001: '2,,2024-06-25 10:00:00\n',
      130_000: '2,"",2024-06-25 10:00:00\n',
      199_999: '2,t1,\n',
      200_000: '2,t1,""\n',
    };
    const { evidence, bad } = await combine([
      HEADER + Array.from({ length: 200_000 }, (_, i) => lacking[i + 1] ?? GOOD).join(''),
    ]);
    expect(evidence.files[0]).toMatchObject({
      rows: 200_000,
      rejected: { missing_user_id: 2, missing_track_id: 2, missing_listen_time: 2 },
    });
    expect(bad).toEqual([
      '0,1,missing_user_id,,t1,2024-06-25 10:00:00',
      '0,70000,missing_user_id,,t1,2024-06-25 10:00:00',
      '0,70001,missing_track_id,2,,2024-06-25 10:00:00',
      '0,130000,missing_track_id,2,,2024-06-25 10:00:00',
      '0,199999,missing_listen_time,2,t1,',
      '0,200000,missing_listen_time,2,t1,',
    ]);
  });

  it.each([
    ['blank', ' , t1,2024-06-25 10:00:00\n', 'missing_user_id'],
    ['too short', '2,t1\n', 'missing_listen_time'],
    ['below an empty line', '\n,t1,2024-06-25 10:00:00\n', 'missing_user_id'],
  ])('places rows that do not look as if they lacked a value: %s', async (_, row, reason) => {
    const { bad } = await combine([`${HEADER}${GOOD}${row}${GOOD},t1,2024-06-25 10:00:00\n`]);
    expect(bad.map((line) => line.split(',').slice(1, 3).join(','))).toEqual([`2,${reason}`, '4,missing_user_id']);
  });

  it('reads a large file with line ends of two kinds, and with quoted fields wherever its beginning ends', async () => {
    const rows = 200_000;
    const { evidence } = await combine([
      HEADER.replace('\n', '\r\n') + GOOD.repeat(rows),
      HEADER + `"1","${'t'.repeat(50)}","2024-06-25 10:00:00"\n`.repeat(rows),
    ]);
    expect(evidence.files).toMatchObject([
      { rows, rejected: {} },
      { rows, rejected: {} },
    ]);
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
    const { evidence } = await combine([HEADER + GOOD], { replacedBy: HEADER + GOOD + GOOD });
    expect(evidence.files[0]).toMatchObject({ defect: 'source_changed' });
  });

  it('leaves a file that is too large', async () => {
    const { evidence } = await combine([HEADER + GOOD], { maxFileBytes: 20 });
    expect(evidence.files[0]).toMatchObject({ defect: 'too_large' });
  });

  it('turns songs into Parquet once per content', async () => {
    const songs =
      'id,track_id,artists,track_name,popularity,duration_ms,track_genre\n0,t1,A,"N, ""x""\ny",5,1000,pop\n1,t1,A,,x,12.5,\n2,,A,n,1,1,pop\n3,t2,B,m,7,2000.0,rock\n';
    const first = await combine([HEADER + GOOD], { songs });
    const second = await combine([HEADER + GOOD], { songs });
    expect(first.evidence.songs).toMatchObject([{ rows: 3, rejected: {} }]);
    expect(second.evidence.songs?.[0]?.parquet).toEqual(first.evidence.songs?.[0]?.parquet);
    const parquet = first.evidence.songs?.[0]?.parquet;
    const rows = await combining.read(parquet === undefined ? [] : [parquet], '*');
    expect(rows).toEqual([
      { track_id: 't1', track_genre: 'pop', track_name: 'N, "x"\ny', artists: 'A', duration_ms: 1000n, popularity: 5n },
      { track_id: 't1', track_genre: null, track_name: null, artists: 'A', duration_ms: null, popularity: null },
      { track_id: 't2', track_genre: 'rock', track_name: 'm', artists: 'B', duration_ms: 2000n, popularity: 7n },
    ]);
  });
});
