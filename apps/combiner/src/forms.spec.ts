import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { DuckDBInstance } from '@duckdb/node-api';
import { Combining, type CombiningOptions } from './combining.fixture';

const HEADER = 'user_id,track_id,listen_time\n';
const GOOD = '1,t1,2024-06-25 10:00:00\n';
const CSV = HEADER + GOOD;
const JSON_LINE = '{"user_id":1,"track_id":"t1","listen_time":"2024-06-25 10:00:00"}\n';
const AT = '2024-06-25 10:00:00.000000';

/** DuckDB without our settings, which writes files as others do. */
class Writer {
  private constructor(
    private readonly dir: string,
    private readonly instance: DuckDBInstance,
  ) {}

  static async open(): Promise<Writer> {
    return new Writer(await mkdtemp(path.join(tmpdir(), 'forms-')), await DuckDBInstance.create(':memory:'));
  }

  /** The bytes of a query's result, written with COPY's options. */
  async write(query: string, options: string): Promise<Buffer> {
    const sql = await this.instance.connect();
    const file = path.join(this.dir, randomBytes(8).toString('hex'));
    await sql.run("SET TimeZone = 'UTC'");
    await sql.run(`COPY (${query}) TO '${file}' (${options})`);
    sql.closeSync();
    return readFile(file);
  }

  parquet = (query: string, options = 'COMPRESSION zstd') => this.write(query, `FORMAT parquet, ${options}`);
  zstd = (query: string) => this.write(query, 'FORMAT csv, HEADER, COMPRESSION zstd');

  async close(): Promise<void> {
    this.instance.closeSync();
    await rm(this.dir, { recursive: true });
  }
}

