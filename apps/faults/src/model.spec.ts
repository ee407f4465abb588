import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ErasureKey } from '@music/erasure';
import { STAGES, type Stage } from '@music/events';
import { dayAfter } from '@music/local-pipeline';
import { dayReport, requestBackfill, requestForget, requestRun, requestStanding } from '@music/reports';
import type { Gate, Phase } from '@music/testing';
import fc from 'fast-check';
import { WHOLE, WHOLE_MS, faultSeed, logFault } from './fault-log';
import { FaultyPipeline } from './faulty-pipeline';

if (WHOLE) jest.setTimeout(WHOLE_MS);

const SEQUENCES = WHOLE ? 25 : 1;
const STEPS = WHOLE ? 16 : 8;
const DAYS = 2;
const USERS = 4;
const TRACKS = 3;

/** A listen: user, track, day and hour. */
type Listen = readonly [user: number, track: number, day: number, hour: number];
/** What a step does; files, runs and users are picked among those that are there. */
type Step =
  | { readonly do: 'deliver'; readonly listens: readonly Listen[] }
  | { readonly do: 'copy' | 'retract' | 'restore' | 'retract run' | 'restore run'; readonly pick: number }
  | { readonly do: 'replace'; readonly pick: number; readonly listens: readonly Listen[] }
  | { readonly do: 'forget'; readonly pick: number }
  | { readonly do: 'backfill' };
/** Which call of which stage, counted among those that change something, and whether before or after it. */
interface Kill {
  readonly stage: Stage;
  readonly call: number;
  readonly phase: Phase;
}

// ---- What is to come of it: a set of deliveries.

interface Delivery {
  readonly file: string;
  readonly run: number;
  listens: readonly Listen[];
  stands: boolean;
}

class Reference {
  readonly deliveries: Delivery[] = [];
  readonly forgotten = new Set<number>();

  deliver(file: string, run: number, listens: readonly Listen[]): void {
    this.change((each) => each.file === file, false); // SAME_NAME=replace
    this.deliveries.push({ file, run, listens: listens.filter(([user]) => !this.forgotten.has(user)), stands: true });
  }
  change(which: (delivery: Delivery) => boolean, stands: boolean): void {
    for (const delivery of this.deliveries.filter(which)) delivery.stands = stands;
  }
  forget(user: number): void {
    this.forgotten.add(user);
    for (const delivery of this.deliveries) delivery.listens = delivery.listens.filter(([of]) => of !== user);
  }
  day(day: number) {
    const counted = this.deliveries.filter(({ stands }) => stands).flatMap(({ listens }) => listens);
    const listens = [...new Set(counted.filter(([, , on]) => on === day).map((listen) => listen.join()))];
    const genres = new Map<string, { listens: number; users: Set<string> }>();
    for (const [user = '', track = ''] of listens.map((listen) => listen.split(','))) {
      const genre = genres.get(`g${track}`) ?? { listens: 0, users: new Set() };
      genres.set(`g${track}`, { listens: genre.listens + 1, users: genre.users.add(user) });
    }
    return {
      listens: listens.length,
      users: new Set(listens.map((listen) => listen.split(',')[0])).size,
      genres: [...genres].sort().map(([name, genre]) => [name, genre.listens, genre.users.size]),
    };
  }
}

// ---- The same on a pipeline.

const listen = fc.tuple(fc.nat(USERS - 1), fc.nat(TRACKS - 1), fc.nat(DAYS - 1), fc.nat(5));
const listens = fc.array(listen, { minLength: 1, maxLength: 6 });
const pick = fc.nat(50);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('deliver' as const), listens }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('replace' as const), pick, listens }) },
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'copy' as const,
        'retract' as const,
        'restore' as const,
        'retract run' as const,
        'restore run' as const,
      ),
      pick,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('backfill' as const) }) },
);
const kill: fc.Arbitrary<Kill> = fc.record({
  stage: fc.constantFrom(...STAGES),
  call: fc.nat(12),
  phase: fc.constantFrom('before' as const, 'after' as const),
});

