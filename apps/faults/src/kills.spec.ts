import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ErasureKey } from '@music/erasure';
import { STAGES, type Stage } from '@music/events';
import { dayAfter } from '@music/local-pipeline';
import { listOpenDeadLetters, replay } from '@music/messaging';
import { requestBackfill, requestForget, requestStanding } from '@music/reports';
import { decideHold } from '@music/runs';
import { type Gate, type Phase, type ProxiedCall, type Verdict, s3Error } from '@music/testing';
import { WHOLE, WHOLE_MS, faultSeed, logFault, seeded } from './fault-log';
import { type Delivery, FaultyPipeline, SAMPLE_DAYS } from './faulty-pipeline';

if (WHOLE) jest.setTimeout(WHOLE_MS);

const RANDOM_RUNS = WHOLE ? 50 : 2;
const MAX_TRIES = 4;
/** Of the samples' first day: samples/expected.json. */
const DAY_LISTENS = 1_150;
/** So much longer a call to S3 takes in a slow run: more than a third of a lease, after which the lease is renewed. */
const SLOW_MS = 800;
const PHASES: readonly Phase[] = ['before', 'after'];
const HEADER = 'user_id,track_id,listen_time\n';
/** Listens of others in a file that has one of a user who is forgotten. */
const FORGET_OTHERS = 30;
/** Versions of a file are told by the second. */
const VERSION_MS = 1_100;

/** About what counts of what was delivered. */
const ABOUT_WHAT_COUNTS = ['retract', 'restore', 'replace', 'hold', 'release', 'discard', 'forget'] as const;
const KINDS = [
  'delivery',
  'no files',
  'only bad files',
  'failure and replay',
  'compaction',
  'backfill',
  ...ABOUT_WHAT_COUNTS,
] as const;
/** What a run is about. */
type Kind = (typeof KINDS)[number];
const TAKING_BACK: ReadonlySet<Kind> = new Set(ABOUT_WHAT_COUNTS);
/** Calls that tell what counts. */
const WHAT_COUNTS = /standing|held|erased|left\.jsonl|kept|plan\.json|report\.json/;
const sweepRuns = (kind: Kind): number => (WHOLE ? Infinity : kind === 'delivery' ? 3 : 1);

/** A step of a service that others can see, and the moment before or after it. */
interface FaultPoint {
  readonly stage: Stage;
  /** The kind of run that makes it; what several make is a point of the first. */
  readonly kind: Kind;
  readonly call: string;
  readonly phase: Phase;
}

/** What a run came to. */
interface Result {
  readonly delivery: Delivery;
  readonly outcome: unknown;
}

/**
 * Starts a run while faults are injected, and waits for its end. Calls that no fault is injected in do what `otherwise`
 * says.
 */
type Disturbed = (start: () => Promise<Delivery>, otherwise?: Gate) => Promise<Delivery>;

const isStage = (caller: string): caller is Stage => (STAGES as readonly string[]).includes(caller);
const nameOf = ({ stage, call, phase }: FaultPoint) => `${stage}: ${phase} ${call}`;
const callName = ({ server, name }: ProxiedCall) => `${server} ${name}`;

/** Lets a call pass, one to S3 after a while. */
async function late({ server }: ProxiedCall): Promise<Verdict> {
  if (server === 's3') await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
  return 'pass';
}

/** To the KPI job its listens are gone, which trying again does not mend. */
const withoutListens: Gate = ({ caller, name }, phase) =>
  caller === 'glue-trigger' && phase === 'before' && /^CopyObject music-lake\/listens/.test(name)
    ? s3Error(404, 'NoSuchKey')
    : 'pass';

/**
 * What can be lost or done twice is what a service tells its servers. So its fault points are its calls that change
 * something, as an undisturbed run makes them, each with the moment before the server has it and the moment after:
 * before the effect, between effect and state, between state and event, between event and commit. A new step of a
 * handler or a timer is a new call, and thereby a new point.
 */
