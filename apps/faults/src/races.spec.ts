import path from 'node:path';
import { PutBucketVersioningCommand } from '@aws-sdk/client-s3';
import { STAGES } from '@music/events';
import { dayAfter, musicKpis } from '@music/local-pipeline';
import { type RunReport, dayReport, requestRun, runReport, waitForRun } from '@music/reports';
import { PATIENCE_MS, workspaceRoot } from '@music/local-stack';
import { logFault } from './fault-log';
import { FaultyPipeline } from './faulty-pipeline';

const HEADER = 'user_id,track_id,listen_time\n';

describe('races', () => {
  let faulty: FaultyPipeline;
  let days = 0;
  let day: string;

  beforeAll(async () => {
    faulty = await FaultyPipeline.start();
    await put(
      'songs/songs.csv',
      'track_id,track_name,artists,duration_ms,popularity,track_genre\nt1,One,A,60000,1,ska\n',
    );
    await put('users/users.csv', 'user_id,user_name,user_country\n1,Ada,UK\n');
  });
  afterAll(() => faulty?.stop());
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
