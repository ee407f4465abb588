import path from 'node:path';
import { GlueClient } from '@aws-sdk/client-glue';
import { itemsOf } from '@music/kpis';
import { compactDay } from '@music/lake';
import { GlueEndpoint, workspaceRoot } from '@music/local-stack';
import type { LeftOut } from '@music/runs';
import { labData } from '@music/testing';
import { DuckDBRunner } from './duckdb-runner';
import { setUpGlueJob } from './glue-job-definition';
import { GlueRunner } from './glue-runner';
import type { JobRunner } from './job-runner';
import { type Delivery, KpiJobFixture, type Listen, type Result, type Song } from './kpi-job.fixture';

type Engine = () => Promise<JobRunner>;
type Jobs = (Delivery | (() => Promise<unknown>))[];

interface Case {
  readonly songs: Song[];
  readonly listens: Listen[];
}

const at =
  (time: string) =>
  (user: string, track: string): Listen => [user, track, time];
const day = (n: number) => `2024-01-${String(n).padStart(2, '0')}`;
const big = 'x'.repeat(1_000);

/** Each on days and tracks of its own, so that one job has them all: Spark takes seconds to start. */
const CASES: Record<string, Case> = {
  'level songs and genres, more of them than places': {
    songs: ['ä', 'o', 'O', 'x', '10', '9'].flatMap((genre): Song[] =>
      ['b', 'a', 'é', 'Z', 'z'].map((track): Song => [`tie ${track} ${genre}`, genre, track, 1, 1]),
    ),
    listens: ['ä', 'o', 'O', 'x', '10', '9'].flatMap((genre) =>
      ['b', 'a', 'é', 'Z', 'z'].map((track) => at(`${day(1)} 10:00:00`)('u1', `tie ${track} ${genre}`)),
    ),
  },
  'tracks that songs does not have, and songs without names, genres and durations': {
    songs: [
      ['bare', null, null, null, null],
      ['bare 2', '', '', 0, -5],
    ],
    listens: ['nobody', 'bare', 'bare 2', 'no\u00a0body'].map((track) => at(`${day(2)} 00:00:00`)('u9', track)),
  },
  'a track in several genres, and several rows of one track and genre': {
    songs: [
      ['many', 'pop', 'less popular', 1, 1],
      ['many', 'pop', 'longer', 3_000, 9],
      ['many', 'pop', 'z', 2_000, 9],
      ['many', 'pop', 'b', 2_000, 9],
      ['many', 'rock', 'r', 7, null],
      ['many', null, 'x', 5, 5],
    ],
    listens: [at(`${day(3)} 23:59:59`)('u1', 'many'), at(`${day(3)} 23:59:59.999`)('u1', 'many')],
  },
  'days of a zone with a change to summer time': {
    songs: [],
    listens: [
      ['u1', 'zone', '2024-03-10 04:59:59', '2024-03-09'],
      ['u1', 'zone', '2024-03-10 05:00:00', '2024-03-10'],
      ['u1', 'zone', '2024-03-11 03:59:59', '2024-03-10'],
      ['u1', 'zone', '2024-03-11 04:00:00', '2024-03-11'],
    ],
  },
  'minutes that end in a half': {
    songs: [
      ['half', 'half up', 'h', 300, 1],
      ['third', 'a third', 't', 100, 1],
    ],
    listens: ['u1', 'u2', 'u3'].flatMap((user) =>
      ['half', 'third'].map((track) => at(`${day(4)} 12:00:00`)(user, track)),
    ),
  },
  'long ids, and ids that look like numbers': {
    songs: [[`${big}1`, 'long', big, 9_000_000_000, 1]],
    listens: [`${big}1`, `${big}2`, '007', '7', '7.0', '1e3', '99999999999999999999'].flatMap((id) => [
      at(`${day(5)} 12:00:00`)(id, id),
      at(`${day(5)} 12:00:00`)('u1', id),
    ]),
  },
  'text that is not ASCII, and differs in case, in blanks or in its Unicode form only': {
    songs: [
      ['u-1', 'Café', 'Ünïcødé', 1, 1],
      ['u-2', 'Cafe\u0301', '日本語', 1, 1],
      ['u-3', 'café', '😀', 1, 1],
      ['u-4', 'café ', 'it\'s "quoted", \\ and \n more', 1, 1],
      ['U-1', 'Café', 'upper', 1, 1],
    ],
    listens: ['u-1', 'u-2', 'u-3', 'u-4', 'U-1'].flatMap((track) => [
      at(`${day(6)} 12:00:00`)('é', track),
      at(`${day(6)} 12:00:00`)('e\u0301', track),
    ]),
  },
  'the first and the last year': {
    songs: [],
    listens: [
      at('0001-01-01 00:00:00')('u1', 'old'),
      at('1582-10-10 00:00:00')('u1', 'old'),
      at('9999-12-31 23:59:59')('u1', 'old'),
    ],
  },
  'repetitions, a fraction of a second apart or not': {
    songs: [],
    listens: [
      at(`${day(7)} 01:00:00`)('u1', 'again'),
      at(`${day(7)} 01:00:00`)('u1', 'again'),
      at(`${day(7)} 01:00:00.001`)('u1', 'again'),
    ],
  },
};

