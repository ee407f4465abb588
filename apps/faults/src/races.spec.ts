import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { PutBucketVersioningCommand } from '@aws-sdk/client-s3';
import { ErasureKey } from '@music/erasure';
import { STAGES } from '@music/events';
import { dayAfter, musicKpis } from '@music/local-pipeline';
import {
  type RunReport,
  dayReport,
  requestForget,
  requestRun,
  requestStanding,
  runReport,
  waitForRun,
} from '@music/reports';
import { PATIENCE_MS, workspaceRoot } from '@music/local-stack';
import { logFault } from './fault-log';
import { FaultyPipeline } from './faulty-pipeline';

const HEADER = 'user_id,track_id,listen_time\n';

describe('races', () => {
  let faulty: FaultyPipeline;
  let dir: string;
  let keyFile: string;
  let days = 0;
  let day: string;

  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'races-spec-'));
    keyFile = path.join(dir, 'key');
    await writeFile(keyFile, 'a key of 32 bytes that a spec has');
    faulty = await FaultyPipeline.start({ env: { ERASURE_KEY_FILE: keyFile } });
    await put(
      'songs/songs.csv',
      'track_id,track_name,artists,duration_ms,popularity,track_genre\nt1,One,A,60000,1,ska\n',
    );
    await put('users/users.csv', 'user_id,user_name,user_country\n1,Ada,UK\n');
  });
  afterAll(async () => {
    await faulty?.stop();
    await rm(dir, { recursive: true });
  });
  beforeEach(() => {
    days += 1;
    day = dayAfter('2024-12-31', days);
  });
  afterEach(() => {
    faulty.proxies.gate = () => 'pass';
  });

  const put = (key: string, text: string) =>
    faulty.pipeline.stores.objects.putText(faulty.pipeline.config.sourceBucket, key, text, 'text/csv');
  /** A file with one listen at each of these hours of the test's day. */
  const listens = (...hours: number[]) =>
    HEADER + hours.map((hour) => `1,t1,${day} ${String(hour).padStart(2, '0')}:00:00\n`).join('');
  const counted = async () => (await dayReport(faulty.pipeline.stores.kpis, day))?.listen_count;
  const request = (date = day) => requestRun(faulty.pipeline.stores, { logicalDate: date, immediately: true });
  const ended = async (runId: string): Promise<RunReport | undefined> => {
    await waitForRun(faulty.pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
    return runReport(faulty.pipeline.stores, runId);
  };
  const run = async () => ended(await request());
  const log = (fault: string, where: string, outcome: string, times = 1) => logFault({ fault, where, times, outcome });

  it('a file uploaded while the manifest is frozen is the next run’s', async () => {
    await put('streams/a.csv', listens(1, 2));
    const held = faulty.during('sensor', 'PutObject music-lake/runs', () => put('streams/b.csv', listens(3)));
    expect(await run()).toMatchObject({ state: 'completed', files: [{ key: 'streams/a.csv', state: 'archived' }] });
    await held;
    expect([await counted(), await faulty.sourceKeys()]).toEqual([2, ['streams/b.csv']]);
    expect(await run()).toMatchObject({ state: 'completed', files: [{ key: 'streams/b.csv', state: 'archived' }] });
    expect([await counted(), await faulty.sourceKeys()]).toEqual([3, []]);
    log('upload', 'sensor freezes the manifest', 'counted by the next run');
  });

  it('a file replaced between sensing and combining is left, whole, to the next run', async () => {
    await put('streams/a.csv', listens(1, 2));
    await put('streams/b.csv', listens(3));
    const held = faulty.during('combiner', 'GetObject music-source/streams', () =>
      put('streams/a.csv', listens(4, 5, 6)),
    );
    expect(await run()).toMatchObject({
      state: 'completed',
      files: [
        { key: 'streams/a.csv', state: 'changed', reason: 'source_changed' },
        { key: 'streams/b.csv', state: 'archived' },
      ],
    });
    await held;
    expect([await counted(), await faulty.sourceKeys()]).toEqual([1, ['streams/a.csv']]);
    expect(await run()).toMatchObject({ state: 'completed', files: [{ key: 'streams/a.csv', state: 'archived' }] });
    expect([await counted(), await faulty.sourceKeys()]).toEqual([4, []]);
    log('replacement', 'between sensing and combining', 'the new version counts in the next run');
  });

  it('a file replaced between combining and archiving counts, and so does the new one', async () => {
    await put('streams/a.csv', listens(1, 2));
    const held = faulty.during('archiver', 'CopyObject music-archive', () => put('streams/a.csv', listens(2, 3)));
    const report = await run();
    await held;
    expect(report).toMatchObject({
      state: 'completed',
      files: [{ key: 'streams/a.csv', detail: expect.stringContaining('its rows count') }],
    });
    expect([await counted(), await faulty.sourceKeys()]).toEqual([2, ['streams/a.csv']]);
    expect(await run()).toMatchObject({
      state: 'completed',
      files: [{ key: 'streams/a.csv', state: 'archived' }],
      rows: { read: 2, kept: 1 },
    });
    expect([await counted(), await faulty.sourceKeys()]).toEqual([3, []]);
    log('replacement', 'between combining and archiving', 'both count; status tells that the old one is not archived');
  });

  it('a file that lands during the KPI job is neither lost nor archived early', async () => {
    await put('streams/a.csv', listens(1, 2));
    const held = faulty.during('glue-trigger', 'CopyObject music-lake/listens', () => put('streams/b.csv', listens(3)));
    expect(await run()).toMatchObject({ state: 'completed', files: [{ key: 'streams/a.csv', state: 'archived' }] });
    await held;
    expect([await counted(), await faulty.sourceKeys()]).toEqual([2, ['streams/b.csv']]);
    await run();
    expect([await counted(), await faulty.sourceKeys()]).toEqual([3, []]);
    log('upload', 'during the KPI job', 'counted by the next run');
  });

  it('two triggers of one date are one run', async () => {
    await put('streams/a.csv', listens(1));
    const trigger = () => musicKpis(faulty.pipeline, 'run', '--scheduled', '--date', day, '--now', '--wait', '--json');
    const both = await Promise.all([trigger(), trigger()]);
    expect(both.map(({ code, out }) => [code, JSON.parse(out).run_id, JSON.parse(out).state])).toEqual(
      Array.from({ length: 2 }, () => [0, `scheduled__${day}`, 'completed']),
    );
    expect(
      (await faulty.pipeline.stores.runs.listRuns(100)).filter(({ runId }) => runId === `scheduled__${day}`),
    ).toHaveLength(1);
    expect(await counted()).toBe(1);
    log('two triggers', 'of one date', 'one run');
  });

  it('two sensors take each file once', async () => {
    const second = await faulty.pipeline.startService('sensor');
    const runs = [];
    for (let hour = 0; hour < 6; hour += 1) {
      await put(`streams/${hour}.csv`, listens(hour));
      runs.push(await request());
    }
    const reports = await Promise.all(runs.map(ended));
    for (const report of reports) expect(['completed', 'skipped']).toContain(report?.state);
    const taken = reports.flatMap(
      (report) => report?.files.filter(({ state }) => state === 'archived').map(({ key }) => key) ?? [],
    );
    expect(taken.sort()).toEqual(Array.from({ length: 6 }, (_, hour) => `streams/${hour}.csv`));
    expect([await counted(), await faulty.sourceKeys()]).toEqual([6, []]);
    await second.stop();
    log('two sensors', '6 files, 6 runs', 'each file taken once', 6);
  });

  it('two runs that touch one day add up, also where they are under way at once', async () => {
    await faulty.pipeline.replaceService('sensor', { MAX_ACTIVE_RUNS: '2' });
    await put('streams/a.csv', listens(1, 2, 3));
    let second = '';
    const held = faulty.during('glue-trigger', 'CopyObject music-lake/listens', async () => {
      await put('streams/b.csv', listens(3, 4));
      second = await request();
      await faulty.pipeline.untilRunIs('validated', second);
    });
    expect(await run()).toMatchObject({ state: 'completed', rows: { kept: 3 } });
    await held;
    expect(await ended(second)).toMatchObject({ state: 'completed', rows: { kept: 1, rejected: { duplicate: 1 } } });
    expect(await counted()).toBe(4);
    log('two runs', 'at once, of one day', 'each listen counts once');
    await faulty.pipeline.replaceService('sensor');
  });

  it('a consumer group that is rebalanced in the middle of a batch does the batch once', async () => {
    await put('streams/a.csv', listens(1, 2));
    const held = faulty.during('combiner', 'PutObject music-intermediate', () =>
      faulty.pipeline.startService('combiner'),
    );
    expect(await run()).toMatchObject({ state: 'completed', rows: { kept: 2 } });
    await held;
    expect([await counted(), await faulty.sourceKeys()]).toEqual([2, []]);
    await faulty.pipeline.children('combiner')[1]?.stop();
    log('rebalancing', 'combiner, in the middle of a batch', 'counted once');
  });

  describe('of what is taken back:', () => {
    beforeAll(async () => {
      await faulty.pipeline.replaceService('sensor', { MAX_ACTIVE_RUNS: '2', SAME_NAME: 'replace' });
    });
    afterAll(() => faulty.pipeline.replaceService('sensor'));

    const ask = (change: 'retract' | 'restore', of: { key: string } | { ofRun: string }) =>
      requestStanding(faulty.pipeline.stores, { change, ...of, reason: 'a race' }, day);
    const take = (name: string) => `streams/${day}/${name}.csv`;

    it('a retraction while another run of the day computes', async () => {
      await put(take('a'), listens(1, 2));
      await run();
      await put(take('b'), listens(2, 3));
      let retraction = '';
      const held = faulty.during('glue-trigger', 'CopyObject music-lake/listens', async () => {
        retraction = await ask('retract', { key: take('a') });
        await faulty.pipeline.untilRunIs('validated', retraction);
      });
      expect(await run()).toMatchObject({ state: 'completed', rows: { kept: 1 } });
      await held;
      expect(await ended(retraction)).toMatchObject({ state: 'completed', days: [day] });
      expect(await counted()).toBe(2);
      log('retraction', 'while a run of the day computes', 'both count as if one after the other');
    });

    it('two retractions of one file, and a restoration', async () => {
      await put(take('a'), listens(1, 2));
      await run();
      const both = await Promise.all([1, 2].map(() => ask('retract', { key: take('a') })));
      const states = (await Promise.all(both.map(ended))).map((report) => report?.state).sort();
      expect(['completed,completed', 'completed,skipped']).toContain(states.join());
      expect(await counted()).toBe(0);
      expect(await ended(await ask('restore', { key: take('a') }))).toMatchObject({ state: 'completed' });
      expect(await counted()).toBe(2);
      log('two retractions', 'of one file', 'taken back once, and given back');
    });

    it('a replacement and a retraction of one file', async () => {
      await put(take('a'), listens(1, 2));
      await run();
      await pause(1_100); // versions are told by the second
      await put(take('a'), listens(3));
      let retraction = '';
      const held = faulty.during('glue-trigger', 'CopyObject music-lake/listens', async () => {
        retraction = await ask('retract', { key: take('a') });
        await faulty.pipeline.untilRunIs('validated', retraction);
      });
      const replacing = await run();
      await held;
      expect(await ended(retraction)).toMatchObject({ state: 'completed' });
      expect(await counted()).toBe(0);
      await ended(await ask('restore', { ofRun: replacing?.run_id ?? '' }));
      expect(await counted()).toBe(1);
      log('replacement and retraction', 'of one file at once', 'neither version counts, until one is given back');
    });

    it('a replica that slept through a retraction and a restoration changes nothing', async () => {
      await put(take('a'), listens(1, 2));
      await run();
      const [sleeper] = faulty.pipeline.children('glue-trigger');
      const held = faulty.during('glue-trigger', 'PutItem standing', async () => {
        sleeper?.kill('SIGSTOP');
        await faulty.pipeline.startService('glue-trigger');
        expect(await ended(retraction)).toMatchObject({ state: 'completed' });
        expect(await counted()).toBe(0);
        expect(await ended(await ask('restore', { key: take('a') }))).toMatchObject({ state: 'completed' });
        sleeper?.kill('SIGCONT');
      });
      const retraction = await ask('retract', { key: take('a') });
      await held;
      await pause(2_000); // it goes on with what it was at
      expect(await counted()).toBe(2);
      expect(
        (await faulty.pipeline.stores.runs.standing.list()).standings.find(({ key }) => key === take('a'))?.stands,
      ).toBe(true);
      await sleeper?.stop();
      log('sleep', 'glue-trigger, before it takes a delivery back', 'what came meanwhile stays');
    });

    it('a user who is forgotten while a file of theirs is combined, and while one is placed', async () => {
      await faulty.pipeline.replaceService('validator', { CONCURRENCY: '2' });
      const { stores, config } = faulty.pipeline;
      const forget = (id: string) =>
        requestForget(stores, config.lakeBucket, { hashes: [ErasureKey.read(keyFile).hash(id)] }, day);
      const file = (id: string) => `${HEADER}${id},t1,${day} 01:00:00\n1,t1,${day} 02:00:00\n`;
      await put(take('combined'), file('going'));
      const before = faulty.during('validator', 'PutObject music-intermediate/runs/validated', async () => {
        expect(await ended(await forget('going'))).toMatchObject({ state: 'completed' });
      });
      expect(await run()).toMatchObject({ state: 'completed' });
      await before;
      expect(await counted()).toBe(1);

      await put(take('placed'), file('gone'));
      let erasure = '';
      const held = faulty.during('glue-trigger', 'CopyObject music-lake/listens', async () => {
        erasure = await forget('gone');
        await faulty.pipeline.untilRunIs('validated', erasure);
      });
      expect(await run()).toMatchObject({ state: 'completed' });
      await held;
      expect(await ended(erasure)).toMatchObject({ state: 'completed' });
      expect(await counted()).toBe(1);
      await faulty.pipeline.replaceService('validator');
      log('erasure', 'of a user whose file is combined, or placed', 'no listen of theirs is left');
    });
  });

  it('clocks that are 10 minutes apart change nothing', async () => {
    const skewed = (ms: number) => ({
      NODE_OPTIONS: `--require ${path.join(workspaceRoot(), 'apps/faults/src/skewed-clock.cjs')}`,
      CLOCK_SKEW_MS: String(ms),
    });
    const undisturbed = await faulty.undisturbed();
    for (const stage of STAGES) {
      await Promise.all(faulty.pipeline.children(stage).map((child) => child.stop()));
      await Promise.all([600_000, -600_000].map((ms) => faulty.pipeline.startService(stage, skewed(ms))));
    }
    for (let i = 0; i < 3; i += 1) expect(await faulty.undisturbed()).toEqual(undisturbed);
    log('clock skew', 'two replicas of each stage, one 10 min ahead, one 10 min behind', 'as undisturbed', 3);
  });

  // The last one, since the local S3 server goes on listing what was removed from a bucket with versions.
  it('a file replaced in a bucket with versions counts as it was taken, and the new one in the next run', async () => {
    const { stores, config } = faulty.pipeline;
    const versions = { Bucket: config.sourceBucket, VersioningConfiguration: { Status: 'Enabled' } } as const;
    await stores.s3.send(new PutBucketVersioningCommand(versions));
    await put('streams/versions.csv', listens(1, 2));
    const held = faulty.during('combiner', 'GetObject music-source/streams', () =>
      put('streams/versions.csv', listens(4, 5, 6)),
    );
    const files = [{ key: 'streams/versions.csv', state: 'archived' }];
    expect(await run()).toMatchObject({ state: 'completed', rows: { kept: 2 }, files });
    await held;
    expect(await counted()).toBe(2);
    expect(await run()).toMatchObject({ state: 'completed', rows: { kept: 3 }, files });
    expect(await counted()).toBe(5);
    log('replacement', 'between sensing and combining, bucket with versions', 'both versions count');
  });
});
