import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type DayReport, type RunReport, dayReport, requestRun, runReport, waitForRun } from '@music/reports';
import { PATIENCE_MS, workspaceRoot } from '@music/local-stack';
import { labData } from '@music/testing';
import { LocalPipeline } from '@music/local-pipeline';
import { type Reference, reference } from '@music/local-pipeline';

const SAMPLES = path.join(workspaceRoot(), 'samples');
const LAB = labData() ?? '';
const SONGS = 'track_id,track_name,artists,track_genre,duration_ms,popularity\nt1,One,A,pop,60000,1\n';
const USERS = 'user_id,user_name,user_country\n1,Ada,France\n';
const STREAM = 'user_id,track_id,listen_time\n1,t1,2024-06-25 10:00:00\n';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'pipeline-spec-'));
});
afterAll(() => rm(dir, { recursive: true }));

let pipeline: LocalPipeline;
const start = async (env: Record<string, string> = {}) => {
  pipeline = await LocalPipeline.start({ env });
};
afterEach(() => pipeline.stop());

/** A folder like the source bucket. */
let folders = 0;
async function delivery(files: Record<string, string | Buffer>): Promise<string> {
  const folder = path.join(dir, String((folders += 1)));
  for (const [name, body] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), body);
  }
  return folder;
}

async function run(folder?: string): Promise<RunReport> {
  if (folder !== undefined) await pipeline.load(folder);
  const runId = await requestRun(pipeline.stores, { logicalDate: '2024-06-26', immediately: true });
  const ended = await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
  const report = await runReport(pipeline.stores, runId);
  if (ended === undefined || report === undefined) throw new Error(`${runId} did not end: ${JSON.stringify(report)}`);
  return report;
}

/** Every day of the table, without what differs from run to run. */
async function days(dates: readonly string[]): Promise<Reference['days']> {
  const reports = await Promise.all(dates.map((date) => dayReport(pipeline.stores.kpis, date)));
  return reports.map((report) => {
    const { run_id: _run, version: _version, computed_at: _at, ...numbers } = report as DayReport;
    return numbers as unknown as Reference['days'][number];
  });
}

async function keys(bucket: string, prefix = ''): Promise<string[]> {
  const found = [];
  for await (const { key } of pipeline.stores.objects.list(bucket, prefix)) found.push(key);
  return found;
}

describe('the samples', () => {
  it('give the KPIs that are written down, and the files are archived', async () => {
    await start();
    const report = await run(SAMPLES);
    const expected = reference([SAMPLES]);
    expect(report).toMatchObject({ state: 'completed', rows: expected.rows });
    expect(expected.rows.rejected).toEqual({
      duplicate: 2,
      missing_user_id: 1,
      missing_track_id: 1,
      missing_listen_time: 1,
      invalid_listen_time: 2,
    });
    expect(report.days).toEqual(expected.days.map(({ date }) => date));
    expect(await days(report.days)).toEqual(expected.days);
    expect(JSON.parse(await readFile(path.join(SAMPLES, 'expected.json'), 'utf8'))).toEqual(
      JSON.parse(JSON.stringify(expected)),
    );
    expect(report.notes).toEqual({
      unknownTrackListens: 3,
      unknownUserListens: 1,
      unreadableDurations: 1,
      songRows: 200,
    });

    const { config, stores } = pipeline;
    expect(await keys(config.sourceBucket, 'streams/')).toEqual([]);
    expect(await keys(config.sourceBucket)).toEqual(['songs/songs.csv', 'users/users.csv']);
    expect(await keys(config.intermediateBucket)).toEqual([]);
    expect(await keys(config.archiveBucket)).toEqual(
      ['2026-03-01', '2026-03-02'].map((day) => `streams/2024-06-26/${report.run_id}/${day}.csv`),
    );
    const archived = await stores.objects.head(
      config.archiveBucket,
      `streams/2024-06-26/${report.run_id}/2026-03-01.csv`,
    );
    expect(archived?.storageClass).toBe('DEEP_ARCHIVE');
    const rejected = await stores.objects.head(
      config.lakeBucket,
      `quarantine/${report.run_id}/rejected-rows/batch-00000.csv`,
    );
    if (rejected === undefined) throw new Error('no quarantined rows');
    let text = '';
    for await (const chunk of await stores.objects.open(rejected)) text += String(chunk);
    expect(text.trim().split('\n')).toHaveLength(1 + 5);

    // The same files under other names: nothing is counted twice, and it says so.
    const again = await mkdtemp(path.join(dir, 'again-'));
    await mkdir(path.join(again, 'streams'));
    for (const name of await readdir(path.join(SAMPLES, 'streams')))
      await cp(path.join(SAMPLES, 'streams', name), path.join(again, 'streams', `copy-of-${name}`));
    const second = await run(again);
    expect(second).toMatchObject({ state: 'completed', rows: { read: expected.rows.read, kept: 0 } });
    expect(second.files.map(({ copy_of }) => copy_of)).toEqual([
      expect.stringContaining('streams/2026-03-01.csv'),
      expect.stringContaining('streams/2026-03-02.csv'),
    ]);
    expect(await days(report.days)).toEqual(expected.days);

    // And no files at all.
    expect(await run()).toMatchObject({ state: 'skipped', reasons: [expect.stringContaining('no stream files')] });
  });

  it('can be without the listens of unknown tracks, and in another time zone', async () => {
    await start({ UNKNOWN_TRACKS: 'reject', KPI_TIME_ZONE: 'Asia/Tokyo' });
    const report = await run(SAMPLES);
    const expected = reference([SAMPLES], { kpiTimeZone: 'Asia/Tokyo', unknownTracks: 'reject' });
    expect(report.rows).toEqual(expected.rows);
    expect(expected.rows.rejected['unknown_track']).toBe(3);
    expect(await days(report.days)).toEqual(expected.days);
  });
});

