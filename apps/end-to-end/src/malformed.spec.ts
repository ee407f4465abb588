import { PATIENCE_MS } from '@music/local-stack';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import type { RowCounts } from '@music/contracts';
import { type RunReport, dayReport, requestRun, runReport, waitForRun } from '@music/reports';
import { LocalPipeline } from '@music/local-pipeline';

const HEAD = 'user_id,track_id,listen_time\n';
const TIME = '2024-06-25 10:00:00';
const GOOD = `u,t1,${TIME}\n`;
const OBJECT = `{"user_id":"u","track_id":"t1","listen_time":"${TIME}"}\n`;
const bytes = (...parts: (string | number[])[]) => Buffer.concat(parts.map((part) => Buffer.from(part as string)));

/** Taken: so many rows, of which so many are rejected. */
const taken = (rows: number, rejected: RowCounts = {}) => ({ rows, rejected });
const time = (text: string) => `${HEAD}u,t1,${text}\n`;
const bad = (text: string) => [time(text), taken(1, { invalid_listen_time: 1 })] as const;

/** One defect a file, with the verdict: why the file is rejected as a whole, or what its rows are. */
const FIXTURES: Record<string, readonly [body: string | Buffer, verdict: string | ReturnType<typeof taken>]> = {
  // what is no text
  parquet: [bytes('PAR1', [0x15, 0x04, 0x15, 0xff, 0x00], 'PAR1'), 'not_parquet'],
  'parquet-of-four-bytes': ['PAR1', 'not_parquet'],
  'parquet-whose-footer-is-elsewhere': [bytes('PAR1', [0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f], 'PAR1'), 'not_parquet'],
  'parquet-encrypted': ['PARE....PARE', 'unsupported_form'],
  zip: [bytes('PK', [3, 4, 20, 0, 0, 0, 8, 0]), 'unsupported_form'],
  xls: [bytes([0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]), 'unsupported_form'],
  avro: [bytes('Obj', [1, 4]), 'unsupported_form'],
  orc: ['ORC\n\u000b', 'unsupported_form'],
  arrow: [bytes('ARROW1', [0, 0]), 'unsupported_form'],
  bzip2: ['BZh91AY&SY', 'unsupported_form'],
  xz: [bytes([0xfd], '7zXZ', [0]), 'unsupported_form'],
  '7z': [bytes('7z', [0xbc, 0xaf, 0x27, 0x1c]), 'unsupported_form'],
  rar: [bytes('Rar!', [0x1a, 0x07, 0]), 'unsupported_form'],
  lz4: [bytes([0x04, 0x22, 0x4d, 0x18]), 'unsupported_form'],
  pdf: ['%PDF-1.7\n', 'unsupported_form'],
  sqlite: [bytes('SQLite format 3', [0]), 'unsupported_form'],
  tar: [bytes('listens.csv'.padEnd(257, '\0'), 'ustar', [0]), 'unsupported_form'],
  'utf-16-le-with-bom': [bytes([0xff, 0xfe], [...Buffer.from(HEAD + GOOD, 'utf16le')]), 'unsupported_form'],
  'utf-16-be-without-bom': [Buffer.from(HEAD + GOOD, 'utf16le').swap16(), 'unsupported_form'],
  'utf-32': [bytes([0xff, 0xfe, 0, 0, 0x75, 0, 0, 0]), 'unsupported_form'],
  // packed
  gzip: [gzipSync(HEAD + GOOD), taken(1)],
  'gzip-of-three-members': [bytes(...[HEAD, GOOD, GOOD].map((part) => [...gzipSync(part)])), taken(2)],
  'gzip-of-nothing': [gzipSync(''), 'not_csv'],
  'gzip-cut-off': [gzipSync(HEAD + GOOD).subarray(0, 30), 'cut_off'],
  'gzip-of-two-bytes': [bytes([0x1f, 0x8b]), 'cut_off'],
  'gzip-with-a-wrong-sum': [bytes([...gzipSync(HEAD + GOOD).subarray(0, -8)], [1, 2, 3, 4, 5, 6, 7, 8]), 'damaged'],
  'gzip-that-is-none': [bytes([0x1f, 0x8b, 8, 0], 'listens of June'), 'damaged'],
  'gzip-of-tar': [gzipSync(`${'listens.csv'.padEnd(257, '\0')}ustar\0`), 'unsupported_form'],
  'gzip-of-gzip': [gzipSync(gzipSync(HEAD + GOOD)), 'unsupported_form'],
  'gzip-of-latin-1': [gzipSync(Buffer.from(`${HEAD}é,t1,${TIME}\n`, 'latin1')), 'not_utf8'],
  'gzip-of-json-lines': [gzipSync(OBJECT), taken(1)],
  bomb: [gzipSync(Buffer.alloc(80 * 2 ** 20, 'a')), 'bomb'],
  'zstd-of-four-bytes': [bytes([0x28, 0xb5, 0x2f, 0xfd]), 'cut_off'],
  'zstd-that-is-none': [bytes([0x28, 0xb5, 0x2f, 0xfd], Array<number>(99).fill(0xff)), 'damaged'],
  // JSON
  'json-array': [`[${OBJECT.trim()}]`, 'unsupported_form'],
  'json-lines-with-numbers': [
    `{"user_id":12345678901234567890123,"track_id":"t1","listen_time":"${TIME}"}\n`,
    taken(1),
  ],
  'json-line-that-is-nested': [
    `${OBJECT}{"user_id":{"id":1},"track_id":"t1","listen_time":"${TIME}"}\n`,
    taken(2, { malformed_row: 1 }),
  ],
  'json-line-that-is-cut-off': [OBJECT + OBJECT.slice(0, 20), taken(2, { malformed_row: 1 })],
  'json-line-without-a-key': [`${OBJECT}{"track_id":"t1","listen_time":"${TIME}"}\n`, taken(2, { missing_user_id: 1 })],
  'json-line-with-null': [
    `{"user_id":null,"track_id":"t1","listen_time":"${TIME}"}\n${OBJECT}`,
    taken(2, { missing_user_id: 1 }),
  ],
  'json-lines-in-latin-1': [Buffer.from(`{"user_id":"é"}\n`, 'latin1'), 'not_utf8'],
  'latin-1': [Buffer.from(`${HEAD}é,t1,${TIME}\n`, 'latin1'), 'not_utf8'],
  'windows-1252-euro': [bytes(HEAD, [0x80], `,t1,${TIME}\n`), 'not_utf8'],
  'overlong-slash': [bytes(HEAD, [0xc0, 0xaf], `,t1,${TIME}\n`), 'not_utf8'],
  'lone-surrogate': [bytes(HEAD, [0xed, 0xa0, 0x80], `,t1,${TIME}\n`), 'not_utf8'],
  'ends-inside-a-character': [bytes(HEAD, GOOD, 'u,t1,', [0xe2, 0x82]), 'not_utf8'],
  'nul-byte-in-a-field': [`${HEAD}u\0,t1,${TIME}\n`, 'not_utf8'],
  'nul-bytes-at-the-end': [bytes(HEAD, GOOD, [0, 0, 0, 0]), 'not_utf8'],
  // headers
  html: ['<!DOCTYPE html>\n<html><body>503</body></html>\n', 'unsupported_form'],
  xml: ['<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', 'unsupported_form'],
  'json-lines': ['{"user_id":"u","track_id":"t1"}\n', 'missing_columns'],
  'one-byte': ['x', 'missing_columns'],
  'no-header': [GOOD, 'missing_columns'],
  'a-title-above-the-header': [`Listens of June\n${HEAD}${GOOD}`, 'missing_columns'],
  semicolons: [(HEAD + GOOD).replaceAll(',', ';'), 'missing_columns'],
  tabs: [(HEAD + GOOD).replaceAll(',', '\t'), 'missing_columns'],
  pipes: [(HEAD + GOOD).replaceAll(',', '|'), 'missing_columns'],
  'header-in-capitals': [HEAD.toUpperCase() + GOOD, 'missing_columns'],
  'header-with-blanks-inside': [`user id,track id,listen time\n${GOOD}`, 'missing_columns'],
  'header-with-homoglyph': [`us\u0435r_id,track_id,listen_time\n${GOOD}`, 'missing_columns'],
  'header-column-missing': [`user_id,track_id\nu,t1\n`, 'missing_columns'],
  'header-column-twice': [`user_id,track_id,listen_time,track_id\nu,t1,${TIME},t2\n`, 'duplicate_columns'],
  'header-other-column-twice': [`x,x,user_id,track_id,listen_time\n1,2,u,t1,${TIME}\n`, taken(1)],
  'header-only': [HEAD, 'no_rows'],
  'header-only-without-line-end': [HEAD.trimEnd(), 'no_rows'],
  'header-and-empty-lines': [`${HEAD}\n\n\n`, 'no_rows'],
  'header-with-bom': [`\ufeff${HEAD}${GOOD}`, taken(1)],
  'header-with-two-boms': [`\ufeff\ufeff${HEAD}${GOOD}`, taken(1)],
  'header-quoted': [`"user_id","track_id","listen_time"\n${GOOD}`, taken(1)],
  'header-with-blanks-around': [` user_id ,\ttrack_id, listen_time\n${GOOD}`, taken(1)],
  'header-with-unnamed-column': [`,user_id,track_id,listen_time\n0,u,t1,${TIME}\n`, taken(1)],
  // quotes and line ends
  'cut-off-in-a-quoted-field': [`${HEAD}${GOOD}u,"t1,${TIME}\n`, 'unterminated_quote'],
  'quote-inside-an-unquoted-field': [`${HEAD}u"x,t1,${TIME}\n`, taken(1)],
  'line-ends-of-windows': [(HEAD + GOOD).replaceAll('\n', '\r\n'), taken(1)],
  'line-ends-of-two-kinds': [`user_id,track_id,listen_time\r\n${GOOD}u,t1,2024-06-25 10:00:01\r\n`, taken(2)],
  'no-line-end-at-the-end': [`${HEAD}${GOOD.trimEnd()}`, taken(1)],
  'empty-lines-between': [`${HEAD}\n${GOOD}\n\nu,t1,2024-06-25 10:00:01\n\n`, taken(2)],
  'quoted-line-break': [`note,${HEAD}"a\nb",u,t1,${TIME}\n`, taken(1)],
  'quoted-comma-and-quote': [`note,${HEAD}"a, ""b""",u,t1,${TIME}\n`, taken(1)],
  // ragged rows
  'row-with-a-field-too-many': [`${HEAD}u,t1,${TIME},x\n`, taken(1, { malformed_row: 1 })],
  'row-with-an-empty-field-too-many': [`${HEAD}u,t1,${TIME},\n`, taken(1)],
  'row-with-a-field-too-few': [`${HEAD}u,t1\n`, taken(1, { missing_listen_time: 1 })],
  'row-of-commas': [`${HEAD},,\n`, taken(1, { missing_user_id: 1 })],
  'row-of-blanks': [`${HEAD} , ,  \n`, taken(1, { missing_user_id: 1 })],
  'row-that-is-the-header-again': [`${HEAD}${HEAD}`, taken(1, { invalid_listen_time: 1 })],
  // ids
  'user-missing': [`${HEAD},t1,${TIME}\n`, taken(1, { missing_user_id: 1 })],
  'track-missing': [`${HEAD}u,,${TIME}\n`, taken(1, { missing_track_id: 1 })],
  'time-missing': [`${HEAD}u,t1,\n`, taken(1, { missing_listen_time: 1 })],
  'ids-with-blanks-around': [`${HEAD}\u00a0u ,\tt1 ,${TIME}\n`, taken(1)],
  'id-of-1025-bytes': [`${HEAD}${'u'.repeat(1_025)},t1,${TIME}\n`, taken(1, { malformed_row: 1 })],
  'id-that-is-a-formula': [`${HEAD}"=HYPERLINK(""http://x"")",t1,${TIME}\n`, taken(1)],
  'id-that-is-sql': [`${HEAD}'; DROP TABLE listens; --,t1,${TIME}\n`, taken(1)],
  'id-with-a-control-character': [`${HEAD}u\u001b[2J,t1,${TIME}\n`, taken(1)],
  'field-of-two-megabytes': [
    `note,${HEAD}${'x'.repeat(2 ** 21)},u,t1,${TIME}\n0,u,t1,${TIME}\n`,
    taken(2, { malformed_row: 1 }),
  ],
  // times
  'time-as-a-spreadsheet-number': bad('45468.41666'),
  'time-in-epoch-seconds': bad('1719309600'),
  'time-of-day-only': bad('10:00:00'),
  'time-without-seconds': bad('2024-06-25 10:00'),
  'time-is-a-date-only': bad('2024-06-25'),
  'time-with-slashes': bad('2024/06/25 10:00:00'),
  'time-day-first': bad('25-06-2024 10:00:00'),
  'time-american': bad('06/25/2024 10:00:00 AM'),
  'time-month-13': bad('2024-13-01 10:00:00'),
  'time-30-february': bad('2024-02-30 10:00:00'),
  'time-29-february-of-a-common-year': bad('2023-02-29 10:00:00'),
  'time-24-hours': bad('2024-06-25 24:00:00'),
  'time-25-hours': bad('2024-06-25 25:00:00'),
  'time-leap-second': bad('2016-12-31 23:59:60'),
  'time-year-0000': bad('0000-01-01 00:00:00'),
  'time-year-9999': [time('9999-12-31 23:59:59'), taken(1, { future_listen_time: 1 })],
  'time-year-10000': bad('10000-01-01 00:00:00'),
  'time-year-9999-beyond-it-in-utc': bad('9999-12-31 23:59:59-01:00'),
  'time-with-ten-digits-of-a-fraction': bad('2024-06-25 10:00:00.1234567890'),
  'time-with-a-zone-name': bad('2024-06-25 10:00:00 CET'),
  'time-with-two-zones': bad('2024-06-25 10:00:00 +0000 UTC'),
  'time-to-come': [time('2999-01-01 00:00:00'), taken(1, { future_listen_time: 1 })],
  'time-with-microseconds': [time('2024-06-25 10:00:00.000000'), taken(1)],
  'time-with-nanoseconds': [time('2024-06-25 10:00:00.000000999'), taken(1)],
  'time-in-utc-by-name': [time('2024-06-25 10:00:00 UTC'), taken(1)],
  'time-with-a-small-z': [time('2024-06-25t10:00:00z'), taken(1)],
  'time-with-a-blank-before-the-offset': [time('2024-06-25 10:00:00.000 +0000'), taken(1)],
  'time-with-offset-of-25-hours': bad('2024-06-25 10:00:00+25:00'),
  'time-with-offset-of-60-minutes': bad('2024-06-25 10:00:00+01:60'),
  'time-negative': bad('-2024-06-25 10:00:00'),
  'time-in-arabic-digits': bad('٢٠٢٤-٠٦-٢٥ 10:00:00'),
  'time-null-as-a-word': bad('NULL'),
  'time-with-blanks-around': [time(`  ${TIME} `), taken(1)],
  'time-with-t': [time('2024-06-25T10:00:00'), taken(1)],
  'time-with-offset': [time('2024-06-25 10:00:00+0200'), taken(1)],
  'time-29-february-of-a-leap-year': [time('2024-02-29 10:00:00'), taken(1)],
};

