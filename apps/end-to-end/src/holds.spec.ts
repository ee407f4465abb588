import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { STAGES, type Stage } from '@music/events';
import { PATIENCE_MS, until } from '@music/local-stack';
import { LocalPipeline, dayAfter, musicKpis } from '@music/local-pipeline';
import { type RunReport, dayReport, requestRun, runReport, waitForRun } from '@music/reports';

const SONGS = 'track_id,track_name,artists,track_genre,duration_ms,popularity\nt1,One,A,pop,60000,1\n';
const USERS = 'user_id,user_name,user_country\n1,Ada,France\n';
const HEADER = 'user_id,track_id,listen_time\n';
const CHECKS = `
checks:
  - { check: volume, level: hold, against: last_days, last: 3, least: 2, below: 0.5, above: 5 }
  - { check: volume, level: warn, against: last_days, last: 3, least: 2, below: 0.9, above: 1.5 }
`;
/** Listens of a day that looks well. */
const USUAL = 10;

describe('what looks wrong is held back:', () => {
  let dir: string;
  let pipeline: LocalPipeline;
  let day = '2024-06-25';
  let files = 0;

  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'holds-spec-'));
    await writeFile(path.join(dir, 'checks.yaml'), CHECKS);
    pipeline = await LocalPipeline.start({ env: { CHECKS_FILE: path.join(dir, 'checks.yaml') } });
    await put({ 'songs/songs.csv': SONGS, 'users/users.csv': USERS });
    for (let n = 0; n < 2; n += 1) {
      expect(await deliver(USUAL)).toMatchObject({ state: 'completed', findings: [] }); // no history, no hold
      day = dayAfter(day, 1);
    }
  });
  afterAll(async () => {
    await pipeline?.stop();
    await rm(dir, { recursive: true });
  });
  /** Later tests find days that look well before theirs. */
  afterEach(async () => {
    day = dayAfter(day, 1);
    for (let n = 0; n < 3; n += 1) {
      const { run_id, state } = await deliver(USUAL);
      if (state === 'held') await kpis('release', run_id, '--wait');
      day = dayAfter(day, 1);
    }
  });

  const put = (texts: Record<string, string>) => pipeline.putTexts(texts);
  /** A new file, or a new version of one, with so many listens of the day that no other file has. */
  async function deliver(listens: number, name = `${(files += 1)}`): Promise<RunReport> {
    const salt = (files += 1);
    const rows = Array.from({ length: listens }, (_, n) => `u${salt}-${n},t1,${day} 10:00:00\n`);
    await put({ [`streams/${name}.csv`]: HEADER + rows.join('') });
    const runId = await requestRun(pipeline.stores, { logicalDate: day, immediately: true });
    await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
    return (await runReport(pipeline.stores, runId)) as RunReport;
  }
  const kpis = (...args: string[]) => musicKpis(pipeline, ...args);
  const decide = async (...args: string[]) => {
    const { code, out, err } = await kpis(...args, '--by', 'ada', '--wait', '--json');
    return code === 2 ? { code, err } : { code, report: JSON.parse(out) as RunReport };
  };
  const counted = async (date = day) => (await dayReport(pipeline.stores.kpis, date))?.listen_count;

  it('what was published stays, others go on without it, and a release publishes it, once', async () => {
    const { run_id, state, findings } = await deliver(2);
    expect([state, findings]).toEqual([
      'held',
      [
        {
          check: 'volume',
          level: 'hold',
          date: day,
          text: '2 listens, less than 0.5 times the median of 2 days before, 10',
        },
        expect.objectContaining({ check: 'volume', level: 'warn' }),
      ],
    ]);
    expect(await counted()).toBeUndefined();
    const status = await kpis('status', run_id);
    expect(status.out).toContain(`music-kpis release ${run_id}`);
    expect(status.code).toBe(1);
    expect((await kpis('events', '--run', run_id)).out).toContain('music.run.held');
    await untilTold('sensor', 'music_runs_held', 1);
    await untilTold('glue-trigger', 'music_check_findings_total{check="volume",level="hold"', 1);
    expect(await kpis('rerun', run_id, '--from-stage', 'combiner')).toMatchObject({
      code: 2,
      err: expect.stringContaining('is held'),
    });

    expect(await deliver(9)).toMatchObject({ state: 'completed', rows: { kept: 9 }, findings: [] });
    expect(await counted()).toBe(9);

    expect(await decide('release', run_id)).toMatchObject({
      code: 0,
      report: { state: 'completed', days: [day], decision: { what: 'release', by: 'ada' }, rows: { kept: 2 } },
    });
    expect(await counted()).toBe(11);
    expect(await decide('release', run_id)).toMatchObject({
      code: 2,
      err: expect.stringContaining('it was released by ada'),
    });
    expect(await decide('discard', run_id, '--reason', 'late')).toMatchObject({ code: 2 });
    await untilTold('sensor', 'music_runs_held', 0);
    // What every stage tells besides: nothing is left to do.
    for (const stage of STAGES) await untilTold(stage, `music_work{stage="${stage}",state="waiting"`, 0);
  });

  it('a warning is told, and published', async () => {
    const { state, findings, run_id } = await deliver(8);
    expect([state, findings.map(({ level }) => level)]).toEqual(['completed', ['warn']]);
    expect(await counted()).toBe(8);
    expect((await kpis('events', '--run', run_id, '--json')).out).toContain('warn: volume of');
    expect((await kpis('status', run_id)).out).toContain('warn: volume of');
  });

  it('a run that is discarded takes back what it delivered, and can be given back', async () => {
    const { run_id } = await deliver(100);
    expect(await decide('discard', run_id, '--reason', 'a test of the app')).toMatchObject({
      code: 0,
      report: {
        state: 'completed',
        decision: { what: 'discard', reason: 'a test of the app' },
        rows: { read: 100, kept: 0, rejected: { retracted: 100 } },
        files: [{ state: 'archived', retracted: expect.stringContaining('a test of the app') }],
      },
    });
    expect(await counted()).toBe(0);
    await kpis('restore', '--run', run_id, '--reason', 'it was real', '--wait');
    expect(await counted()).toBe(100);
  });

  it('a new version of a file replaces the one before only once it is released', async () => {
    await pipeline.replaceService('sensor', { SAME_NAME: 'replace' });
    await deliver(10, 'same');
    await new Promise((resolve) => setTimeout(resolve, 1_100)); // a version is told by the second
    const { run_id, state } = await deliver(1, 'same');
    expect([state, await counted()]).toEqual(['held', 10]);
    await deliver(5);
    expect(await counted()).toBe(15);
    await decide('release', run_id);
    expect(await counted()).toBe(6);
    await pipeline.replaceService('sensor');
  });

  it('backfills are checked, and end without a number where they are discarded; who takes back is not held', async () => {
    await deliver(2, 'few').then(({ run_id }) => decide('release', run_id));
    const more = await deliver(10, 'more');
    expect(await counted()).toBe(12);
    expect((await kpis('retract', '--run', more.run_id, '--reason', 'x', '--wait')).code).toBe(0);
    expect(await counted()).toBe(2);
    const backfill = await kpis('backfill', '--from', day, '--to', day, '--wait', '--json');
    const report = JSON.parse(backfill.out) as RunReport;
    expect([backfill.code, report.state]).toEqual([1, 'held']);
    const before = await pipeline.stores.kpis.readDay(day);
    expect(await decide('discard', report.run_id, '--reason', 'as it was')).toMatchObject({
      code: 1,
      report: { state: 'rejected', reasons: ['discarded by ada: as it was'] },
    });
    expect(await pipeline.stores.kpis.readDay(day)).toEqual(before);
    expect((await pipeline.stores.runs.standing.list()).held).toEqual([]);
  });

  it('checks that are wrong stop the service at its start, with all that is wrong', async () => {
    const wrong = path.join(dir, 'wrong.yaml');
    await writeFile(wrong, 'checks: [{ check: volumes, level: hold }, { check: volume, level: no }]');
    const child = pipeline.spawnService('glue-trigger', { CHECKS_FILE: wrong });
    await until('it has ended', async () => !child.running);
    expect(child.lastLines(20)).toMatch(/glue-trigger does not start: wrong settings:/);
    expect(child.lastLines(20)).toMatch(/check 1: check is one of .*not "volumes"/);
    expect(child.lastLines(20)).toMatch(/check 2 \(volume\): level must be one of/);
  });

  /** Waits until a service tells a number; it may be as old as 15 s. */
  async function untilTold(stage: Stage, name: string, expected: number): Promise<void> {
    const [child] = pipeline.children(stage);
    if (child === undefined) throw new Error(`there is no ${stage}`);
    const { metrics } = pipeline.portsOf(child);
    const told = async () => {
      const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
      const line = text.split('\n').find((each) => each.startsWith(name));
      return Number(line?.split(' ').at(-1)) === expected;
    };
    await until(`${name} is ${expected}`, told, PATIENCE_MS, 1_000);
  }
});
