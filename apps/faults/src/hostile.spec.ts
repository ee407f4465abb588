import { PATIENCE_MS } from '@music/local-stack';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { STAGES } from '@music/events';
import { LocalPipeline, musicKpis, referenceOf } from '@music/local-pipeline';
import { dayReport, requestRun, runReport, waitForRun } from '@music/reports';
import { logFault } from './fault-log';

const DAY = '2024-06-25';
const PWNED = '/tmp/music-hostile-names-pwned';

/** Below streams/. Control characters, blanks and quotes are names that S3 takes. */
const FILE_NAMES = [
  '../etc/passwd.csv',
  '..',
  'a b.csv',
  'a+b.csv',
  '%2e%2e%2f%2e%2e.csv',
  '%00.csv',
  '🎵🎶.csv',
  `${'ü'.repeat(502)}.csv`, // 1,024 bytes with the folder's name, as many as S3 takes
  "'; DROP TABLE listens; --.csv",
  '") UNION SELECT 1; --.csv',
  `$(touch ${PWNED}).csv`,
  '`id`.csv',
  '-rf.csv',
  '*?[a-z]{1,2}.csv',
  '\u001b[31mred\u0007.csv',
  'line\r\nbreak.csv',
  '\u202evsc.csv',
  'run=x/date=1999-01-01/listens.parquet',
  'a.csv#fragment?query=1&x=<y>.csv',
  '__proto__',
  '//double//slashes',
];

const NAMES = [
  'rock#day',
  'top-genre#1',
  '%23',
  '#',
  'day',
  "Robert'); DROP TABLE listens; --",
  '"quoted", with comma',
  '\u0007bell\u001b[2J',
  'tab\tand\u0085next line',
  '\u202eright to left',
  '🎸',
  'é', // one character
  'e\u0301', // two
  '__proto__',
  'constructor',
  '=HYPERLINK("http://x","y")',
  '${jndi:ldap://x/y}',
  '{{7*7}}',
  '<script>alert(1)</script>',
  'NULL',
  'nan',
  '0',
  'x'.repeat(1_000), // as long as a text of the catalogue may be
];

const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
const csv = (rows: readonly (readonly string[])[]) => rows.map((row) => `${row.map(quoted).join(',')}\n`).join('');

describe('hostile names', () => {
  let pipeline: LocalPipeline;
  let runId: string;
  const songs = NAMES.map((name, i) => ({
    track_id: `t${i}${name.slice(0, 40)}`,
    track_name: name,
    artists: name,
    track_genre: name,
    duration_ms: '60000',
    popularity: '1',
  }));
  // One listen of every track in every file, each at a second of its own, by users with such names.
  const streams = FILE_NAMES.map((_, file) =>
    songs.map(({ track_id }, i) => ({
      user_id: NAMES[(i + file) % NAMES.length]?.slice(0, 100) ?? '',
      track_id,
      listen_time: `${DAY} 10:${String(file).padStart(2, '0')}:${String(i).padStart(2, '0')}`,
    })),
  );

  beforeAll(async () => {
    // Names with a dot or a line first are left by default; here even those are to be taken.
    pipeline = await LocalPipeline.start({ env: { LEAVE_NAMES: '*.never' } });
    const { objects } = pipeline.stores;
    const put = (key: string, rows: readonly Record<string, string>[]) =>
      objects.putText(
        pipeline.config.sourceBucket,
        key,
        csv([Object.keys(rows[0] ?? {}), ...rows.map(Object.values)]),
        'text/csv',
      );
    await put('songs/songs.csv', songs);
    await put('users/users.csv', [{ user_id: '1', user_name: 'Ada', user_country: 'UK' }]);
    for (const [file, name] of FILE_NAMES.entries()) await put(`streams/${name}`, streams[file] ?? []);
    runId = await requestRun(pipeline.stores, { logicalDate: DAY, immediately: true });
    await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
  });
  afterAll(() => pipeline?.stop());

  it('of objects: every file is taken, counted, and archived below a key of its own', async () => {
    const report = await runReport(pipeline.stores, runId);
    expect(report).toMatchObject({
      state: 'completed',
      rows: { kept: FILE_NAMES.length * NAMES.length, rejected: {} },
    });
    expect(report?.files.map(({ key, state }) => [key, state]).sort()).toEqual(
      FILE_NAMES.map((name) => [`streams/${name}`, 'archived']).sort(),
    );
    const archived = [];
    for await (const { key } of pipeline.stores.objects.list(pipeline.config.archiveBucket, '')) archived.push(key);
    expect(archived).toHaveLength(FILE_NAMES.length);
    for (const key of archived) expect(key.startsWith(`streams/${DAY}/${runId}/`)).toBe(true);
    expect(existsSync(PWNED)).toBe(false);
    expect(existsSync(path.join(pipeline.dir, 'etc'))).toBe(false);
    logFault({
      fault: 'hostile name',
      where: 'objects',
      times: FILE_NAMES.length,
      outcome: 'archived below keys of their own',
    });
  });

  it('of genres, songs, artists, tracks and users: every number is right', async () => {
    const [expected] = referenceOf(streams.flat(), songs).days;
    expect(await dayReport(pipeline.stores.kpis, DAY)).toMatchObject(expected ?? {});
    for (const genre of NAMES.filter((name) => name.trim() === name)) {
      const { code, out } = await musicKpis(pipeline, 'genre', '--date', DAY, `--genre=${genre}`, '--json');
      expect([genre, code, JSON.parse(out).listen_count]).toEqual([genre, 0, FILE_NAMES.length]);
    }
    logFault({
      fault: 'hostile name',
      where: 'genres, songs, artists, tracks, users',
      times: NAMES.length * 5,
      outcome: 'counted as they are',
    });
  });

  it('do not reach a terminal or a line of a log as they are', async () => {
    const texts = [];
    for (const args of [
      ['status', runId],
      ['top-songs', '--date', DAY],
      ['top-genres', '--date', DAY],
      ['events'],
      ['explain', '--date', DAY, '--genre', '#'],
      ['runs'],
    ]) {
      const { code, out, err } = await musicKpis(pipeline, ...args);
      expect([args, code]).toEqual([args, 0]);
      texts.push(out, err);
    }
    for (const stage of STAGES) {
      const log = readFileSync(pipeline.logOf(stage), 'utf8');
      for (const line of log.trim().split('\n')) expect(() => JSON.parse(line)).not.toThrow();
      texts.push(log);
    }
    // eslint-disable-next-line no-control-regex -- they are what must not be there
    const control = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/;
    for (const text of texts) expect(control.exec(text)?.[0]).toBeUndefined();
    logFault({
      fault: 'hostile name',
      where: 'terminal and logs',
      times: texts.length,
      outcome: 'no control character',
    });
  });
});
