import { compactDay } from '@music/lake';
import fc from 'fast-check';
import { runDuckDBJob, sizesFor } from './duckdb-job';
import { KpiJobFixture, type Listen, type Song, dyingAfter } from './kpi-job.fixture';
import type { KpiJob } from './job-runner';

const DATE = '2024-06-25';
const USERS = 60;
const TRACKS = 12;
const SONGS: Song[] = Array.from({ length: TRACKS - 2 }, (_, i) => [
  `t${i}`,
  `genre ${i % 4}`,
  `Song ${i}`,
  1_000 + i,
  i,
]);
const OTHER_SONGS: Song[] = SONGS.map(([track, , name]) => [track, 'one genre', name, 5, 5]);

type Step =
  | { readonly what: 'deliver'; readonly listens: readonly (readonly [number, number, number])[] }
  | { readonly what: 'change'; readonly run: number }
  | { readonly what: 'again'; readonly run: number }
  | { readonly what: 'compact' | 'catalogue' | 'unknown tracks' };

const listen = fc.tuple(fc.nat(USERS - 1), fc.nat(TRACKS - 1), fc.nat(20));
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constant('deliver' as const), listens: fc.array(listen, { maxLength: 8 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constant('deliver' as const), listens: fc.array(listen, { maxLength: 200 }) }),
  },
  { weight: 4, arbitrary: fc.record({ what: fc.constant('change' as const), run: fc.nat(9) }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('again' as const), run: fc.nat(9) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constantFrom('compact' as const, 'catalogue' as const, 'unknown tracks' as const),
    }),
  },
);