describe('bad input', () => {
  it('is rejected by the file, with the reason, and out of the way; the rest completes', async () => {
    await start();
    const report = await run(
      await delivery({
        'songs/songs.csv': SONGS,
        'users/users.csv': USERS,
        'streams/good.csv': STREAM,
        'streams/no-time.csv': 'user_id,track_id\n1,t1\n',
        'streams/only-a-header.csv': 'user_id,track_id,listen_time\n',
        'streams/picture.csv': Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 1]),
        'streams/cut-off.csv': 'user_id,track_id,listen_time\n1,"t1,2024-06-25 10:00:00\n',
        'streams/latin-1.csv': Buffer.from('user_id,track_id,listen_time\né,t1,2024-06-25 10:00:00\n', 'latin1'),
        'streams/bad-rows.csv': `${STREAM}${',t1,2024-06-25 10:00:00\n'.repeat(2)}`,
        'streams/empty.csv': '',
        'streams/sub folder/ü & #1.csv': 'user_id,track_id,listen_time\n2,t1,2024-06-25 11:00:00\n',
      }),
    );
    expect(report.state).toBe('completed');
    expect(Object.fromEntries(report.files.map(({ key, state, reason }) => [key.slice(8), [state, reason]]))).toEqual({
      'good.csv': ['archived', undefined],
      'sub folder/ü & #1.csv': ['archived', undefined],
      'no-time.csv': ['rejected', 'missing_columns'],
      'only-a-header.csv': ['rejected', 'no_rows'],
      'picture.csv': ['rejected', 'not_utf8'],
      'cut-off.csv': ['rejected', 'unterminated_quote'],
      'latin-1.csv': ['rejected', 'not_utf8'],
      'bad-rows.csv': ['rejected', 'too_many_bad_rows'],
      'empty.csv': ['left', 'empty_object'],
    });
    expect(report.rows).toEqual({ read: 2, kept: 2, rejected: {} });
    expect(await days(['2024-06-25'])).toMatchObject([{ listen_count: 2, unique_listeners: 2 }]);
    expect(await keys(pipeline.config.sourceBucket, 'streams/')).toEqual(['streams/empty.csv']);
    const quarantined = await keys(pipeline.config.lakeBucket, `quarantine/${report.run_id}/files/`);
    expect(quarantined.filter((key) => key.endsWith('.reason.json'))).toHaveLength(6);
    expect(await run()).toMatchObject({ state: 'skipped' });
  });

  it('leaves everything for a later run when songs are missing or lack a column', async () => {
    await start();
    const first = await run(await delivery({ 'users/users.csv': USERS, 'streams/a.csv': STREAM }));
    expect(first).toMatchObject({
      state: 'rejected',
      reasons: [expect.stringContaining('no file below songs/')],
      files: [{ key: 'streams/a.csv', state: 'released' }],
    });
    const second = await run(
      await delivery({ 'songs/songs.csv': 'track_id,track_name,artists,track_genre,popularity\nt1,One,A,pop,1\n' }),
    );
    expect(second).toMatchObject({
      state: 'rejected',
      reasons: [expect.stringMatching(/songs\/songs\.csv: missing_columns: duration_ms missing/)],
    });
    expect(await keys(pipeline.config.archiveBucket)).toEqual([]);
    expect(await keys(pipeline.config.sourceBucket, 'streams/')).toEqual(['streams/a.csv']);
    const third = await run(await delivery({ 'songs/songs.csv': SONGS }));
    expect(third).toMatchObject({
      state: 'completed',
      rows: { read: 1, kept: 1, rejected: {} },
      files: [{ state: 'archived' }],
    });
  });

  it('ends the run where the setting says so', async () => {
    await start({ ON_REJECTED_FILE: 'reject' });
    const report = await run(
      await delivery({
        'songs/songs.csv': SONGS,
        'users/users.csv': USERS,
        'streams/a.csv': STREAM,
        'streams/b.csv': 'x\n1\n',
      }),
    );
    expect(report).toMatchObject({
      state: 'rejected',
      files: [{ state: 'released' }, { state: 'rejected', reason: 'missing_columns' }],
    });
    expect(await run()).toMatchObject({ state: 'completed', files: [{ key: 'streams/a.csv', state: 'archived' }] });
    expect(await keys(pipeline.config.sourceBucket, 'streams/')).toEqual([]);
  });
});