describe('every engine gives the same', () => {
  let fixture: KpiJobFixture;
  let glue: GlueEndpoint;
  let kubernetes: GlueEndpoint;
  /** Each must give what the first gives. */
  const engines: Engine[] = [
    async () => new DuckDBRunner(fixture.store, fixture.scratch, fixture.limits),
    async () => glueRunner(fixture.store, glue),
  ];
  const all: Case = {
    songs: Object.values(CASES).flatMap(({ songs }) => songs),
    listens: Object.values(CASES).flatMap(({ listens }) => listens),
  };

  beforeAll(async () => {
    fixture = await KpiJobFixture.start();
    glue = await GlueEndpoint.start(fixture.stack.env);
    kubernetes = await GlueEndpoint.start(fixture.stack.env, { comet: true });
  });
  afterAll(async () => {
    await Promise.all([glue?.stop(), kubernetes?.stop()]);
    await fixture?.stop();
  });

  /** What an engine makes of these jobs, one after the other, on a lake of its own. */
  async function runOn(engine: Engine, jobs: () => Promise<Jobs>): Promise<Result[]> {
    await fixture.store.deletePrefix('lake', 'listens/');
    const runner = await engine();
    const results: Result[] = [];
    for (const job of await jobs()) {
      if (typeof job === 'function') await job();
      else results.push(await fixture.run(runner, job));
    }
    await runner.close();
    return results;
  }

  async function onEach(jobs: () => Promise<Jobs>): Promise<Result[][]> {
    const results: Result[][] = [];
    for (const engine of engines) results.push(await runOn(engine, jobs));
    return results;
  }

  function expectSame(results: readonly Result[][]): void {
    const [first = [], ...others] = results;
    for (const other of others) {
      first.forEach(({ summary, days }, i) => {
        expect(other[i]?.days).toEqual(days);
        expect({ ...other[i]?.summary, engine: '', seconds: 0, days: [] }).toEqual({
          ...summary,
          engine: '',
          seconds: 0,
          days: [],
        });
        for (const kpis of Object.values(days))
          expect(itemsOf(other[i]?.days[kpis.date] ?? kpis, 1)).toEqual(itemsOf(kpis, 1));
      });
    }
  }

  describe('for', () => {
    const first: Listen[] = [
      ['u1', 't1', '2024-06-25 10:00:00'],
      ['u2', 't1', '2024-06-25 10:00:00'],
      ['u1', 't1', '2024-06-24 10:00:00'],
    ];
    const late: Listen[] = [
      ['u2', 't1', '2024-06-25 10:00:00'],
      ['u2', 't3', '2024-06-25 23:59:59'],
      ['u2', 't3', '2024-06-26 00:00:00'],
      ['u2', 'unknown', '2024-06-27 00:00:00'],
    ];
    const songs: Song[] = [
      ['t1', 'pop', 'One', 60_000, 5],
      ['t3', 'rock', 'Three', 1_000, 5],
    ];
    /** Days of two deliveries each, of which those that are named do not stand, and what is left. */
    const PARTLY: Record<string, { leftOut: LeftOut; left: object }> = {
      '2024-08-01': { leftOut: { p1: [0, 7] }, left: { listen_count: 2, unique_listeners: 1 } },
      '2024-08-02': { leftOut: { p2: 'all', q2: [0] }, left: { listen_count: 0, genres: [] } },
      '2024-08-03': { leftOut: { q3: 'all', other: [3] }, left: { listen_count: 2, unique_listeners: 2 } },
    };
    const leftOut: LeftOut = Object.assign({}, ...Object.values(PARTLY).map((each) => each.leftOut));
    const deliver = async () => {
      for (const [i, date] of Object.keys(PARTLY).entries()) {
        const listens = (...of: [user: string, track: string][]) =>
          of.map((each): Listen => [...each, `${date} 10:00:00`]);
        await fixture.place(await fixture.job(`p${i + 1}`, listens(['u1', 't1'], ['u2', 't1']), songs));
        await fixture.place(await fixture.job(`q${i + 1}`, listens(['u2', 't1'], ['u2', 't3']), songs));
      }
    };
    const compact = async () => {
      for (const date of Object.keys(PARTLY))
        await compactDay(fixture.store, 'lake', date, 1, fixture.scratch, fixture.limits);
    };
    const jobs = async (): Promise<Jobs> => [
      await fixture.job('a', [...all.listens, ...first], [...all.songs, ...songs]),
      await fixture.job('b', late, songs, { keepUnknownTracks: false }),
      deliver,
      await fixture.job('c', [], [['t1', 'jazz', 'One', 1, 1]], {
        dates: ['2024-06-24', '2024-06-25', ...Object.keys(PARTLY)],
        leftOut,
      }),
      compact,
      await fixture.job('d', [], songs, { dates: Object.keys(PARTLY), leftOut }),
    ];
    let results: Result[][];
    beforeAll(async () => {
      results = await onEach(jobs);
    });

    it.each(Object.entries(CASES))('%s', (_, { listens }) => {
      const dates = [...new Set(listens.map(([, , time, date]) => date ?? time.slice(0, 10)))];
      const [ofFirst, ...others] = results.map(([result]) => dates.map((date) => result?.days[date]));
      expect(ofFirst).not.toContain(undefined);
      for (const other of others) expect(other).toEqual(ofFirst);
    });

    it('deliveries that do not stand, also once their objects were merged with others', () => {
      for (const [, , c, d] of results)
        for (const [date, { left }] of Object.entries(PARTLY)) {
          expect([date, c?.days[date]]).toMatchObject([date, left]);
          expect([date, d?.days[date]]).toMatchObject([date, left]);
        }
    });

    it('late listens of a day, repeated ones, an empty day, and a backfill with a corrected catalogue', () => {
      for (const [a, b, c] of results) {
        expect(a?.days['2024-06-25']).toMatchObject({ listen_count: 2, unique_listeners: 2 });
        expect(Object.keys(b?.days ?? {})).toEqual(['2024-06-25', '2024-06-26', '2024-06-27']);
        expect(b?.days).toMatchObject({
          '2024-06-25': { listen_count: 3, unique_listeners: 2 },
          '2024-06-26': { listen_count: 1 },
          '2024-06-27': { listen_count: 0, unique_listeners: 0, genres: [], top_songs: [], top_genres: [] },
        });
        expect(b?.summary).toMatchObject({ runRows: 4, newListens: 3, unknownTrackListens: 1 });
        expect(Object.keys(c?.days ?? {})).toEqual(['2024-06-24', '2024-06-25', ...Object.keys(PARTLY)]);
        expect(c?.days['2024-06-25']).toMatchObject({
          listen_count: 3,
          genres: [{ genre: 'Unknown' }, { genre: 'jazz', listen_count: 2 }],
        });
        expect(c?.summary).toMatchObject({ runRows: 0, newListens: 0 });
      }
    });

    it('all of it', () => expectSame(results));

    it('Spark with Comet, as Kubernetes has it: all cases, late listens, and deliveries that do not stand', async () => {
      const few = async () => (await jobs()).filter((job) => typeof job === 'function' || job.runId !== 'c');
      const expected = (results[0] ?? []).filter(({ summary }) => summary.runId !== 'c');
      expect(expected.map(({ summary }) => summary.runId)).toEqual(['a', 'b', 'd']);
      expectSame([expected, await runOn(async () => glueRunner(fixture.store, kubernetes), few)]);
    });
  });

  const lab = labData();
  it(
    lab === undefined ? 'the samples (LAB_DATA is not set, so not the lab files)' : 'the samples and the lab files',
    async () => {
      const folders = [path.join(workspaceRoot(), 'samples'), ...(lab === undefined ? [] : [lab])];
      expectSame(await onEach(async () => [await fixture.jobOnFolders('folders', folders)]));
    },
  );
});

async function glueRunner(store: KpiJobFixture['store'], endpoint: GlueEndpoint): Promise<JobRunner> {
  const client = new GlueClient({
    endpoint: endpoint.url,
    region: 'us-east-1',
    credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
    maxAttempts: 1,
  });
  await setUpGlueJob(client, store, 'lake', {
    jobName: 'music-kpis',
    roleArn: 'arn:aws:iam::123456789012:role/music-kpis',
    workerType: 'G.1X',
    workers: 2,
    timeoutMinutes: 10,
  });
  return new GlueRunner(client, store, { jobName: 'music-kpis', region: 'us-east-1', timeoutMinutes: 10 });
}
