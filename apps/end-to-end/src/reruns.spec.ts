import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type RunReport, dayReport, requestRun, runReport, waitForRun } from '@music/reports';
import { versionOf } from '@music/runs';
import { PATIENCE_MS, workspaceRoot } from '@music/local-stack';
import { LocalPipeline } from '@music/local-pipeline';
import { musicKpis } from '@music/local-pipeline';
import { reference } from '@music/local-pipeline';

const SAMPLES = path.join(workspaceRoot(), 'samples');
const DAYS = ['2026-03-01', '2026-03-02'];
const SONGS = 'track_id,track_name,artists,track_genre,duration_ms,popularity\nt1,One,A,pop,60000,1\n';
const USERS = 'user_id,user_name,user_country\n1,Ada,France\n';
const HEADER = 'user_id,track_id,listen_time\n';

describe('days, files and runs can be done again:', () => {
  let dir: string;
  let pipeline: LocalPipeline;

  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'reruns-spec-'));
  });
  afterEach(async () => {
    await pipeline.stop();
    await rm(dir, { recursive: true });
  });

  const put = (texts: Record<string, string>) => pipeline.putTexts(texts);
  async function run(force = false): Promise<RunReport> {
    const runId = await requestRun(pipeline.stores, { logicalDate: '2024-06-26', immediately: true, force });
    await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
    return (await runReport(pipeline.stores, runId)) as RunReport;
  }
  /** Writes down that a run took the file as it is now. Gives its version. */
  async function take(key: string, runId: string): Promise<string> {
    const { stores, config } = pipeline;
    const object = await stores.objects.head(config.sourceBucket, key);
    if (object === undefined) throw new Error(`${key} is not there`);
    const version = versionOf(object);
    await stores.runs.files.take({ key, version, runId });
    return version;
  }
  const kpis = (...args: string[]) => musicKpis(pipeline, ...args);
  const listens = async (date = '2024-06-25') => (await dayReport(pipeline.stores.kpis, date))?.listen_count;

  it('a corrected catalogue is applied to old days by a backfill, without their files', async () => {
    pipeline = await LocalPipeline.start();
    await pipeline.load(SAMPLES);
    const first = await run();
    const before = await pipeline.stores.kpis.readDay('2026-03-02');

    const songs = (await readFile(path.join(SAMPLES, 'songs', 'songs.csv'), 'utf8')).replaceAll('dub', 'reggae');
    await put({ 'songs/songs.csv': songs });
    const corrected = path.join(dir, 'corrected');
    for (const kind of ['streams', 'songs', 'users']) await mkdir(path.join(corrected, kind), { recursive: true });
    await writeFile(path.join(corrected, 'songs', 'songs.csv'), songs);
    for (const day of DAYS)
      await writeFile(
        path.join(corrected, 'streams', `${day}.csv`),
        await readFile(path.join(SAMPLES, 'streams', `${day}.csv`)),
      );

    const dry = await kpis('backfill', '--from', '2026-01-01', '--to', '2026-03-02', '--dry-run', '--json');
    expect(JSON.parse(dry.out)).toEqual(
      DAYS.map((date) => ({ date, version: 1, run_id: first.run_id, songs_version: before?.songs_version })),
    );
    expect(await kpis('backfill', '--from', '2025-01-01', '--to', '2025-02-01')).toMatchObject({ code: 2 });

    const { code, out } = await kpis('backfill', '--from', '2026-03-02', '--to', '2026-03-02', '--wait', '--json');
    expect([code, JSON.parse(out)]).toMatchObject([
      0,
      { state: 'completed', days: ['2026-03-02'], version: 2, files: [] },
    ]);
    const expected = reference([corrected]).days;
    expect(expected[1]?.genres.map(({ genre }) => genre)).toContain('reggae');
    expect(await dayReport(pipeline.stores.kpis, '2026-03-02')).toMatchObject(expected[1] ?? {});
    expect(await dayReport(pipeline.stores.kpis, '2026-03-01')).toMatchObject(reference([SAMPLES]).days[0] ?? {});
    expect((await pipeline.stores.kpis.readDay('2026-03-02'))?.songs_version).not.toBe(before?.songs_version);

    const lineage = JSON.parse((await kpis('explain', '--date', '2026-03-02', '--genre', 'reggae', '--json')).out);
    expect(lineage).toMatchObject({
      day: { run_id: JSON.parse(out).run_id, engine: 'duckdb', version: 2, sql_version: before?.sql_version },
      runs: [{ run_id: first.run_id, manifest: expect.stringContaining(`runs/${first.run_id}/manifest-`) }],
    });
    expect(lineage.runs[0].files).toEqual(
      DAYS.map((day) => ({
        key: `streams/${day}.csv`,
        version: expect.any(String),
        sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        now_at: `s3://${pipeline.config.archiveBucket}/streams/2024-06-26/${first.run_id}/${day}.csv`,
      })),
    );
    expect((await kpis('explain', '--date', '2026-03-02', '--genre', 'reggae')).out).toContain(first.run_id);
    expect(await kpis('explain', '--date', '2026-03-02', '--genre', 'dub')).toMatchObject({ code: 2 });
  });

  it('a corrected file adds what is new in it; listens that were counted stay', async () => {
    pipeline = await LocalPipeline.start();
    await put({
      'songs/songs.csv': SONGS,
      'users/users.csv': USERS,
      'streams/a.csv': `${HEADER}1,t1,2024-06-25 10:00:00\n1,t1,2024-06-25 11:00:00\n`,
    });
    await run();
    await put({ 'streams/a.csv': `${HEADER}1,t1,2024-06-25 11:00:00\n1,t1,2024-06-25 12:00:00\n` });
    expect(await run()).toMatchObject({ state: 'completed', rows: { read: 2, kept: 1, rejected: { duplicate: 1 } } });
    expect(await listens()).toBe(3);
  });

  it('files that an earlier run took are left, or taken again by force without counting twice', async () => {
    pipeline = await LocalPipeline.start();
    await put({
      'songs/songs.csv': SONGS,
      'users/users.csv': USERS,
      'streams/a.csv': `${HEADER}1,t1,2024-06-25 10:00:00\n`,
    });
    const { run_id } = await run();
    await put({ 'streams/a.csv': `${HEADER}1,t1,2024-06-25 10:00:00\n` });
    const version = await take('streams/a.csv', run_id);
    await pipeline.stores.runs.files.update('streams/a.csv', version, run_id, { state: 'passed' });
    expect(await run()).toMatchObject({
      state: 'skipped',
      files: [{ key: 'streams/a.csv', state: 'left', reason: 'taken' }],
    });
    expect(await run(true)).toMatchObject({
      state: 'completed',
      rows: { read: 1, kept: 0, rejected: { duplicate: 1 } },
    });
    expect(await listens()).toBe(1);
  });

  it('a file that was taken for a run, but is in no manifest of it, is taken by the next one', async () => {
    pipeline = await LocalPipeline.start();
    await put({
      'songs/songs.csv': SONGS,
      'users/users.csv': USERS,
      'streams/a.csv': `${HEADER}1,t1,2024-06-25 10:00:00\n`,
    });
    const { run_id } = await run();
    await put({ 'streams/b.csv': `${HEADER}1,t1,2024-06-25 11:00:00\n` });
    await take('streams/b.csv', run_id);
    expect(await run()).toMatchObject({ state: 'completed', files: [{ key: 'streams/b.csv', state: 'archived' }] });
    expect(await listens()).toBe(2);
  });

  it('a rejected run goes on from the validator, and a failed one from where it is told to', async () => {
    pipeline = await LocalPipeline.start({ env: { ON_REJECTED_FILE: 'reject', WORK_ATTEMPTS: '1' } });
    const rerun = async (runId: string, stage: string) => {
      const { code, out, err } = await kpis('rerun', runId, '--from-stage', stage, '--wait', '--json');
      return { code, err, report: out === '' ? undefined : (JSON.parse(out) as RunReport) };
    };
    await put({
      'songs/songs.csv': SONGS,
      'users/users.csv': USERS,
      'streams/a.csv': `${HEADER}1,t1,2024-06-25 10:00:00\n`,
      'streams/b.csv': 'x\n1\n',
    });
    const { run_id, state } = await run();
    expect(state).toBe('rejected');
    expect(await rerun(run_id, 'archiver')).toMatchObject({
      code: 2,
      err: expect.stringContaining('never got as far as the archiver'),
    });

    await pipeline.replaceService('archiver', { ARCHIVE_BUCKET: 'not-there' });
    await pipeline.replaceService('validator', { ON_REJECTED_FILE: 'continue' });
    const failed = await rerun(run_id, 'validator');
    expect(failed).toMatchObject({ code: 1, report: { state: 'failed', rows: { read: 1, kept: 1 } } });
    expect(await listens()).toBe(1);

    await pipeline.replaceService('archiver');
    const { code, report } = await rerun(run_id, 'glue-trigger');
    expect([code, report?.state]).toEqual([0, 'completed']);
    // Computed again, in a turn of its own: what was mended since the last one counts.
    expect(report?.version).toBeGreaterThan(failed.report?.version ?? Infinity);
    expect(await rerun(run_id, 'archiver')).toMatchObject({ code: 2, err: expect.stringContaining('is completed') });
    expect(await listens()).toBe(1);
    const archived = [];
    for await (const { key } of pipeline.stores.objects.list(pipeline.config.archiveBucket, '')) archived.push(key);
    expect(archived).toEqual([`streams/2024-06-26/${run_id}/a.csv`]);
  });

  it('a run whose numbers were computed but not published is computed again when others have had their turn since', async () => {
    pipeline = await LocalPipeline.start({ env: { WORK_ATTEMPTS: '1' } });
    await pipeline.replaceService('glue-trigger', { KPI_TABLE: 'not-there' });
    await put({
      'songs/songs.csv': SONGS,
      'users/users.csv': USERS,
      'streams/a.csv': `${HEADER}1,t1,2024-06-25 10:00:00\n`,
    });
    const first = await run();
    expect(first).toMatchObject({ state: 'failed', job: { engine: 'duckdb' } });
    await pipeline.replaceService('glue-trigger');
    await put({ 'streams/b.csv': `${HEADER}2,t1,2024-06-25 11:00:00\n` });
    expect((await run()).state).toBe('completed');
    const replayed = await kpis('replay', '--run', first.run_id);
    expect(replayed.code).toBe(0);
    await pipeline.untilRunIs('completed', first.run_id);
    expect(await runReport(pipeline.stores, first.run_id)).toMatchObject({ state: 'completed' });
    expect(await listens()).toBe(2);
  });
});