const lab = LAB === '' ? describe.skip : describe;

lab('the lab files, where LAB_DATA names them', () => {
  const expected = () => reference([LAB]);
  const lines = async (n: number) =>
    (await readFile(path.join(LAB, 'streams', `streams${n}.csv`), 'utf8')).trimEnd().split('\n');
  const tables = async () => ({
    'songs/songs.csv': await readFile(path.join(LAB, 'songs', 'songs.csv')),
    'users/users.csv': await readFile(path.join(LAB, 'users', 'users.csv')),
  });
  const stream = async (n: number) => ({ [`streams/streams${n}.csv`]: `${(await lines(n)).join('\n')}\n` });

  it('in one run give what the reference gives', async () => {
    await start();
    const report = await run(LAB);
    const { rows, days: all } = expected();
    expect(report.rows).toEqual(rows);
    expect(await days(report.days)).toEqual(all);
    expect(all).toMatchObject([{ date: '2024-06-25', listen_count: 34_038 }]);
    expect(all[0]?.genres).toHaveLength(115);
    expect(all[0]?.genres.find(({ genre }) => genre === 'Unknown')?.listen_count).toBe(41);
  });

  it.each([[[1, 2, 3]], [[3, 1, 2]]])('one file a run, in the order %j, give the same', async (order) => {
    await start();
    await pipeline.load(await delivery(await tables()));
    let read = 0;
    for (const n of order) {
      const report = await run(await delivery(await stream(n)));
      expect(report.state).toBe('completed');
      read += report.rows.kept;
    }
    expect(read).toBe(34_038);
    expect(await days(['2024-06-25'])).toEqual(expected().days);
  });

  it('each split into 40 files, one of them sent twice under another name, give the same', async () => {
    await start({ BATCH_MB: '1' });
    const parts: Record<string, string> = {};
    for (const n of [1, 2, 3]) {
      const [header, ...rows] = await lines(n);
      for (let part = 0; part < 40; part += 1)
        parts[`streams/${n}/${part}.csv`] = `${[header, ...rows.filter((_, i) => i % 40 === part)].join('\n')}\n`;
    }
    parts['streams/copy.csv'] = parts['streams/2/7.csv'] ?? '';
    const copied = (parts['streams/copy.csv'].match(/\n/g)?.length ?? 0) - 1;
    const report = await run(await delivery({ ...(await tables()), ...parts }));
    expect(report.rows).toEqual({ read: 34_038 + copied, kept: 34_038, rejected: { duplicate: copied } });
    expect(report.files).toHaveLength(121);
    expect(await days(['2024-06-25'])).toEqual(expected().days);
  });

  it('in another time zone are two days', async () => {
    await start({ KPI_TIME_ZONE: 'America/New_York' });
    const report = await run(LAB);
    const all = reference([LAB], { kpiTimeZone: 'America/New_York' }).days;
    expect(await days(report.days)).toEqual(all);
    expect(all.map(({ date, listen_count }) => [date, listen_count])).toEqual([
      ['2024-06-24', 5_658],
      ['2024-06-25', 28_380],
    ]);
  });
});