describe('malformed files', () => {
  let dir: string;
  let pipeline: LocalPipeline;
  let report: RunReport;

  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'malformed-spec-'));
    for (const kind of ['streams', 'songs', 'users']) await mkdir(path.join(dir, kind));
    for (const [name, [body]] of Object.entries(FIXTURES))
      await writeFile(path.join(dir, 'streams', `${name}.csv`), body);
    await writeFile(
      path.join(dir, 'songs', 'songs.csv'),
      'track_id,track_name,artists,track_genre,duration_ms,popularity\nt1,One,A,pop,60000,1\n',
    );
    await writeFile(path.join(dir, 'users', 'users.csv'), 'user_id,user_name,user_country\nu,Ada,France\n');
    // All rows of a file may be bad here: what is wanted is their reasons.
    pipeline = await LocalPipeline.start({ env: { MAX_REJECTED_SHARE: '1' } });
    await pipeline.load(dir);
    const runId = await requestRun(pipeline.stores, { logicalDate: '2024-06-26', immediately: true });
    await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
    report = (await runReport(pipeline.stores, runId)) as RunReport;
  });
  afterAll(async () => {
    await pipeline?.stop();
    await rm(dir, { recursive: true });
  });

  it('are a corpus of more than a hundred, and hinder nobody', () => {
    expect(Object.keys(FIXTURES).length).toBeGreaterThanOrEqual(100);
    expect([report.state, report.reasons, report.files.length]).toEqual([
      'completed',
      [],
      Object.keys(FIXTURES).length,
    ]);
  });

  it.each(Object.entries(FIXTURES).map(([name, [, verdict]]) => [name, verdict] as const))('%s', (name, verdict) => {
    const file = report.files.find(({ key }) => key === `streams/${name}.csv`);
    if (typeof verdict === 'string') expect([file?.state, file?.reason]).toEqual(['rejected', verdict]);
    else
      expect([file?.state, file?.reason, file?.rows]).toEqual([
        'archived',
        undefined,
        { read: verdict.rows, rejected: verdict.rejected },
      ]);
  });

  it('leave numbers that are those of their good rows', async () => {
    const day = await dayReport(pipeline.stores.kpis, '2024-06-25');
    // u at 10:00:00 and 10:00:01 and at 08:00:00 (the one with an offset), and five ids that are odd, but ids.
    expect(day).toMatchObject({
      listen_count: 8,
      unique_listeners: 6,
      genres: [{ genre: 'pop', listen_count: 8, unique_listeners: 6 }],
    });
  });
});
