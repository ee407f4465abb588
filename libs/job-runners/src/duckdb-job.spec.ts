import { Engine } from '@music/duckdb';
import { compactDay, finishCompactions, objectsWithoutDeliveries, runsBehind } from '@music/lake';
import { type StoredObject, ensureRoom } from '@music/storage';
import { type JobSizes, runDuckDBJob } from './duckdb-job';
import { defineFunctions } from './duckdb-pass';
import { DuckDBRunner } from './duckdb-runner';
import type { KpiJob } from './job-runner';
import { MODELS } from './kpi-models';
import { type Delivery, KpiJobFixture, type Listen, type Result, type Song, dyingAfter } from './kpi-job.fixture';

describe('the KPI job', () => {
  let fixture: KpiJobFixture;
  const unhurried = new AbortController().signal;

  beforeAll(async () => {
    fixture = await KpiJobFixture.start();
  });
  afterAll(() => fixture.stop());
  beforeEach(async () => {
    for (const prefix of ['listens/', 'runs/']) await fixture.store.deletePrefix('lake', prefix);
  });

  const job = (runId: string, listens: Listen[], songs: Song[], keepUnknownTracks = true) =>
    fixture.job(runId, listens, songs, { keepUnknownTracks });
  const run = async (made: Delivery): Promise<Result> =>
    fixture.resultOf(
      await runDuckDBJob(await fixture.place(made), fixture.store, fixture.scratch, fixture.limits, unhurried),
    );

  const SONGS: Song[] = [
    ['t1', 'pop', 'One', 60_000, 5],
    ['t2', 'pop', 'Two', 120_000, 5],
    ['t3', 'rock', 'Three', 1_000, 5],
  ];

  it('counts listens, listeners and milliseconds, a repeated listen once', async () => {
    const { summary, days } = await run(
      await job(
        'r1',
        [
          ['u1', 't1', '2024-06-25 10:00:00'],
          ['u1', 't1', '2024-06-25 10:00:00'],
          ['u1', 't2', '2024-06-25 11:00:00'],
          ['u3', 't1', '2024-06-25 12:00:00'],
        ],
        SONGS,
      ),
    );
    expect(summary).toMatchObject({ runRows: 4, newListens: 3, unknownUserListens: 1, unknownTrackListens: 0 });
    expect(days['2024-06-25']).toMatchObject({
      listen_count: 3,
      unique_listeners: 2,
      genres: [{ genre: 'pop', listen_count: 3, unique_listeners: 2, total_listening_ms: 240_000 }],
      top_songs: [
        { genre: 'pop', rank: 1, track_id: 't1', song: 'One', listen_count: 2 },
        { rank: 2, track_id: 't2' },
      ],
    });
  });

  it('ranks what is level by bytes, three songs a genre and five genres a day', async () => {
    const tracks = ['b', 'a', 'é', 'Z', 'z'];
    const songs: Song[] = [
      ...tracks.map((track): Song => [track, 'pop', track, 1, 1]),
      ...['ä', 'o', 'O', 'x', '10', '9'].map((genre): Song => [`only ${genre}`, genre, 'x', 1, 1]),
    ];
    const listens: Listen[] = [
      ...tracks.map((track): Listen => ['u1', track, '2024-06-25 10:00:00']),
      ...['ä', 'o', 'O', 'x', '10', '9'].map((genre): Listen => ['u1', `only ${genre}`, '2024-06-25 10:00:00']),
    ];
    const { days } = await run(await job('r1', listens, songs));
    expect(
      days['2024-06-25']?.top_songs.filter(({ genre }) => genre === 'pop').map(({ track_id }) => track_id),
    ).toEqual(['Z', 'a', 'b']);
    expect(days['2024-06-25']?.top_genres.map(({ genre }) => genre)).toEqual(['pop', '10', '9', 'O', 'o']);
  });

  it('counts a track in each of its genres, with the row that rule 5 chooses, but once in the day', async () => {
    const songs: Song[] = [
      ['t', 'pop', 'less popular', 1, 1],
      ['t', 'pop', 'longer', 3_000, 9],
      ['t', 'pop', 'z', 2_000, 9],
      ['t', 'pop', 'b', 2_000, 9],
      ['t', 'rock', null, null, null],
      ['t', null, 'x', 5, 5],
    ];
    const { summary, days } = await run(await job('r1', [['u1', 't', '2024-06-25 10:00:00']], songs));
    expect(summary.unreadableDurations).toBe(1);
    expect(days['2024-06-25']).toMatchObject({
      listen_count: 1,
      genres: [
        { genre: 'Unknown', total_listening_ms: 5 },
        { genre: 'pop', total_listening_ms: 2_000 },
        { genre: 'rock', total_listening_ms: 0 },
      ],
    });
    expect(days['2024-06-25']?.top_songs.map(({ song }) => song)).toEqual(['x', 'b', 'Unknown']);
  });

  it('keeps unknown tracks as songs of genre Unknown, or leaves them out by setting; the lake has them either way', async () => {
    const listens: Listen[] = [
      ['u1', 'nobody', '2024-06-25 10:00:00'],
      ['u2', 't1', '2024-06-25 10:00:00'],
    ];
    const kept = await run(await job('r1', listens, SONGS));
    expect(kept.days['2024-06-25']).toMatchObject({
      listen_count: 2,
      genres: [{ genre: 'Unknown', listen_count: 1, total_listening_ms: 0 }, { genre: 'pop' }],
    });
    expect(kept.days['2024-06-25']?.top_songs[0]).toMatchObject({
      genre: 'Unknown',
      track_id: 'nobody',
      song: 'nobody',
    });
    const rejected = await run(await job('r2', listens, SONGS, false));
    expect(rejected.summary).toMatchObject({ newListens: 0, runRows: 2 });
    expect(rejected.days['2024-06-25']).toMatchObject({ listen_count: 1, genres: [{ genre: 'pop' }] });
    // All of a day unknown: the day is there, and empty.
    const empty = await run(await job('r3', [['u1', 'nobody', '2024-06-27 10:00:00']], SONGS, false));
    expect(empty.days['2024-06-27']).toMatchObject({
      listen_count: 0,
      unique_listeners: 0,
      genres: [],
      top_genres: [],
    });
    expect(empty.summary.unknownTrackListens).toBe(1);
  });

  it('computes a day again with what other runs left in the lake, in any order, and the same when it is repeated', async () => {
    const first: Listen[] = [
      ['u1', 't1', '2024-06-25 10:00:00'],
      ['u2', 't1', '2024-06-25 10:00:00'],
    ];
    const second: Listen[] = [
      ['u2', 't1', '2024-06-25 10:00:00'],
      ['u2', 't3', '2024-06-25 23:59:59'],
      ['u2', 't3', '2024-06-26 00:00:00'],
    ];
    const a = await job('a', first, SONGS);
    const b = await job('b', second, SONGS);
    await run(a);
    const after = await run(b);
    expect(after.summary).toMatchObject({ runRows: 3, newListens: 2 });
    expect(after.days['2024-06-25']).toMatchObject({ listen_count: 3, unique_listeners: 2 });
    expect((await run(b)).days).toEqual(after.days);
    expect((await run(a)).days['2024-06-25']).toEqual(after.days['2024-06-25']);
    await fixture.store.deletePrefix('lake', 'listens/');
    await run(b);
    expect((await run(a)).days['2024-06-25']).toEqual(after.days['2024-06-25']);
  });

  it('reads a lake day that was compacted as it was before', async () => {
    const { store, scratch, limits } = fixture;
    const times = ['10:00:00', '11:00:00', '12:00:00'].map((time) => `2024-06-25 ${time}`);
    for (const [i, time] of times.entries()) await run(await job(`r${i}`, [['u1', 't1', time]], SONGS));
    const again = () => fixture.job('b', [], SONGS, { dates: ['2024-06-25'] });
    const before = (await run(await again())).days;
    expect(await compactDay(store, 'lake', '2024-06-25', 3, scratch, limits)).toBe(false);
    expect(await compactDay(store, 'lake', '2024-06-25', 2, scratch, limits)).toBe(true);
    const objects = async (prefix: string) => {
      const found = [];
      for await (const object of store.list('lake', prefix)) found.push(object);
      return found;
    };
    const [merged, ...others] = await objects('listens/date=2024-06-25/');
    expect(others).toEqual([]);
    expect(await objects('compaction/')).toEqual([]);
    const compacted = /run=([^/]+)/.exec(merged?.key ?? '')?.[1] ?? '';
    expect(await runsBehind(store, 'lake', compacted)).toEqual(['r0', 'r1', 'r2']);
    expect((await run(await again())).days).toEqual(before);
  });

  it('keeps a lake day as it is, wherever a compaction dies, and whether it is finished or done once more', async () => {
    const { store, scratch, limits } = fixture;
    const date = '2024-06-25';
    const again = async () => (await run(await fixture.job('b', [], SONGS, { dates: [date] }))).days[date];
    let survived = false;
    for (let writes = 0; !survived; writes += 1) {
      for (const next of ['finished', 'done once more']) {
        await store.deletePrefix('lake', 'listens/');
        for (const hour of [10, 11, 12])
          await run(await job(`r${hour}`, [['u1', 't1', `${date} ${hour}:00:00`]], SONGS));
        const before = await again();
        survived = await compactDay(dyingAfter(store, writes), 'lake', date, 1, scratch, limits).catch(() => false);
        if (next === 'finished') await finishCompactions(store, 'lake');
        else await compactDay(store, 'lake', date, 1, scratch, limits);
        expect({ writes, next, day: await again() }).toEqual({ writes, next, day: before });
        const journals = [];
        for await (const { key } of store.list('lake', 'compaction/date=')) journals.push(key);
        expect({ writes, next, journals }).toEqual({ writes, next, journals: [] });
      }
    }
  });

  it('computes many small days together', async () => {
    const listens = Array.from({ length: 20 }, (_, i): Listen => [
      'u1',
      't1',
      `2024-06-${String(i + 1).padStart(2, '0')} 10:00:00`,
    ]);
    const { summary, days } = await run(await job('r1', [...listens, ...listens], SONGS));
    expect(summary).toMatchObject({ runRows: 40, newListens: 20 });
    expect(Object.values(days).map(({ listen_count }) => listen_count)).toEqual(Array(20).fill(1));
  });

  describe('in buckets', () => {
    const users = ['u1', 'u2', 'u9', `${'x'.repeat(40)}1`, `${'x'.repeat(40)}2`];
    const tracks = ['t1', 't2', 't3', 'nobody', `${'y'.repeat(40)}1`, `${'y'.repeat(40)}2`];
    const at = (day: number, second: number) => `2024-06-${24 + day} 10:00:${String(second % 60).padStart(2, '0')}`;
    const listens = Array.from({ length: 240 }, (_, i): Listen => [
      users[i % 5] ?? '',
      tracks[i % 6] ?? '',
      at(i % 3, i),
    ]);
    // One user with half of all listens, and each of them twice.
    const heavy = Array.from({ length: 240 }, (_, i): Listen => ['u1', tracks[i % 6] ?? '', at(i % 2, (i * 7) % 60)]);
    const late: Listen[] = [...listens.slice(0, 60), ['u3', 't1', at(0, 1)], ['u1', 't3', at(2, 59)]];
    const sizes: Record<string, JobSizes | undefined> = {
      'all at once': undefined,
      'a few, which are read where they lie': { listensAtOnce: 200, bytesAtOnce: 2 ** 28, totalsFromBytes: Infinity },
      'more than there are users': { listensAtOnce: 20, bytesAtOnce: 2 ** 28, totalsFromBytes: Infinity },
      'objects that are parted one by one': { listensAtOnce: 40, bytesAtOnce: 1, totalsFromBytes: Infinity },
    };
    const results: Record<string, unknown> = {};

    it.each(Object.entries(sizes))('%s: the numbers are the same', async (name, size) => {
      const computed: unknown[] = [];
      for (const made of [await job('a', [...listens, ...heavy], SONGS), await job('b', late, SONGS, false)]) {
        const placed = await fixture.place(made);
        const { store, scratch, limits } = fixture;
        const { summary, days } = await fixture.resultOf(
          await runDuckDBJob(placed, store, scratch, limits, unhurried, () => undefined, size),
        );
        computed.push({ ...summary, days, seconds: 0 });
      }
      results[name] = computed;
      expect(computed).toEqual(results['all at once']);
      expect(computed[0]).toMatchObject({ runRows: 480, days: { '2024-06-24': { unique_listeners: 5 } } });
    });

    it('a job that ends between two buckets writes nothing that the next could mix with', async () => {
      const placed = await fixture.place(await job('a', [...listens, ...heavy], SONGS));
      const size = { listensAtOnce: 20, bytesAtOnce: 2 ** 28, totalsFromBytes: Infinity };
      const { store, scratch, limits } = fixture;
      let steps = 0;
      const whole = await fixture.resultOf(
        await runDuckDBJob(placed, store, scratch, limits, unhurried, () => (steps += 1), size),
      );
      for (const at of [1, 2, Math.floor(steps / 2)]) {
        const stop = new AbortController();
        let done = 0;
        const step = () => {
          if ((done += 1) === at) stop.abort(new Error('stopped'));
        };
        await expect(runDuckDBJob(placed, store, scratch, limits, stop.signal, step, size)).rejects.toThrow('stopped');
      }
      const again = await fixture.resultOf(
        await runDuckDBJob(placed, store, scratch, limits, unhurried, undefined, size),
      );
      expect(again.days).toEqual(whole.days);
    });

    it('listeners are counted beyond 2^31 of them', async () => {
      const engine = await Engine.open(fixture.scratch, fixture.limits);
      await engine.run(`CREATE TABLE listeners AS SELECT 'u' AS user_id`);
      await engine.run(`CREATE TABLE catalogue AS SELECT 1 AS track, 'pop' AS genre, 0 AS duration_ms, 1 AS is_known`);
      await engine.run(`CREATE TABLE distinct_listens AS SELECT DATE '2024-06-25' AS listen_date, listener, 1 AS track, 1 AS is_new
        FROM (VALUES (1), (2147483647), (2147483648), (2147483648), (4294967297)) AS l(listener)`);
      await defineFunctions(engine);
      await engine.run(`CREATE TABLE genre_bitmaps AS ${MODELS.genre_bitmaps}`);
      expect(await engine.count(`SELECT unique_listeners FROM (${MODELS.genre_listeners})`)).toBe(4);
      expect(await engine.count(`SELECT unique_listeners FROM (${MODELS.day_listeners})`)).toBe(4);
      engine.close();
    });
  });

  it('says which setting to raise where the memory does not do, and before anything is fetched where the room does not', async () => {
    const placed = await fixture.place(await job('a', [['u1', 't1', '2024-06-25 10:00:00']], SONGS));
    const { store, scratch } = fixture;
    const tiny = runDuckDBJob(placed, store, scratch, { memoryBytes: 2 ** 20, threads: 2 }, unhurried);
    await expect(tiny).rejects.toThrow(/raise DUCKDB_MEMORY_MB/);
    await expect(ensureRoom(scratch, 2 ** 60, 'for a day')).rejects.toThrow(
      /scratch space are needed for a day, .* SCRATCH_DIR/,
    );
  });

  it('is followed through its runner, started once a run, and lost with its process', async () => {
    const runner = new DuckDBRunner(fixture.store, fixture.scratch, fixture.limits);
    const made = await fixture.place(await job('r1', [['u1', 't1', '2024-06-25 10:00:00']], SONGS));
    const start = async (each: KpiJob) => ((await runner.start(each)) as { jobRunId: string }).jobRunId;
    const [id, same] = [await start(made), await start(made)];
    expect(same).toBe(id);
    expect(await runner.start({ ...made, version: 2 })).toEqual({ busy: expect.stringContaining('turn 1') });
    expect(await runner.poll(made, id, 30_000)).toMatchObject({
      state: 'succeeded',
      summary: { bucket: 'lake', key: expect.stringMatching(/^runs\/r1\/summary-\w+\.json$/) },
    });
    expect(await runner.poll(made, id, 0)).toEqual({ state: 'lost' });
    const gone = { ...made, songs: [{ ...(made.songs[0] as StoredObject), key: 'gone' }] };
    expect(await runner.poll(gone, await start(gone), 30_000)).toMatchObject({
      state: 'failed',
      lasting: true,
      message: expect.stringContaining('gone'),
    });
    await runner.close();
  });

  it('reads on what an earlier release merged, and tells what of it cannot be taken back', async () => {
    const { store, scratch, limits } = fixture;
    const date = '2024-06-25';
    await run(await job('r1', [['u1', 't1', `${date} 10:00:00`]], SONGS));
    // As that release left it: no file, no run in its rows, and a record of the runs alone.
    const engine = await Engine.open(scratch, limits);
    const file = `${scratch}/legacy.parquet`;
    await engine.run(
      `COPY (SELECT 'u2' AS user_id, 't2' AS track_id, TIMESTAMP '${date} 11:00:00' AS listened_at, DATE '${date}' AS listen_date) TO '${file}' (FORMAT parquet)`,
    );
    engine.close();
    const legacy = `compacted__${'0'.repeat(32)}`;
    await store.upload('lake', `listens/date=${date}/run=${legacy}/listens.parquet`, file);
    await store.putJson('lake', `compacted/${legacy}.json`, { runs: ['r0'] });
    const counted = async (leftOut: KpiJob['leftOut']) =>
      (await run(await fixture.job('later', [], SONGS, { dates: [date], leftOut }))).days[date]?.listen_count;
    expect([await counted({}), await counted({ r1: [0] }), await counted({ other: 'all' })]).toEqual([2, 1, 2]);
    const unknown = async (runId: string) =>
      (await objectsWithoutDeliveries(store, 'lake', [date], new Set([runId]))).map((object) => object.run);
    expect([await unknown('r0'), await unknown('r1')]).toEqual([[legacy], []]);

    expect(await compactDay(store, 'lake', date, 1, scratch, limits)).toBe(true);
    expect([await counted({}), await counted({ r1: [0] }), await counted({ r1: 'all' })]).toEqual([2, 1, 1]);
    expect(await unknown('r0')).toEqual([expect.stringMatching(/^compacted__/)]);
    expect(await unknown('r1')).toEqual([]);
  });
});
