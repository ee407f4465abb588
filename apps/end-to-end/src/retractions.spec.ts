import { PATIENCE_MS } from '@music/local-stack';
import { LocalPipeline, dayAfter, musicKpis } from '@music/local-pipeline';
import { type RunReport, dayReport, requestRun, runReport, waitForRun } from '@music/reports';
import { LEFT_OUT_KEY, lakeDay } from '@music/lake';

const SONGS =
  'track_id,track_name,artists,track_genre,duration_ms,popularity\nt1,One,A,pop,60000,1\nt2,Two,B,ska,1,1\n';
const USERS = 'user_id,user_name,user_country\n1,Ada,France\n';
const HEADER = 'user_id,track_id,listen_time\n';

describe('what was delivered wrongly is taken back:', () => {
  let pipeline: LocalPipeline;
  let days = 0;
  let day: string;

  beforeAll(async () => {
    pipeline = await LocalPipeline.start({ env: { LAKE_MAX_OBJECTS: '3' } });
    await put({ 'songs/songs.csv': SONGS, 'users/users.csv': USERS });
  });
  afterAll(() => pipeline?.stop());
  beforeEach(() => {
    days += 1;
    day = dayAfter('2024-06-25', days);
  });

  const put = (texts: Record<string, string>) => pipeline.putTexts(texts);
  /** A file with one listen at each of these hours of the test's day. */
  const listens = (...hours: number[]) =>
    HEADER + hours.map((hour) => `1,t1,${day} ${String(hour).padStart(2, '0')}:00:00\n`).join('');
  const run = async (): Promise<RunReport> => {
    const runId = await requestRun(pipeline.stores, { logicalDate: day, immediately: true });
    await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
    return (await runReport(pipeline.stores, runId)) as RunReport;
  };
  const deliver = async (files: Record<string, string>) => {
    await put(Object.fromEntries(Object.entries(files).map(([name, body]) => [`streams/${day}/${name}.csv`, body])));
    return run();
  };
  const kpis = (...args: string[]) => musicKpis(pipeline, ...args);
  const file = (name: string) => ['--file', `streams/${day}/${name}.csv`];
  const change = async (...args: string[]) => {
    const { code, out, err } = await kpis(...args, '--reason', 'wrong file', '--by', 'ada', '--wait', '--json');
    return code === 2 ? { code, err } : { code, report: JSON.parse(out) as RunReport };
  };
  const report = (date = day) => dayReport(pipeline.stores.kpis, date);
  const counted = async (date = day) => (await report(date))?.listen_count;

  it('its listens go, but for those that another delivery has; and come back the same', async () => {
    await deliver({ a: listens(1, 2, 3), b: listens(3, 4) });
    const before = await report();
    expect(before?.listen_count).toBe(4);

    const dry = await kpis('retract', ...file('a'), '--reason', 'x', '--dry-run', '--json');
    expect(JSON.parse(dry.out)).toEqual({
      deliveries: [{ key: `streams/${day}/a.csv`, version: expect.any(String) }],
      days: [
        {
          date: day,
          listens: 2,
          staying: 1,
          because_of: [{ key: `streams/${day}/b.csv`, run_id: before?.run_id, listens: 1 }],
        },
      ],
    });
    expect((await kpis('retract', ...file('a'), '--reason', 'x', '--dry-run')).out).toContain('1 delivery on 1 day');
    expect(await counted()).toBe(4);

    const { code, report: retracted } = await change('retract', ...file('a'));
    expect([code, retracted]).toMatchObject([
      0,
      {
        kind: 'retract',
        state: 'completed',
        requested_by: 'ada',
        days: [day],
        standing: { change: 'retract', key: `streams/${day}/a.csv`, reason: 'wrong file', deliveries: 1 },
      },
    ]);
    expect(await counted()).toBe(2);

    // Who, when and why: of the run that delivered it, the day, the lineage and the lake.
    const status = JSON.parse((await kpis('status', before?.run_id ?? '', '--json')).out) as RunReport;
    const why = expect.stringMatching(`^taken back by ${retracted?.run_id}, 20.*Z, asked for by ada: wrong file$`);
    expect(status.files.map(({ key, retracted: by }) => [key, by])).toEqual([
      [`streams/${day}/a.csv`, why],
      [`streams/${day}/b.csv`, undefined],
    ]);
    const left = { key: `streams/${day}/a.csv`, change: 'retract', run_id: retracted?.run_id, by: 'ada' };
    expect(await pipeline.stores.kpis.readDay(day)).toMatchObject({
      run_id: retracted?.run_id,
      left_out: 1,
      left_out_deliveries: [{ ...left, reason: 'wrong file' }],
    });
    const lineage = JSON.parse((await kpis('explain', '--date', day, '--genre', 'pop', '--json')).out);
    expect(lineage.runs[0].files[0].retracted).toMatchObject({ runId: retracted?.run_id, by: 'ada' });
    expect((await kpis('explain', '--date', day, '--genre', 'pop')).out).toContain('no: taken back by');
    expect((await kpis('status', retracted?.run_id ?? '')).out).toContain('takes back 1 delivery of');
    expect(await leftOut()).toContainEqual(
      expect.objectContaining({
        run: before?.run_id,
        file: 0,
        changed_by_run: retracted?.run_id,
        reason: 'wrong file',
      }),
    );

    expect(await change('retract', ...file('a'))).toMatchObject({
      code: 2,
      err: expect.stringContaining(`${retracted?.run_id} took it back`),
    });
    const restored = await change('restore', '--run', retracted?.run_id ?? '');
    expect(restored).toMatchObject({ code: 0, report: { state: 'completed', days: [day] } });
    expect({ ...(await report()), run_id: '', version: 0, computed_at: '' }).toEqual({
      ...before,
      run_id: '',
      version: 0,
      computed_at: '',
    });
    expect(await pipeline.stores.kpis.readDay(day)).toMatchObject({ left_out: 0, left_out_deliveries: [] });
    expect(await change('restore', ...file('a'))).toMatchObject({ code: 2, err: expect.stringContaining('it stands') });
  });

  it('a copy is a delivery of its own, and a day that has nothing left is served with nothing', async () => {
    await deliver({ first: listens(1, 2) });
    await deliver({ copy: listens(1, 2) });
    await change('retract', ...file('first'));
    expect(await counted()).toBe(2);
    await change('retract', ...file('copy'));
    expect(await report()).toMatchObject({ listen_count: 0, unique_listeners: 0, genres: [], top_genres: [] });
    expect(await pipeline.stores.kpis.genres(day)).toEqual([]);
    await change('restore', ...file('copy'));
    expect(await counted()).toBe(2);
  });

  it('a run is taken back as a whole, and neither backfill, force, rerun nor compaction brings it back', async () => {
    const { run_id } = await deliver({ a: listens(1), b: listens(2, 5) });
    for (const hour of [3, 4]) await deliver({ [`more-${hour}`]: listens(hour) });
    expect(await counted()).toBe(5);
    expect(await change('retract', '--run', run_id)).toMatchObject({
      code: 0,
      report: { standing: { deliveries: 2 } },
    });
    expect(await counted()).toBe(2);

    expect((await kpis('backfill', '--from', day, '--to', day, '--wait')).code).toBe(0);
    expect(await counted()).toBe(2);
    await deliver({ 'more-6': listens(6) }); // more than three objects: they are merged
    const [merged, ...others] = await lakeDay(pipeline.stores.objects, pipeline.config.lakeBucket, day);
    expect([merged?.run, others.length]).toEqual([expect.stringMatching(/^compacted__/), expect.any(Number)]);
    expect(await counted()).toBe(3);
    expect((await kpis('backfill', '--from', day, '--to', day, '--wait')).code).toBe(0);
    expect(await counted()).toBe(3);
    expect(await change('retract', ...file('more-3'))).toMatchObject({ code: 0 });
    expect(await counted()).toBe(2);

    // The very version that was taken back, taken by force.
    await put({ [`streams/${day}/again.csv`]: listens(7, 8) });
    const taken = await run();
    await change('retract', '--run', taken.run_id);
    const { stores, config } = pipeline;
    await put({ [`streams/${day}/again.csv`]: listens(7, 8) });
    const object = await stores.objects.head(config.sourceBucket, `streams/${day}/again.csv`);
    const entries = await stores.runs.files.versions(`streams/${day}/again.csv`);
    expect([object?.etag, entries.length]).toEqual([expect.any(String), 1]);
    const forced = await kpis('run', '--date', day, '--now', '--force', '--wait', '--json');
    const report = JSON.parse(forced.out) as RunReport;
    const versions = await stores.runs.files.versions(`streams/${day}/again.csv`);
    // Within the second it is the same version, otherwise a delivery of its own.
    expect(await counted()).toBe(versions.length === 1 ? 2 : 4);
    expect(report.rows.rejected.retracted ?? 0).toBe(versions.length === 1 ? 2 : 0);

    await change('restore', '--run', run_id);
    expect(await counted()).toBe((versions.length === 1 ? 2 : 4) + 3);
  });

  it('wrong requests are told what there is', async () => {
    const { run_id } = await deliver({ a: listens(1) });
    const wrong = async (...args: string[]) => {
      const { code, err } = await kpis('retract', '--reason', 'x', ...args);
      expect(code).toBe(2);
      return err;
    };
    expect(await wrong()).toContain('name either a --file or a --run');
    expect(await wrong('--file', 'a', '--run', run_id)).toContain('name either');
    expect(await wrong('--file', 'streams/nobody.csv')).toContain('no run took a file streams/nobody.csv');
    expect(await wrong('--run', 'manual__00000000000000000000000000')).toContain('there is no run');
    expect(await wrong(...file('a'), '--version', 'other')).toMatch(/has no version other; there is .*@20/);
    expect(await wrong('--run', run_id, '--version', 'x')).toContain('--version is one of a --file');
    expect((await kpis('retract', '--run', run_id)).err).toContain("required option '--reason <text>'");
    expect(await counted()).toBe(1);
  });

  it('where names are of one file, a new version replaces the one before', async () => {
    await pipeline.replaceService('sensor', { SAME_NAME: 'replace' });
    await deliver({ a: listens(1, 2, 3), b: listens(3) });
    await new Promise((resolve) => setTimeout(resolve, 1_100)); // a version is told by the second
    const replacing = await deliver({ a: listens(2, 9) });
    expect(replacing).toMatchObject({ state: 'completed', standing: { change: 'replace', deliveries: 1 } });
    expect(await counted()).toBe(3); // 2, 9; 3 stays because of b
    // The archive has both.
    const archived: string[] = [];
    for await (const { key } of pipeline.stores.objects.list(pipeline.config.archiveBucket, `streams/${day}/`))
      archived.push(key);
    expect(archived.filter((key) => key.endsWith('/a.csv'))).toHaveLength(2);

    // A new version that is no good replaces nothing.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await deliver({ a: 'user_id\n1\n', c: listens(10) });
    expect(await counted()).toBe(4);
    const { runId } = (await pipeline.stores.runs.listRuns(1))[0] ?? {};
    expect(await runReport(pipeline.stores, runId ?? '')).toMatchObject({ standing: { change: 'replace' } });

    // Taking the new one back does not bring the old one back; that is asked for by its version.
    await change('retract', '--run', replacing.run_id);
    expect(await counted()).toBe(2);
    const [old] = await pipeline.stores.runs.files.versions(`streams/${day}/a.csv`);
    await change('restore', ...file('a'), '--version', old?.version ?? '');
    expect(await counted()).toBe(4);
    await pipeline.replaceService('sensor');
  });

  async function leftOut(): Promise<unknown[]> {
    const object = await pipeline.stores.objects.head(pipeline.config.lakeBucket, LEFT_OUT_KEY);
    if (object === undefined) return [];
    const chunks: Buffer[] = [];
    for await (const chunk of await pipeline.stores.objects.open(object)) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks)
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as unknown);
  }
});