describe('any sequence of deliveries, copies, replacements, retractions, restorations, erasures and backfills', () => {
  let faulty: FaultyPipeline;
  let dir: string;
  let keyFile: string;
  let sequences = 0;
  let kills = 0;
  let steps = 0;

  afterEach(async () => {
    await faulty?.stop();
    await rm(dir, { recursive: true });
  });

  async function start(engine: 'duckdb' | 'glue'): Promise<void> {
    dir = await mkdtemp(path.join(tmpdir(), 'model-spec-'));
    keyFile = path.join(dir, 'key');
    await writeFile(keyFile, 'a key of 32 bytes that a spec has');
    await writeFile(path.join(dir, 'checks.yaml'), 'checks: []');
    faulty = await FaultyPipeline.start({
      engine,
      env: {
        SAME_NAME: 'replace',
        LAKE_MAX_OBJECTS: '2',
        ERASURE_KEY_FILE: keyFile,
        CHECKS_FILE: path.join(dir, 'checks.yaml'),
      },
    });
    const songs = Array.from({ length: TRACKS }, (_, n) => `t${n},S,A,g${n},1000,1\n`);
    await put('songs/songs.csv', `track_id,track_name,artists,track_genre,duration_ms,popularity\n${songs.join('')}`);
    await put('users/users.csv', 'user_id,user_name,user_country\n1,Ada,UK\n');
  }

  const put = (key: string, text: string) =>
    faulty.pipeline.stores.objects.putText(faulty.pipeline.config.sourceBucket, key, text, 'text/csv');

  /** Makes a sequence on days and with names of its own, and compares after each step. */
  async function make(sequence: readonly (readonly [Step, Kill | null])[]): Promise<void> {
    sequences += 1;
    const space = `s${sequences}`;
    const dayOf = (day: number) => dayAfter('2023-01-01', sequences * 5 + day);
    const reference = new Reference();
    const runs: string[] = [];
    let files = 0;
    const write = (file: string, of: readonly Listen[]) => {
      steps += 1; // what is written differs each time, so that it is a version of its own
      const rows = of.map(
        ([user, track, day, hour]) => `${space}-u${user},t${track},${dayOf(day)} 0${hour}:00:00,${steps}\n`,
      );
      return put(`streams/${space}/${file}.csv`, `user_id,track_id,listen_time,n\n${rows.join('')}`);
    };
    const run = () => requestRun(faulty.pipeline.stores, { logicalDate: dayOf(0), immediately: true });
    const deliver = async (file: string, of: readonly Listen[]) => {
      await write(file, of);
      const runId = await run();
      reference.deliver(file, runs.push(runId) - 1, of);
      return runId;
    };
    /** Begins a step; gives its run, or nothing where there is nothing to do it to. */
    const begin = async (what: Step): Promise<string | undefined> => {
      const { stores, config } = faulty.pipeline;
      const known = [...new Set(reference.deliveries.map(({ file }) => file))];
      if (what.do === 'deliver') return deliver(`f${(files += 1)}`, what.listens);
      if (what.do === 'backfill') return requestBackfill(stores, dayOf(0), dayOf(DAYS - 1));
      if (what.do === 'forget') {
        const user = what.pick % USERS;
        reference.forget(user);
        const hashes = [ErasureKey.read(keyFile).hash(`${space}-u${user}`)];
        return requestForget(stores, config.lakeBucket, { hashes }, dayOf(0));
      }
      if (known.length === 0) return undefined;
      const file = known[what.pick % known.length] ?? '';
      if (what.do === 'replace') return deliver(file, what.listens);
      if (what.do === 'copy') {
        const of = reference.deliveries.find((each) => each.file === file)?.listens ?? [];
        return of.length === 0 ? undefined : deliver(`f${(files += 1)}`, of); // all of it may be forgotten
      }
      const change = what.do.startsWith('retract') ? ('retract' as const) : ('restore' as const);
      const number = what.pick % runs.length;
      const which = what.do.endsWith('run')
        ? ({ run: of }: Delivery) => of === number
        : (each: Delivery) => each.file === file;
      reference.change(which, change === 'restore');
      const asked = what.do.endsWith('run') ? { ofRun: runs[number] } : { key: `streams/${space}/${file}.csv` };
      return requestStanding(stores, { change, reason: 'a model', ...asked }, dayOf(0));
    };

    const done: string[] = [];
    for (const [what, dies] of sequence) {
      let left = dies?.call ?? 0;
      let hit = false;
      const gate: Gate = (call, phase) => {
        if (dies === null || hit || call.caller !== dies.stage || !call.changes || phase !== dies.phase) return 'pass';
        left -= 1;
        if (left >= 0) return 'pass';
        hit = true;
        kills += 1;
        faulty.kill(dies.stage);
        return 'cut';
      };
      let nothing = false;
      const start = async () => {
        const runId = await begin(what);
        nothing = runId === undefined;
        return { shift: 0, runId: runId ?? (await run()) };
      };
      const { runId } = await faulty.runWith(gate, () => `${JSON.stringify(what)}, killed: ${JSON.stringify(dies)}`, {
        start,
      });
      done.push(`${JSON.stringify(what)}${hit ? `, killed: ${JSON.stringify(dies)}` : ''}`);
      const { state, reasons } = (await faulty.pipeline.stores.runs.findRun(runId)) ?? {};
      // Nothing to take, to take back or to compute again: skipped.
      const ended = nothing ? 'skipped' : expect.stringMatching(/^(completed|skipped)$/);
      expect({ done, reasons, state }).toEqual({ done, reasons, state: ended });
      for (let day = 0; day < DAYS; day += 1) {
        const report = await dayReport(faulty.pipeline.stores.kpis, dayOf(day));
        const served = {
          listens: report?.listen_count ?? 0,
          users: report?.unique_listeners ?? 0,
          genres:
            report?.genres.map(({ genre, listen_count, unique_listeners }) => [
              genre,
              listen_count,
              unique_listeners,
            ]) ?? [],
        };
        expect({ done, day, served }).toEqual({ done, day, served: reference.day(day) });
      }
    }
  }

  const property = (mayKill: boolean, most: number) =>
    fc.asyncProperty(
      fc.array(fc.tuple(step, mayKill ? fc.option(kill) : fc.constant(null)), { minLength: most, maxLength: most }),
      make,
    );

  it('gives after each step what a set of deliveries gives, whoever dies', async () => {
    await start('duckdb');
    const seed = faultSeed();
    await fc.assert(property(true, STEPS), { numRuns: SEQUENCES, seed, endOnFailure: true });
    const outcome = 'equal to the reference after each';
    logFault({ fault: 'kill -9', where: `random sequences: ${sequences} of ${STEPS} steps`, times: kills, outcome });
  });

  (WHOLE ? it : it.skip)('gives so on Spark', async () => {
    await start('glue');
    await fc.assert(property(false, 8), { numRuns: 1, seed: faultSeed(), endOnFailure: true });
    logFault({
      fault: 'none',
      where: 'a random sequence on Spark',
      times: 8,
      outcome: 'equal to the reference after each',
    });
  });
});
