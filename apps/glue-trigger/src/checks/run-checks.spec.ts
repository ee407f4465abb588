import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { withEngine } from '@music/duckdb';
import type { DayKpis, DayQuality } from '@music/kpis';
import { readChecks } from './check-list';
import { type Checked, runChecks } from './run-checks';

const LIMITS = { memoryBytes: 2 ** 28, threads: 1 };
const NOTHING = { read_rows: 0, rejected_rows: 0, duplicates: 0, song_rows: 0, unreadable_durations: 0 };

describe('the checks of a run', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'checks-spec-'));
  });
  afterAll(() => rm(dir, { recursive: true }));

  const day = (
    date: string,
    listens: number,
    quality: Partial<DayQuality> = {},
    more: Partial<DayKpis> = {},
  ): DayKpis => ({
    date,
    listen_count: listens,
    unique_listeners: 1,
    genres: [],
    top_songs: [],
    top_genres: [],
    quality: {
      listens,
      unknown_track_listens: 0,
      unknown_user_listens: 0,
      most_listens_of_a_track: 0,
      most_listens_of_a_listener: 0,
      ...quality,
    },
    ...more,
  });
  const published = (counts: Record<string, number>, songRows?: number) =>
    Object.entries(counts).map(([date, listen_count], i) => ({
      date,
      listen_count,
      version: i + 1,
      song_rows: songRows,
    }));
  const found = async (check: string, days: readonly DayKpis[], checked: Partial<Checked> = {}) => {
    const findings = await withEngine(dir, 'checks', LIMITS, async (engine, folder) => {
      const file = path.join(folder, 'result.json');
      await writeFile(file, JSON.stringify(days));
      return runChecks(
        readChecks(`checks: [${check}]`, 'spec'),
        { results: [file], today: '2024-07-01', run: NOTHING, published: [], topBefore: [], ...checked },
        engine,
        folder,
      );
    });
    return findings.map(({ level, date, text }) => [level, date, text]);
  };

  const TUESDAYS = { '2024-06-04': 100, '2024-06-11': 120, '2024-06-18': 80 };

  it('hold days with few or many listens beside those before', async () => {
    const check = '{ check: volume, level: hold, last: 4, least: 3, below: 0.5, above: 2 }';
    const history = published({ ...TUESDAYS, '2024-06-24': 1, '2024-05-01': 1 });
    expect(await found(check, [day('2024-06-25', 49)], { published: history })).toEqual([
      ['hold', '2024-06-25', '49 listens, less than 0.5 times the median of 3 such weekdays before, 100'],
    ]);
    expect(await found(check, [day('2024-06-25', 201)], { published: history })).toEqual([
      ['hold', '2024-06-25', '201 listens, more than 2 times the median of 3 such weekdays before, 100'],
    ]);
    for (const fine of [50, 100, 200])
      expect(await found(check, [day('2024-06-25', fine)], { published: history })).toEqual([]);
    // A day that is not over has few listens because of that; it may have too many all the same.
    const today = { published: history, today: '2024-06-25' };
    expect(await found(check, [day('2024-06-25', 1)], today)).toEqual([]);
    expect(await found(check, [day('2024-06-25', 999)], today)).toHaveLength(1);
    // Without enough days before, and against itself, nothing is said.
    expect(await found(check, [day('2024-06-25', 1)], { published: history.slice(1) })).toEqual([]);
    expect(await found(check, [day('2024-06-25', 1)], { published: published({ '2024-06-25': 100 }) })).toEqual([]);
    const last = '{ check: volume, level: warn, against: last_days, last: 3, least: 2, below: 0.5 }';
    const days = published({ '2024-06-21': 9_000, '2024-06-22': 10, '2024-06-24': 30 });
    expect(await found(last, [day('2024-06-25', 9)], { published: days })).toEqual([
      ['warn', '2024-06-25', '9 listens, less than 0.5 times the median of 2 days before, 20'],
    ]);
  });

  it.each([
    [
      'unknown_tracks',
      { unknown_track_listens: 21 },
      '21 of 100 listens are of tracks that songs does not have (21 %), more than 20 %',
    ],
    [
      'unknown_users',
      { unknown_user_listens: 25 },
      '25 of 100 listens are of users that users does not have (25 %), more than 20 %',
    ],
    [
      'track_share',
      { most_listens_of_a_track: 30 },
      '30 of 100 listens are of one track, Hit (t1) (30 %), more than 20 %',
    ],
  ])('tell a share of a day: %s', async (name, quality, text) => {
    const songs = [
      { genre: 'pop', rank: 1, track_id: 't1', song: 'Hit', artists: 'A', listen_count: 30 },
      { genre: 'ska', rank: 1, track_id: 't2', song: 'Other', artists: 'A', listen_count: 3 },
    ];
    const check = `{ check: ${name}, level: warn, more_than: 0.2, at_least: 100 }`;
    expect(await found(check, [day('2024-06-25', 100, quality, { top_songs: songs })])).toEqual([
      ['warn', '2024-06-25', text],
    ]);
    expect(await found(check, [day('2024-06-25', 99, quality)])).toEqual([]);
    const least = Object.fromEntries(Object.keys(quality).map((field) => [field, 20]));
    expect(await found(check, [day('2024-06-25', 100, least)])).toEqual([]);
  });

  it.each([
    ['rejected_rows', { read_rows: 100, rejected_rows: 21 }, '21 of 100 rows were rejected (21 %), more than 20 %'],
    [
      'duplicates',
      { read_rows: 100, duplicates: 30 },
      '30 of 100 rows are listens that were counted before (30 %), more than 20 %',
    ],
    [
      'songs_without_duration',
      { song_rows: 100, unreadable_durations: 50 },
      '50 of 100 songs have no readable duration (50 %), more than 20 %',
    ],
  ])('tell a share of a run: %s', async (name, run, text) => {
    const check = `{ check: ${name}, level: hold, more_than: 0.2, at_least: 100 }`;
    expect(await found(check, [], { run: { ...NOTHING, ...run } })).toEqual([['hold', undefined, text]]);
    const few = Object.fromEntries(Object.entries(run).map(([field, n]) => [field, n - 1]));
    expect(await found(check, [], { run: { ...NOTHING, ...few } })).toEqual([]);
  });

  it('tell a user with more listens than a person has, a genre that is gone, and a catalogue that shrank', async () => {
    const user = '{ check: listener_listens, level: warn, more_than: 2880 }';
    expect(await found(user, [day('2024-06-25', 9_000, { most_listens_of_a_listener: 2_881 })])).toEqual([
      ['warn', '2024-06-25', 'one user has 2,881 listens, more than 2,880'],
    ]);
    expect(await found(user, [day('2024-06-25', 9_000, { most_listens_of_a_listener: 2_880 })])).toEqual([]);

    const gone = '{ check: top_genre_gone, level: warn, at_least: 100 }';
    const pop = { genre: 'pop', listen_count: 5, unique_listeners: 1, total_listening_ms: 1 };
    const topBefore = [
      { date: '2024-06-25', of_day: '2024-06-24', genre: 'ska', listen_count: 200 },
      { date: '2024-06-25', of_day: '2024-06-24', genre: 'pop', listen_count: 100 },
      { date: '2024-06-25', of_day: '2024-06-24', genre: 'dub', listen_count: 99 },
    ];
    const days = [day('2024-06-25', 5, {}, { genres: [pop] })];
    expect(await found(gone, days, { topBefore })).toEqual([
      ['warn', '2024-06-25', 'genre ska is gone: it had 200 listens on 2024-06-24, among the first five'],
    ]);
    expect(await found(gone, days, { topBefore, today: '2024-06-25' })).toEqual([]);

    const shrank = '{ check: catalogue_shrank, level: hold, by: 0.1 }';
    const before = { published: published(TUESDAYS, 100) };
    expect(await found(shrank, [], { ...before, run: { ...NOTHING, song_rows: 89 } })).toEqual([
      ['hold', undefined, 'songs has 89 rows, and had 100 before: 11 % less, more than 10 %'],
    ]);
    expect(await found(shrank, [], { ...before, run: { ...NOTHING, song_rows: 90 } })).toEqual([]);
    expect(await found(shrank, [], { run: { ...NOTHING, song_rows: 1 } })).toEqual([]);
  });

  it('find nothing where a job of an earlier release left no more than KPIs', async () => {
    const { quality: _, ...old } = day('2024-06-25', 5_000);
    expect(await found('{ check: unknown_tracks, level: hold, more_than: 0, at_least: 0 }', [old])).toEqual([]);
  });
});