describe('kill -9', () => {
  let faulty: FaultyPipeline;
  let dir: string;
  let keyFile: string;
  const random = seeded(faultSeed());
  /** What becomes of a run of each kind as nobody disturbs it. */
  const undisturbed = new Map<Kind, Result>();
  const points: FaultPoint[] = [];
  const callsOf = new Map<Stage, number>();
  const swept = new Map<Stage, number>();
  let randomKills = 0;
  const runs: { kind: Kind; result: Result; faults: string[] }[] = [];

  const resultOf = async (delivery: Delivery): Promise<Result> => ({
    delivery,
    outcome: await faulty.outcome(delivery),
  });
  const settled = async (delivery: Delivery): Promise<Delivery> => {
    await faulty.settle(delivery);
    return delivery;
  };
  const backfill = async ({ shift }: Delivery): Promise<Delivery> => {
    const [first = '', last = ''] = SAMPLE_DAYS.map((day) => dayAfter(day, shift));
    return { shift, runId: await requestBackfill(faulty.pipeline.stores, first, last) };
  };
  /** A stream file of a single text. */
  const put = (name: string, text: string) =>
    faulty.pipeline.stores.objects.putText(
      faulty.pipeline.config.sourceBucket,
      `streams/${name}.csv`,
      text,
      'text/csv',
    );

  const make: Record<Kind, (disturbed: Disturbed) => Promise<Result>> = {
    delivery: async (disturbed) => resultOf(await disturbed(() => faulty.deliver())),
    'no files': async (disturbed) => resultOf(await disturbed(() => faulty.request(faulty.nextShift()))),
    'only bad files': async (disturbed) =>
      resultOf(
        await disturbed(async () => {
          const shift = faulty.nextShift();
          await put(
            `${dayAfter(SAMPLE_DAYS[0], shift)}-bad`,
            `user_id,listen_time\n${String(shift).padStart(6, '0')},2026\n`,
          );
          return faulty.request(shift);
        }),
      ),
    'failure and replay': async (disturbed) => {
      const failed = await resultOf(await disturbed(() => faulty.deliver(), withoutListens));
      const { kafka, runs: store } = faulty.pipeline.stores;
      await replay(kafka, store, await listOpenDeadLetters(kafka, store));
      await faulty.pipeline.untilRunIs('completed', failed.delivery.runId);
      const completed = await resultOf(await settled(failed.delivery));
      return { delivery: failed.delivery, outcome: { failed: failed.outcome, completed: completed.outcome } };
    },
    backfill: async (disturbed) => {
      const { delivery } = undisturbed.get('delivery') as Result;
      return resultOf(await disturbed(() => backfill(delivery)));
    },
    retract: async (disturbed) => {
      const first = await settled(await faulty.deliver());
      return resultOf(await disturbed(() => changeStanding(first, 'retract')));
    },
    restore: async (disturbed) => {
      const first = await settled(await faulty.deliver());
      await settled(await changeStanding(first, 'retract'));
      return resultOf(await disturbed(() => changeStanding(first, 'restore')));
    },
    replace: async (disturbed) => {
      const first = await settled(await faulty.deliver());
      const day = dayAfter(SAMPLE_DAYS[0], first.shift);
      await put(`${day}-same`, `${HEADER}u0001,trk0001,${day} 23:59:58\nu0001,trk0001,${day} 23:59:57\n`);
      await settled(await faulty.request(first.shift));
      await pause(VERSION_MS);
      return resultOf(
        await disturbed(async () => {
          await put(`${day}-same`, `${HEADER}u0001,trk0001,${day} 23:59:58\n`);
          return faulty.request(first.shift);
        }),
      );
    },
    hold: async (disturbed) => {
      const held = await resultOf(await disturbed(() => suspicious()));
      await settled(await decide(held.delivery, 'discard')); // so that later runs do not find its file
      return held;
    },
    release: async (disturbed) => {
      const held = await settled(await suspicious());
      return resultOf(await disturbed(() => decide(held, 'release')));
    },
    discard: async (disturbed) => {
      const held = await settled(await suspicious());
      return resultOf(await disturbed(() => decide(held, 'discard')));
    },
    forget: async (disturbed) => {
      const first = await settled(await faulty.deliver());
      const day = dayAfter(SAMPLE_DAYS[0], first.shift);
      const id = `forget-${first.shift}`;
      const second = (n: number) => `${day} 23:59:${String(n).padStart(2, '0')}`;
      const others = Array.from({ length: FORGET_OTHERS }, (_, n) => `u0001,trk0001,${second(n)}\n`);
      const good = `${id},trk0001,${second(58)}\n${others.join('')}`;
      await put(`${day}-forget`, `${HEADER}${good}${id},,\n`);
      await settled(await faulty.request(first.shift));
      return resultOf(await disturbed(async () => ({ shift: first.shift, runId: await forget(id) })));
    },
    compaction: async (disturbed) => {
      const first = await settled(await faulty.deliver());
      const day = dayAfter(SAMPLE_DAYS[0], first.shift);
      const second = await resultOf(
        await disturbed(async () => {
          await put(`${day}-late`, `user_id,track_id,listen_time\nu0001,trk0001,${day} 23:59:58\n`);
          return faulty.request(first.shift);
        }),
      );
      const recomputed = await resultOf(await settled(await backfill(first)));
      return { delivery: second.delivery, outcome: { compacted: second.outcome, recomputed: recomputed.outcome } };
    },
  };
  async function changeStanding({ shift, runId }: Delivery, change: 'retract' | 'restore'): Promise<Delivery> {
    const asked = { change, ofRun: runId, reason: 'a spec' };
    const logicalDate = dayAfter(SAMPLE_DAYS[0], shift);
    return { shift, runId: await requestStanding(faulty.pipeline.stores, asked, logicalDate) };
  }
  /** A run that checks hold: most of its rows were counted before. */
  async function suspicious(): Promise<Delivery> {
    const { shift } = await settled(await faulty.deliver());
    const day = dayAfter(SAMPLE_DAYS[0], shift);
    const row = `u0001,trk0001,${day} 23:59:58\n`;
    await put(`${day}-suspicious`, `${HEADER}${row.repeat(9)}`);
    return faulty.request(shift);
  }
  async function decide(held: Delivery, what: 'release' | 'discard'): Promise<Delivery> {
    await decideHold(faulty.pipeline.stores.runs, held.runId, { what, by: 'spec', reason: 'a spec' });
    return held;
  }
  function forget(id: string): Promise<string> {
    const { stores, config } = faulty.pipeline;
    const hashes = [ErasureKey.read(keyFile).hash(id)];
    return requestForget(stores, config.lakeBucket, { hashes, archive: 'delete' }, SAMPLE_DAYS[0]);
  }
  /** Makes a run of a kind while a gate injects faults. */
  const makeWith = (kind: Kind, gate: Gate, injected: () => string): Promise<Result> =>
    make[kind]((start, otherwise = () => 'pass') =>
      faulty.runWith(
        async (call, phase) => {
          const verdict = await gate(call, phase);
          return verdict === 'pass' ? otherwise(call, phase) : verdict;
        },
        injected,
        { start },
      ),
    );

  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'kills-spec-'));
    keyFile = path.join(dir, 'key');
    await writeFile(keyFile, 'a key of 32 bytes that a spec has');
    const checks = path.join(dir, 'checks.yaml');
    await writeFile(checks, 'checks: [{ check: duplicates, level: hold, more_than: 0.5, at_least: 1 }]');
    faulty = await FaultyPipeline.start({
      env: { LAKE_MAX_OBJECTS: '1', SAME_NAME: 'replace', CHECKS_FILE: checks, ERASURE_KEY_FILE: keyFile },
    });
    let seen = new Set<string>();
    for (const kind of KINDS) {
      if (kind === 'backfill') seen = new Set(); // it makes the steps of others, all with another aim
      // So do these, with what tells what counts.
      if (TAKING_BACK.has(kind)) for (const name of seen) if (WHAT_COUNTS.test(name)) seen.delete(name);
      // The first run in a new stack does some things that no later one does, so its steps cannot be reached again.
      if (kind === 'delivery') await settled(await faulty.deliver());
      // Several runs: in a slow one leases are renewed.
      for (const slow of kind === 'delivery' || kind === 'no files' ? [WHOLE, false] : [false]) {
        if (kind === 'delivery') callsOf.clear();
        const gate: Gate = async (call, phase): Promise<Verdict> => {
          if (!isStage(call.caller)) return 'pass';
          if (phase === 'after') return slow ? late(call) : 'pass';
          if (kind === 'delivery') callsOf.set(call.caller, (callsOf.get(call.caller) ?? 0) + 1);
          const name = `${call.caller} ${callName(call)}`;
          if (call.changes && !seen.has(name)) {
            seen.add(name);
            for (const each of PHASES) points.push({ stage: call.caller, kind, call: callName(call), phase: each });
          }
          return 'pass';
        };
        undisturbed.set(kind, await makeWith(kind, gate, () => 'nothing'));
      }
    }
  });
  afterAll(async () => {
    await faulty?.stop();
    await rm(dir, { recursive: true });
  });

  it('undisturbed runs have outcomes to compare with, and every stage has fault points', () => {
    const outcome = (kind: Kind) => undisturbed.get(kind)?.outcome;
    const rejected = { state: 'rejected', reason: 'missing_columns' };
    const completed = {
      state: 'completed',
      rows: { kept: 2_145 },
      files: expect.arrayContaining([expect.objectContaining(rejected)]),
      source: [],
      intermediate: [],
    };
    const sums = (more: number) => ({ days: [{ listen_count: DAY_LISTENS + more }, {}] });
    expect(outcome('delivery')).toMatchObject({ ...completed, ...sums(0) });
    expect(outcome('no files')).toMatchObject({ state: 'skipped', files: [] });
    expect(outcome('only bad files')).toMatchObject({ state: 'rejected', files: [rejected], source: [] });
    expect(outcome('failure and replay')).toMatchObject({ failed: { state: 'failed', archive: [] }, completed });
    expect(outcome('backfill')).toMatchObject({ state: 'completed', ...sums(0) });
    expect(outcome('compaction')).toMatchObject({ compacted: { ...sums(1), lake: [] }, recomputed: sums(1) });
    const nothing = { listen_count: 0, genres: [] };
    expect(outcome('retract')).toMatchObject({
      state: 'completed',
      days: [nothing, nothing],
      standing: { deliveries: 2 },
    });
    expect(outcome('restore')).toMatchObject({ state: 'completed', ...sums(0) });
    expect(outcome('replace')).toMatchObject({ state: 'completed', ...sums(1), standing: { change: 'replace' } });
    const held = { findings: [{ check: 'duplicates' }], rows: expect.anything() };
    expect(outcome('hold')).toMatchObject({
      state: 'held',
      ...held,
      ...sums(0),
      leftOut: { held: true },
    });
    expect(outcome('release')).toMatchObject({ state: 'completed', ...sums(1), decision: { what: 'release' } });
    expect(outcome('discard')).toMatchObject({ state: 'completed', ...sums(0), decision: { what: 'discard' } });
    expect(outcome('forget')).toMatchObject({
      state: 'completed',
      ...sums(FORGET_OTHERS),
      erased: { listens: 1, archived: [true], left: [] },
    });
    for (const stage of STAGES) expect(points.filter((point) => point.stage === stage).length).toBeGreaterThan(5);
    for (const kind of KINDS) expect(points.filter((point) => point.kind === kind).length).toBeGreaterThan(0);
    if (process.env['FAULT_POINTS'] !== undefined)
      process.stdout.write(`${points.map((point) => `${point.kind}: ${nameOf(point)}`).join('\n')}\n`);
  });

  it.each(KINDS)('at every fault point of every stage changes nothing: %s', async (kind) => {
    const open = new Map(
      STAGES.map((stage) => [stage, points.filter((point) => point.stage === stage && point.kind === kind)]),
    );
    if (!WHOLE) for (const left of open.values()) left.sort(() => random() - 0.5); // other ones each time
    const tries = new Map<FaultPoint, number>();
    for (let run = 0; run < sweepRuns(kind) && [...open.values()].some(({ length }) => length > 0); run += 1) {
      // One point of each stage a run.
      const armed = new Map<Stage, FaultPoint>();
      for (const [stage, left] of open) if (left[0] !== undefined) armed.set(stage, left[0]);
      const hit: FaultPoint[] = [];
      const gate: Gate = (call, phase) => {
        const point = isStage(call.caller) ? armed.get(call.caller) : undefined;
        if (point === undefined) return 'pass';
        if (point.call !== callName(call) || point.phase !== phase)
          return phase === 'after' && tries.has(point) ? late(call) : 'pass';
        armed.delete(point.stage);
        hit.push(point);
        faulty.kill(point.stage);
        return 'cut';
      };
      const result = await makeWith(kind, gate, () => `kill -9 at ${hit.map(nameOf).join(', ')}`);
      compare(kind, result, hit.map(nameOf));
      for (const { stage } of hit) swept.set(stage, (swept.get(stage) ?? 0) + 1);
      for (const left of open.values()) {
        const point = left.shift();
        if (point === undefined || hit.includes(point)) continue;
        // The step was not made this time; a later run, in which the stage is slow, may make it.
        tries.set(point, (tries.get(point) ?? 0) + 1);
        if ((tries.get(point) ?? 0) === MAX_TRIES)
          throw new Error(`${nameOf(point)} was not reached in ${MAX_TRIES} runs`);
        left.push(point);
      }
    }
  });

  it('at random moments of several stages changes nothing', async () => {
    // A run may end before its moments come; where all did, others are made.
    const more = (run: number) => run < RANDOM_RUNS || (randomKills === 0 && run < RANDOM_RUNS + 10);
    for (let run = 0; more(run); run += 1) {
      const armed = new Map<Stage, number>();
      for (const stage of STAGES)
        if (random() < 0.5) armed.set(stage, Math.floor(random() * (callsOf.get(stage) ?? 1)));
      const phase = PHASES[Math.floor(random() * 2)];
      const hit: string[] = [];
      const gate: Gate = (call, moment) => {
        if (!isStage(call.caller) || moment !== phase) return 'pass';
        const left = armed.get(call.caller);
        if (left === undefined) return 'pass';
        armed.set(call.caller, left - 1);
        if (left > 0) return 'pass';
        armed.delete(call.caller);
        hit.push(`${call.caller}: ${moment} ${callName(call)}`);
        faulty.kill(call.caller);
        return 'cut';
      };
      compare('delivery', await makeWith('delivery', gate, () => `kill -9 at ${hit.join(', ')}`), hit);
      randomKills += hit.length;
    }
    expect(randomKills).toBeGreaterThan(0);
  });

  it('leaves the events that an undisturbed run does', async () => {
    const events = await faulty.events();
    for (const { kind, result, faults } of runs) {
      const expected = events.get(undisturbed.get(kind)?.delivery.runId ?? '');
      expect({ kind, faults, events: events.get(result.delivery.runId) }).toEqual({ kind, faults, events: expected });
    }
    const outcome = 'as undisturbed';
    for (const stage of STAGES) {
      const where = `${stage}, ${points.filter((point) => point.stage === stage).length} points`;
      logFault({ fault: 'kill -9', where, times: swept.get(stage) ?? 0, outcome });
    }
    logFault({ fault: 'kill -9', where: `random moments, ${RANDOM_RUNS} runs`, times: randomKills, outcome });
  });

  /** Expects numbers, archive, source, quarantine, lake and states to be as those of an undisturbed run. */
  function compare(kind: Kind, result: Result, faults: string[]): void {
    expect({ kind, faults, outcome: result.outcome }).toEqual({
      kind,
      faults,
      outcome: undisturbed.get(kind)?.outcome,
    });
    runs.push({ kind, result, faults });
  }
});