describe('the totals of a day', () => {
  let fixture: KpiJobFixture;
  beforeAll(async () => {
    fixture = await KpiJobFixture.start();
  });
  afterAll(() => fixture.stop());
  beforeEach(() => clear());

  async function clear(): Promise<void> {
    await fixture.store.deletePrefix('lake', 'listens/');
    await fixture.store.deletePrefix('intermediate', 'totals/');
  }
  const listensOf = (rows: readonly (readonly [number, number, number])[]): Listen[] =>
    rows.map(([user, track, second]) => [`u${user}`, `t${track}`, `${DATE} 10:00:${String(second).padStart(2, '0')}`]);
  /** All of the day's users hear something, each several times. */
  const whole = listensOf(
    Array.from({ length: USERS * 10 }, (_, i) => [i % USERS, (i * 7) % TRACKS, Math.floor(i / USERS)]),
  );
  const compute = async (job: KpiJob, totalsFromBytes: number, store = fixture.store) => {
    const { scratch, limits } = fixture;
    const sizes = sizesFor(limits, totalsFromBytes);
    const ref = await runDuckDBJob(job, store, scratch, limits, new AbortController().signal, undefined, sizes);
    const { summary, days } = await fixture.resultOf(ref);
    return { ...summary, seconds: 0, days };
  };
  const place = async (runId: string, listens: readonly Listen[], songs = SONGS, more: Partial<KpiJob> = {}) =>
    fixture.place(await fixture.job(runId, listens, songs, listens.length === 0 ? { dates: [DATE], ...more } : more));
  const kept = async () => (await fixture.store.head('intermediate', `totals/date=${DATE}/totals.json`))?.etag;
  const objects = async () => {
    const found = [];
    for await (const { key } of fixture.store.list('intermediate', 'totals/')) found.push(key);
    return found;
  };

  it('give a day without one delivery, and with it again, without computing all of it', async () => {
    const first = await place('a', whole);
    const { songs, users } = first;
    await compute(first, 0);
    const wrong = listensOf([
      [1, 1, 30],
      [99, 1, 30],
    ]);
    const before = await kept();
    const withWrong = { ...(await place('b', wrong)), songs, users };
    const without = { ...(await place('c', [])), songs, users, leftOut: { b: [0] } };
    for (const job of [withWrong, without, withWrong, { ...without, leftOut: {} }]) {
      expect(await compute(job, 0)).toEqual(await compute(job, Infinity));
      // Computing all of it would have kept others.
      expect(await kept()).toBe(before);
    }
    const none = { ...without, leftOut: { a: [0], b: [0] } };
    expect((await compute(none, 0)).days[DATE]).toMatchObject({ listen_count: 0, genres: [], top_songs: [] });
    expect(await kept()).not.toBe(before);
    expect(await objects()).toHaveLength(2);
  });

  it('are not used with another catalogue, another setting, or where an object is not as it was', async () => {
    const { songs, users } = await place('a', whole);
    const job = { ...(await place('b', [])), songs, users };
    const computedAnew = async (changed: KpiJob) => {
      const before = await kept();
      expect(await compute(changed, 0)).toEqual(await compute(changed, Infinity));
      return (await kept()) !== before;
    };
    expect(await computedAnew(job)).toBe(true);
    expect(await computedAnew(job)).toBe(false);
    expect(await computedAnew({ ...job, songs: (await place('c', [], OTHER_SONGS)).songs })).toBe(true);
    expect(await computedAnew({ ...job, keepUnknownTracks: false })).toBe(true);
    await place('d', listensOf([[1, 1, 1]]));
    await compactDay(fixture.store, 'lake', DATE, 1, fixture.scratch, fixture.limits);
    expect(await computedAnew({ ...job, keepUnknownTracks: false })).toBe(true);
    // Gone, as when the bucket lets them expire.
    for (const key of (await objects()).filter((each) => each.endsWith('.parquet')))
      await fixture.store.deletePrefix('intermediate', key);
    expect(await computedAnew({ ...job, keepUnknownTracks: false })).toBe(true);
  });

  it('are whole, or those of before, wherever a job dies', async () => {
    const { songs, users } = await place('a', whole);
    const job = { ...(await place('b', [])), songs, users };
    const other = { ...job, leftOut: { a: [0] } };
    let died = true;
    for (let writes = 0; died; writes += 1) {
      await clear();
      await place('a', whole);
      await compute(job, 0);
      died = await compute(other, 0, dyingAfter(fixture.store, writes)).then(
        () => false,
        () => true,
      );
      for (const next of [other, job]) expect(await compute(next, 0)).toEqual(await compute(next, Infinity));
    }
  });

  it('give what computing all of it gives, whatever came before', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 8 }), async (steps) => {
        await clear();
        const runs = ['a'];
        const leftOut: Record<string, number[]> = {};
        const { songs: firstSongs, users } = await place('a', whole);
        let songs = firstSongs;
        let keepUnknownTracks = true;
        const deliver = async (runId: string, listens: readonly Listen[]) => ({
          ...(await place(runId, listens)),
          dates: [DATE],
        });
        const nth = (n: number) => runs[n % runs.length] ?? '';
        for (const [i, each] of [{ what: 'again', run: 0 } as Step, ...steps].entries()) {
          let runId = `later-${i}`;
          if (each.what === 'deliver') {
            await deliver((runId = `r${i}`), listensOf(each.listens));
            runs.push(runId);
          } else if (each.what === 'change') {
            const run = nth(each.run);
            if (leftOut[run] === undefined) leftOut[run] = [0];
            else delete leftOut[run];
          } else if (each.what === 'again') runId = nth(each.run);
          else if (each.what === 'compact')
            await compactDay(fixture.store, 'lake', DATE, 1, fixture.scratch, fixture.limits);
          else if (each.what === 'catalogue') songs = (await place('x', [], i % 2 === 0 ? SONGS : OTHER_SONGS)).songs;
          else keepUnknownTracks = !keepUnknownTracks;
          const job = { ...(await place('x', [])), runId, songs, users, leftOut: { ...leftOut }, keepUnknownTracks };
          expect(await compute(job, 0)).toEqual(await compute(job, Infinity));
        }
      }),
      { numRuns: 10 },
    );
  });
});