describe('forms of stream files', () => {
  let combining: Combining;
  let writer: Writer;
  beforeAll(async () => {
    [combining, writer] = await Promise.all([Combining.start(), Writer.open()]);
  });
  afterAll(() => Promise.all([combining.stop(), writer.close()]));
  const combine = (files: (string | Buffer)[], options?: CombiningOptions) => combining.combine(files, options);
  const listen = (time = "TIMESTAMP '2024-06-25 10:00:00'", user = "'1'") =>
    `SELECT ${user} AS user_id, 't1' AS track_id, ${time} AS listen_time`;

  it('has the same listens in every form', async () => {
    const rows =
      "SELECT CAST(range AS VARCHAR) AS user_id, 't' || range % 7 AS track_id, strftime(TIMESTAMP '2024-06-25 10:00:00' + to_seconds(range), '%Y-%m-%d %H:%M:%S') AS listen_time FROM range(1000)";
    const csv = await writer.write(rows, 'FORMAT csv, HEADER');
    const lines = await writer.write(rows, 'FORMAT json');
    const forms: [string, Buffer, Partial<CombiningOptions['reading']>?][] = [
      ['CSV', csv],
      ['CSV, gzip', gzipSync(csv)],
      ['CSV, zstd', await writer.zstd(rows)],
      ['CSV, delimiter ;', await writer.write(rows, "FORMAT csv, HEADER, DELIMITER ';'"), { delimiter: ';' }],
      ['CSV, delimiter tab', await writer.write(rows, "FORMAT csv, HEADER, DELIMITER '\t'"), { delimiter: 'auto' }],
      [
        'CSV, delimiter |, gzip',
        gzipSync(await writer.write(rows, "FORMAT csv, HEADER, DELIMITER '|'")),
        { delimiter: 'auto' },
      ],
      ['JSON lines', lines],
      ['JSON lines, gzip', gzipSync(lines)],
      ['JSON lines, zstd', await writer.write(rows, 'FORMAT json, COMPRESSION zstd')],
      ['Parquet', await writer.parquet(rows)],
      [
        'Parquet',
        await writer.parquet(
          `SELECT CAST(user_id AS BIGINT) AS user_id, track_id, CAST(listen_time AS TIMESTAMPTZ) AS listen_time FROM (${rows})`,
          'COMPRESSION snappy',
        ),
      ],
    ];
    const plain = await combine([csv]);
    expect(plain.rows).toHaveLength(1_000);
    for (const [form, body, reading] of forms) {
      const { evidence, rows: read } = await combine([body], { reading });
      expect([form, evidence.files[0]]).toMatchObject([
        form,
        { form, rows: 1_000, rejected: {}, sha256: createHash('sha256').update(body).digest('hex') },
      ]);
      expect(read).toEqual(plain.rows);
    }
    const all = await combine(forms.filter(([, , reading]) => reading === undefined).map(([, body]) => body));
    expect(all.rows).toHaveLength(1_000 * (forms.length - 3));
  });

  it('puts gzip of several members together, and keeps rows of a text that is cut anywhere', async () => {
    const body = Buffer.concat([
      gzipSync(HEADER + GOOD.slice(0, 7)),
      gzipSync(GOOD.slice(7)),
      gzipSync(''),
      gzipSync(GOOD),
    ]);
    expect((await combine([body])).rows).toHaveLength(2);
  });

  describe('JSON lines', () => {
    it('keep numbers as they are written, and leave other keys', async () => {
      const { rows } = await combine([
        '\ufeff{"listen_time":"2024-06-25T10:00:00Z","user_id":9007199254740993,"track_id":1000000000000000000000,"more":{"user_id":[1]}}\r\n' +
          '\n' +
          '{"user_id":"\\u0001\\"x\\"é","track_id":1e21,"listen_time":"2024-06-25T10:00:00Z"}\n' +
          '{"user_id":12345678901234567890123,"track_id":"a\\nb","listen_time":"2024-06-25T10:00:00Z"}',
      ]);
      expect(rows.map((row) => row.slice(1, 3)).sort()).toEqual(
        [
          ['9007199254740993', '1000000000000000000000'],
          ['\u0001"x"é', '1e21'],
          ['12345678901234567890123', 'a\nb'],
        ].sort(),
      );
    });

    it('say which rows are none, and which lack something', async () => {
      const { evidence, bad, rows } = await combine([
        [
          JSON_LINE.trim(),
          'nonsense',
          '[1,2]',
          '{"user_id":{"id":1},"track_id":"t","listen_time":"2024-06-25 10:00:00"}',
          '{"user_id":true,"track_id":"t","listen_time":"2024-06-25 10:00:00"}',
          '{"user_id":null,"track_id":"t","listen_time":"2024-06-25 10:00:00"}',
          '{"user_id":NaN,"track_id":"t","listen_time":"2024-06-25 10:00:00"}',
          '{"user_id":1,"listen_time":"2024-06-25 10:00:00"}',
          '{"user_id":1,"track_id":"t","listen_time":1719309600}',
          '{"user_id":1,"track_id":"t","listen_time":"2024-06-25 10:00:00"} x',
          JSON_LINE.trim().slice(0, 30),
        ].join('\n'),
      ]);
      expect(rows).toHaveLength(1);
      expect(evidence.files[0]).toMatchObject({
        rows: 11,
        rejected: { malformed_row: 6, missing_user_id: 2, missing_track_id: 1, invalid_listen_time: 1 },
        examples: ['row 2: malformed_row', 'row 3: malformed_row', 'row 4: malformed_row'],
      });
      expect(bad.map((line) => line.split(',').slice(0, 3).join(','))).toEqual([
        '0,2,malformed_row',
        '0,3,malformed_row',
        '0,4,malformed_row',
        '0,5,malformed_row',
        '0,6,missing_user_id',
        '0,7,missing_user_id',
        '0,8,missing_track_id',
        '0,9,invalid_listen_time',
        '0,10,malformed_row',
        '0,11,malformed_row',
      ]);
    });

    it('without the keys of the contract have no rows, and are said to', async () => {
      const { evidence } = await combine(['{"user":1,"track_id":"t"}\n{"time":"x"}\n', JSON_LINE]);
      expect(evidence.files).toMatchObject([{ columns: ['user', 'track_id', 'time'], rows: 0 }, { rows: 1 }]);
    });
  });

  describe('Parquet', () => {
    it.each([
      [
        'integers and nanoseconds',
        "TIMESTAMP_NS '2024-06-25 10:00:00.123456789'",
        'CAST(1 AS INTEGER)',
        '2024-06-25 10:00:00.123456',
      ],
      ['milliseconds', "TIMESTAMP_MS '2024-06-25 10:00:00.123'", 'CAST(1 AS UBIGINT)', '2024-06-25 10:00:00.123000'],
      [
        'microseconds with a zone',
        "TIMESTAMPTZ '2024-06-25 12:00:00.5+02:00'",
        'CAST(1 AS DECIMAL(18, 0))',
        '2024-06-25 10:00:00.500000',
      ],
      ['text', "'2024-06-25T10:00:00Z'", "'1'", AT],
    ])('of %s is read', async (_, time, user, at) => {
      const { rows, evidence } = await combine([await writer.parquet(listen(time, user))]);
      expect(evidence.files[0]).toMatchObject({ form: 'Parquet', rows: 1, rejected: {} });
      expect(rows).toEqual([[0, '1', 't1', at, '2024-06-25']]);
    });

    it('is read by its columns’ names, in any order, beside nested ones and with nulls', async () => {
      const { rows, evidence, bad } = await combine([
        await writer.parquet(
          `SELECT {'a': [1, 2]} AS nested, TIMESTAMP '2024-06-25 10:00:00' AS listen_time, 't1' AS track_id, 1 AS x, unnest(['1', NULL, ' ']) AS user_id`,
        ),
      ]);
      expect(rows).toEqual([[0, '1', 't1', AT, '2024-06-25']]);
      expect(evidence.files[0]).toMatchObject({ rows: 3, rejected: { missing_user_id: 2 } });
      expect(bad.map((line) => line.split(',').slice(0, 3).join(','))).toEqual([
        '0,2,missing_user_id',
        '0,3,missing_user_id',
      ]);
    });

    it.each([
      ['a fraction for an id', listen(undefined, 'CAST(1 AS DOUBLE)'), 'unsupported_type', 'user_id is DOUBLE'],
      ['a list for an id', listen(undefined, '[1]'), 'unsupported_type', 'user_id is INTEGER[]'],
      ['a truth for an id', listen(undefined, 'TRUE'), 'unsupported_type', 'user_id is BOOLEAN'],
    ])('with %s is not read', async (_, query, defect, detail) => {
      const { evidence, rows } = await combine([await writer.parquet(query), CSV]);
      expect(evidence.files).toMatchObject([{ defect, detail, rows: 0 }, { rows: 1 }]);
      expect(rows).toHaveLength(1);
    });

    it('that is damaged is told, whatever is damaged, and disturbs no other file', async () => {
      const good = await writer.parquet(
        `SELECT user_id, track_id, listen_time FROM (${listen()}), range(50000)`,
        'COMPRESSION snappy',
      );
      const turned = Buffer.from(good);
      turned.fill(0xff, 20, 400);
      const files = [
        good.subarray(0, 4),
        good.subarray(0, good.length - 10),
        Buffer.concat([Buffer.from('PAR1'), randomBytes(5_000)]),
        Buffer.concat([
          Buffer.from('PAR1'),
          randomBytes(100),
          Buffer.from([0xff, 0xff, 0xff, 0x7f]),
          Buffer.from('PAR1'),
        ]),
        turned,
      ];
      const { evidence } = await combine([...files, CSV]);
      expect(evidence.files.map(({ defect, rows }) => [defect, rows])).toEqual([
        ...files.map(() => ['not_parquet', 0]),
        [undefined, 1],
      ]);
    });

    it('without a column says which it has', async () => {
      const { evidence } = await combine([await writer.parquet("SELECT 1 AS userId, 't' AS track_id")]);
      expect(evidence.files[0]).toMatchObject({ columns: ['userId', 'track_id'], rows: 0 });
    });
  });

  it.each([
    [
      'a zip archive',
      Buffer.from('PK\x03\x04rest'),
      'this is zip, such as an Excel workbook (xlsx): send each file in it as gzip, or the sheet as CSV',
    ],
    ['an old workbook', Buffer.from('d0cf11e0a1b11ae1', 'hex'), /Microsoft Office/],
    ['Avro', Buffer.from('Obj\x01'), /this is Avro/],
    ['ORC', Buffer.from('ORCxxxx'), /this is ORC/],
    ['Arrow', Buffer.from('ARROW1\0\0'), /Arrow/],
    ['encrypted Parquet', Buffer.from('PARE1234'), /encrypted/],
    ['bzip2', Buffer.from('BZh91AY'), /this is bzip2: pack it with gzip or zstd/],
    ['xz', Buffer.from('fd377a585a00', 'hex'), /this is xz/],
    ['7z', Buffer.from('377abcaf271c', 'hex'), /7z/],
    ['rar', Buffer.from('526172211a07', 'hex'), /rar/],
    ['lz4', Buffer.from('04224d18', 'hex'), /lz4/],
    ['PDF', Buffer.from('%PDF-1.7'), /PDF/],
    ['SQLite', Buffer.from('SQLite format 3\0'), /SQLite/],
    ['UTF-16', Buffer.from('\ufeffuser_id,track_id', 'utf16le'), 'this is UTF-16: save it as UTF-8'],
    ['UTF-16, big end first', Buffer.from('\ufeffuser_id', 'utf16le').swap16(), /UTF-16/],
    ['UTF-16 without a mark', Buffer.from(CSV, 'utf16le'), /UTF-16 without a byte order mark/],
    ['an error page', '<!DOCTYPE html>\n<html><body>503</body></html>', /HTML or XML/],
    ['XML of S3', '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', /HTML or XML/],
    ['a JSON array', `[${JSON_LINE.trim()}]`, 'this is one JSON array: write one object a line'],
    ['an indented JSON array', `[\n  ${JSON_LINE}]`, /one JSON array/],
    ['a tar archive', tar('listens.csv', CSV), /^this is tar: /],
    ["gzip'ed tar", gzipSync(tar('listens.csv', CSV)), "this is gzip'ed tar: send each file in it"],
    ['gzip in gzip', gzipSync(gzipSync(CSV)), "this is gzip'ed gzip: pack it once"],
    ['zip in gzip', gzipSync(Buffer.from('PK\x03\x04rest')), /gzip'ed zip/],
    ['UTF-16 in gzip', gzipSync(Buffer.from(`\ufeff${CSV}`, 'utf16le')), /UTF-16/],
  ])('refuses %s by its name', async (_, file, detail) => {
    const { evidence, rows } = await combine([file, CSV]);
    expect(evidence.files).toMatchObject([
      {
        defect: 'unsupported_form',
        detail: typeof detail === 'string' ? detail : expect.stringMatching(detail),
        rows: 0,
      },
      { rows: 1 },
    ]);
    expect(rows).toHaveLength(1);
  });

  it('refuses packed Parquet, which is packed inside', async () => {
    const { evidence } = await combine([gzipSync(await writer.parquet(listen()))]);
    expect(evidence.files[0]).toMatchObject({
      defect: 'unsupported_form',
      detail: "this is gzip'ed Parquet: send the Parquet file as it is",
    });
  });

  it.each([
    ['gzip that is cut off', gzipSync(CSV.repeat(9)).subarray(0, 40), 'cut_off'],
    ['gzip of which only the beginning is there', gzipSync(CSV).subarray(0, 5), 'cut_off'],
    ['two bytes that look like gzip', Buffer.from([0x1f, 0x8b]), 'cut_off'],
    ['something that begins like gzip', Buffer.concat([Buffer.from('1f8b0800', 'hex'), randomBytes(500)]), 'damaged'],
    ['gzip with a wrong sum', flipped(gzipSync(CSV), -6), 'damaged'],
    [
      'something that begins like zstd',
      Buffer.concat([Buffer.from('28b52ffd', 'hex'), Buffer.alloc(500, 0xff)]),
      'damaged',
    ],
    ['four bytes that look like zstd', Buffer.from('28b52ffd', 'hex'), 'cut_off'],
    ['gzip of nothing', gzipSync(''), 'not_csv'],
    [
      'gzip of text that is not UTF-8',
      gzipSync(Buffer.from(`${HEADER}é,t1,2024-06-25 10:00:00\n`, 'latin1')),
      'not_utf8',
    ],
    ['gzip with an open quote', gzipSync(`${HEADER}1,"t1,2024-06-25 10:00:00\n`), 'unterminated_quote'],
    ['JSON that is not UTF-8', Buffer.from('{"user_id":"é"}', 'latin1'), 'not_utf8'],
  ])('refuses %s and goes on with the next', async (_, file, defect) => {
    const { evidence, rows } = await combine([file, CSV]);
    expect(evidence.files).toMatchObject([{ defect, rows: 0 }, { rows: 1 }]);
    expect(rows).toHaveLength(1);
  });

  it('refuses zstd that is cut off', async () => {
    const whole = await writer.zstd(
      `SELECT md5(CAST(range AS VARCHAR)) AS user_id, 't1' AS track_id, '2024-06-25 10:00:00' AS listen_time FROM range(5000)`,
    );
    const { evidence } = await combine([whole.subarray(0, whole.length - 100), whole]);
    expect(evidence.files).toMatchObject([{ defect: 'cut_off' }, { rows: 5_000 }]);
  });

  it('unpacks no bomb: not beyond what a file may have, nor beyond what one honestly holds', async () => {
    const bomb = gzipSync(Buffer.alloc(100 * 2 ** 20, 'a'));
    const zeros = await writer.write(
      "SELECT repeat('a', 1000000) AS user_id FROM range(300)",
      'FORMAT csv, COMPRESSION zstd',
    );
    const { evidence } = await combine([bomb, zeros, CSV]);
    expect(evidence.files).toMatchObject([{ defect: 'bomb' }, { defect: 'bomb' }, { rows: 1 }]);
    const small = await combine([gzipSync(CSV + GOOD.repeat(100))], { maxFileBytes: 1_000 });
    expect(small.evidence.files).toMatchObject([
      { defect: 'too_large', detail: expect.stringContaining('when unpacked') },
    ]);
  });

  it('takes songs and users in every form, too', async () => {
    const songs =
      "SELECT 't1' AS track_id, 'One' AS track_name, 'A' AS artists, 'pop' AS track_genre, 60000 AS duration_ms, 7 AS popularity";
    const users = "SELECT 1 AS user_id, 'Ada' AS user_name, 'France' AS user_country";
    const forms: [string, string, (body: Buffer) => Buffer][] = [
      ['CSV', 'FORMAT csv, HEADER', (body) => body],
      ['CSV, gzip', 'FORMAT csv, HEADER', gzipSync],
      ['CSV, zstd', 'FORMAT csv, HEADER, COMPRESSION zstd', (body) => body],
      ['JSON lines', 'FORMAT json', (body) => body],
      ['JSON lines, gzip', 'FORMAT json', gzipSync],
      ['Parquet', 'FORMAT parquet', (body) => body],
    ];
    for (const [form, options, pack] of forms) {
      const { evidence } = await combine([CSV], {
        songs: pack(await writer.write(songs, options)),
        users: pack(await writer.write(users, options)),
      });
      const [song, user] = [evidence.songs?.[0], evidence.users?.[0]];
      expect([song, user]).toMatchObject([
        { form, rows: 1 },
        { form, rows: 1 },
      ]);
      if (song?.parquet === undefined || user?.parquet === undefined) throw new Error(`${form} has no table`);
      expect(await combining.read([song.parquet], 'track_id, track_name, duration_ms, popularity')).toEqual([
        { track_id: 't1', track_name: 'One', duration_ms: 60_000n, popularity: 7n },
      ]);
      expect(await combining.read([user.parquet], 'user_id')).toEqual([{ user_id: '1' }]);
    }
    const broken = await combine([CSV], { songs: gzipSync('x').subarray(0, 10), users: 'PAR1' });
    expect([broken.evidence.songs, broken.evidence.users]).toMatchObject([
      [{ defect: 'cut_off' }],
      [{ defect: 'not_parquet' }],
    ]);
  });

  describe('by setting', () => {
    it('names columns otherwise: the first that is there, and the contract’s own where none is', async () => {
      const reading = {
        columnNames: ['streams.user_id=uid', 'streams.user_id=userId', 'streams.listen_time=played at'],
      };
      const files = [
        'userId,track_id,played at\n1,t1,2024-06-25 10:00:00\n',
        'userId,uid,track_id,listen_time\nx,1,t1,2024-06-25 10:00:00\n',
        'user_id,uid,track_id,listen_time\nx,1,t1,2024-06-25 10:00:00\n',
        CSV,
        '{"uid":1,"track_id":"t1","played at":"2024-06-25 10:00:00"}\n',
        await writer.parquet("SELECT 1 AS uid, 't1' AS track_id, TIMESTAMP '2024-06-25 10:00:00' AS \"played at\""),
      ];
      const { rows } = await combine(files, { reading });
      expect(rows).toEqual(files.map((_, file) => [file, '1', 't1', AT, '2024-06-25']));
    });

    it('reads numbers as times: seconds or milliseconds, whole or not, and never without', async () => {
      const times = ['1719309600', '1719309600.5', '-1', '0', '1719309600.1234567'];
      const file = HEADER + times.map((time) => `1,t1,${time}\n`).join('');
      const seconds = await combine([file], { reading: { epoch: 's' } });
      expect(seconds.rows.map((row) => row[3])).toEqual([
        '1969-12-31 23:59:59.000000',
        '1970-01-01 00:00:00.000000',
        AT,
        '2024-06-25 10:00:00.123456',
        '2024-06-25 10:00:00.500000',
      ]);
      const milliseconds = await combine(
        [`${HEADER}1,t1,1719309600123\n1,t1,1719309600123.4567\n1,t1,2024-06-25 10:00:00\n`],
        { reading: { epoch: 'ms' } },
      );
      expect(milliseconds.rows.map((row) => row[3])).toEqual([
        AT,
        '2024-06-25 10:00:00.123000',
        '2024-06-25 10:00:00.123456',
      ]);
      const wrong = await combine([`${HEADER}1,t1,99999999999999999999\n1,t1,1e9\n1,t1,999999999999\n`], {
        reading: { epoch: 's' },
      });
      expect(wrong.evidence.files[0]).toMatchObject({ rejected: { invalid_listen_time: 3 } });
      const none = await combine([file]);
      expect(none.evidence.files[0]).toMatchObject({
        rejected: { invalid_listen_time: 5 },
        examples: times.slice(0, 3).map((time, i) => `row ${i + 1}: invalid_listen_time "${time}"`),
      });
      const numbers = await writer.parquet("SELECT 1 AS user_id, 't1' AS track_id, 1719309600000 AS listen_time");
      expect((await combine([numbers], { reading: { epoch: 'ms' } })).rows).toEqual([[0, '1', 't1', AT, '2024-06-25']]);
    });

    it('takes texts for missing values', async () => {
      const { evidence } = await combine(
        [`${HEADER}\\N,t1,2024-06-25 10:00:00\n1, NULL ,2024-06-25 10:00:00\n1,t1,nan\nnull,t1,2024-06-25 10:00:00\n`],
        {
          reading: { nullText: ['\\N', 'NULL', 'nan'] },
        },
      );
      expect(evidence.files[0]).toMatchObject({
        rows: 4,
        rejected: { missing_user_id: 1, missing_track_id: 1, missing_listen_time: 1 },
      });
    });

    it('rejects listens of times to come, and of times too long ago', async () => {
      const frozenAt = '2024-06-26T00:00:00.000Z';
      const { evidence, rows } = await combine(
        [
          `${HEADER}1,t1,2024-06-27 00:00:00\n1,t2,2024-06-27 00:00:00.000001\n1,t3,2999-01-01 00:00:00\n1,t4,1999-12-31 23:59:59\n1,t5,2000-01-01 00:00:00\n`,
        ],
        { frozenAt, reading: { maxFutureHours: 24, earliest: '2000-01-01T00:00:00.000Z' } },
      );
      expect(evidence.files[0]).toMatchObject({ rejected: { future_listen_time: 2, early_listen_time: 1 } });
      expect(rows.map((row) => row[2]).sort()).toEqual(['t1', 't5']);
    });

    it('finds the delimiter in the header alone', async () => {
      const { rows, evidence } = await combine(
        [
          '"user_id";"track_id";"listen_time"\n"a;b";"t,1|2";2024-06-25 10:00:00\n',
          'user_id|track_id|listen_time\n1|t,1|2024-06-25 10:00:00\n',
          CSV,
        ],
        { reading: { delimiter: 'auto' } },
      );
      expect(rows.map((row) => row.slice(1, 3))).toEqual([
        ['a;b', 't,1|2'],
        ['1', 't,1'],
        ['1', 't1'],
      ]);
      expect(evidence.files.map(({ form }) => form)).toEqual(['CSV, delimiter ;', 'CSV, delimiter |', 'CSV']);
    });
  });
});

/** What exporters write by default for 10:00:00.123456 UTC on 2025-01-11, and what it is read as. */
describe('times as exporters write them', () => {
  let combining: Combining;
  beforeAll(async () => {
    combining = await Combining.start();
  });
  afterAll(() => combining.stop());
  it('are read to the microsecond', async () => {
    const micros = '2025-01-11 10:00:00.123456';
    const millis = '2025-01-11 10:00:00.123000';
    const whole = '2025-01-11 10:00:00.000000';
    const times: [string, string, string][] = [
      ['Python str(datetime)', '2025-01-11 10:00:00.123456', micros],
      ['Python, a whole second', '2025-01-11 10:00:00', whole],
      ['Python str(datetime) with a zone', '2025-01-11 11:00:00.123456+01:00', micros],
      ['Python isoformat', '2025-01-11T10:00:00.123456', micros],
      ['pandas to_csv', '2025-01-11 10:00:00.123456', micros],
      ['pandas to_csv, nanoseconds', '2025-01-11 10:00:00.123456789', micros],
      ['pandas to_csv with a zone', '2025-01-11 10:00:00.123456+00:00', micros],
      ['pandas to_json, ISO', '2025-01-11T10:00:00.123Z', millis],
      ['Spark CSV', '2025-01-11T10:00:00.123Z', millis],
      ['Spark CSV with an offset', '2025-01-11T11:00:00.123+01:00', millis],
      ['Spark cast to text', '2025-01-11 10:00:00.123456', micros],
      ['Postgres COPY, timestamp', '2025-01-11 10:00:00.123456', micros],
      ['Postgres COPY, timestamptz', '2025-01-11 10:00:00.123456+00', micros],
      ['Postgres COPY, zeros left away', '2025-01-11 10:00:00.12', '2025-01-11 10:00:00.120000'],
      ['Postgres COPY, half an hour', '2025-01-11 15:30:00.123456+05:30', micros],
      ['MySQL', '2025-01-11 10:00:00', whole],
      ['MySQL, DATETIME(6)', '2025-01-11 10:00:00.123456', micros],
      ['BigQuery', '2025-01-11 10:00:00.123456 UTC', micros],
      ['BigQuery, a whole second', '2025-01-11 10:00:00 UTC', whole],
      ['Athena', '2025-01-11 10:00:00.123', millis],
      ['Athena with a zone', '2025-01-11 10:00:00.123 UTC', millis],
      ['Redshift UNLOAD', '2025-01-11 10:00:00.123456', micros],
      ['Redshift UNLOAD, timestamptz', '2025-01-11 10:00:00.123456+00', micros],
      ['Snowflake, TIMESTAMP_NTZ', '2025-01-11 10:00:00.123', millis],
      ['Snowflake, TIMESTAMP_LTZ', '2025-01-11 02:00:00.123 -0800', millis],
      ['Java Instant', '2025-01-11T10:00:00.123456789Z', micros],
      ['Java OffsetDateTime', '2025-01-11T12:00:00.123456+02:00', micros],
      ['java.sql.Timestamp', '2025-01-11 10:00:00.123456', micros],
      ['Go RFC3339Nano', '2025-01-11T10:00:00.123456789Z', micros],
      ['Go RFC3339', '2025-01-11T11:00:00+01:00', whole],
      ['.NET round trip', '2025-01-11T10:00:00.1234567Z', micros],
      ['.NET universal', '2025-01-11 10:00:00Z', whole],
      ['JavaScript toISOString', '2025-01-11T10:00:00.123Z', millis],
      ['RFC 3339 in small letters', '2025-01-11t10:00:00.123456z', micros],
      ['GMT', '2025-01-11 10:00:00 GMT', whole],
      ['an offset without minutes, a blank before it', '2025-01-11 11:00:00 +01', whole],
      ['cut, not rounded', '2025-01-11 10:00:00.123456999', micros],
      ['cut, not rounded, at a second', '2025-01-11 10:00:00.999999999', '2025-01-11 10:00:00.999999'],
    ];
    const file = HEADER + times.map(([, time], i) => `${i},t,${time}\n`).join('');
    // As plain ASCII, which is read another way, and not.
    for (const text of [file, `\ufeff${file}`]) {
      const { rows, evidence } = await combining.combine([text]);
      expect(evidence.files[0]).toMatchObject({ rejected: {} });
      const read = new Map(rows.map((row) => [Number(row[1]), row[3]]));
      expect(times.map(([name, time], i) => [name, time, read.get(i)])).toEqual(times);
    }
  });
});

/** A tar archive of one file. */
function tar(name: string, body: string): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write(body.length.toString(8).padStart(11, '0'), 124);
  header.write('ustar\0', 257);
  return Buffer.concat([header, Buffer.from(body.padEnd(512, '\0')), Buffer.alloc(1_024)]);
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  const index = at < 0 ? copy.length + at : at;
  copy[index] = (copy[index] as number) ^ 0xff;
  return copy;
}
