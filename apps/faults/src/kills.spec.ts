import { STAGES, type Stage } from '@music/events';
import type { Gate, Phase, ProxiedCall, Verdict } from '@music/testing';
import { WHOLE, faultSeed, logFault, seeded } from './fault-log';
import { type Delivery, FaultyPipeline } from './faulty-pipeline';

jest.setTimeout(WHOLE ? 1_800_000 : 300_000);

const RANDOM_RUNS = WHOLE ? 50 : 2;
const SWEEP_RUNS = WHOLE ? Infinity : 3;
const MAX_TRIES = 4;
/** So much longer a call to S3 takes in a slow run: more than a third of a lease, after which the lease is renewed. */
const SLOW_MS = 800;
const PHASES: readonly Phase[] = ['before', 'after'];
const STARTS = ['delivery', 'no files'] as const;
type Start = (typeof STARTS)[number];

/** A step of a service that others can see, and the moment before or after it. */
interface FaultPoint {
  readonly stage: Stage;
  /** The kind of run that makes it. */
  readonly start: Start;
  readonly call: string;
  readonly phase: Phase;
}

const isStage = (caller: string): caller is Stage => (STAGES as readonly string[]).includes(caller);
const nameOf = ({ stage, call, phase }: FaultPoint) => `${stage}: ${phase} ${call}`;
const callName = ({ server, name }: ProxiedCall) => `${server} ${name}`;

/** Lets a call pass, one to S3 after a while. */
async function late({ server }: ProxiedCall): Promise<Verdict> {
  if (server === 's3') await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
  return 'pass';
}

/**
 * What can be lost or done twice is what a service tells its servers. So its fault points are its calls that change
 * something, as an undisturbed run makes them, each with the moment before the server has it and the moment after: before
 * the effect, between effect and state, between state and event, between event and commit. A new step of a handler or a
 * timer is a new call, and thereby a new point.
 */
describe('kill -9', () => {
  let faulty: FaultyPipeline;
  const random = seeded(faultSeed());
  /** What becomes of runs, as nobody disturbed them: one of the samples, with a file that is rejected; one without files. */
  const undisturbed = new Map<string, { delivery: Delivery; outcome: unknown }>();
  const points: FaultPoint[] = [];
  const callsOf = new Map<Stage, number>();
  const swept = new Map<Stage, number>();
  let randomKills = 0;
  const runs: { start: Start; delivery: Delivery; faults: string[] }[] = [];
  const starts: Record<Start, () => Promise<Delivery>> = {
    delivery: () => faulty.deliver(),
    'no files': () => faulty.request(faulty.nextShift()),
  };

  beforeAll(async () => {
    faulty = await FaultyPipeline.start();
    const seen = new Set<string>();
    for (const start of STARTS) {
      // Several runs: the first one in a new stack does some things that later ones do not, and in a slow one leases are renewed.
      for (const slow of WHOLE ? [true, false, false] : [false, false]) {
        if (start === 'delivery') callsOf.clear();
        const gate: Gate = async (call, phase): Promise<Verdict> => {
          if (!isStage(call.caller)) return 'pass';
          if (phase === 'after') return slow ? late(call) : 'pass';
          callsOf.set(call.caller, (callsOf.get(call.caller) ?? 0) + 1);
          const name = `${call.caller} ${callName(call)}`;
          if (call.changes && !seen.has(name)) {
            seen.add(name);
            for (const each of PHASES) points.push({ stage: call.caller, start, call: callName(call), phase: each });
          }
          return 'pass';
        };
        const delivery = await faulty.runWith(gate, () => 'nothing', { start: starts[start] });
        undisturbed.set(start, { delivery, outcome: await faulty.outcome(delivery) });
      }
    }
  });
  afterAll(() => faulty?.stop());

  it('an undisturbed run has an outcome to compare with, and every stage has fault points', () => {
    const rejected = { state: 'rejected', reason: 'missing_columns' };
    expect(undisturbed.get('delivery')?.outcome).toMatchObject({
      state: 'completed',
      rows: { kept: 2_145 },
      files: expect.arrayContaining([expect.objectContaining(rejected)]),
      source: [],
      intermediate: [],
    });
    expect(undisturbed.get('no files')?.outcome).toMatchObject({ state: 'skipped', files: [] });
    for (const stage of STAGES) expect(points.filter((point) => point.stage === stage).length).toBeGreaterThan(5);
    if (process.env['FAULT_POINTS'] !== undefined) process.stdout.write(`${points.map(nameOf).join('\n')}\n`);
  });

  it('at every fault point of every stage changes nothing', async () => {
    for (const start of STARTS) {
      const open = new Map(STAGES.map((stage) => [stage, points.filter((point) => point.stage === stage && point.start === start)]));
      if (!WHOLE) for (const left of open.values()) left.sort(() => random() - 0.5); // other ones each time
      const tries = new Map<FaultPoint, number>();
      for (let run = 0; run < SWEEP_RUNS && [...open.values()].some(({ length }) => length > 0); run += 1) {
        // One point of each stage a run.
        const armed = new Map<Stage, FaultPoint>();
        for (const [stage, left] of open) if (left[0] !== undefined) armed.set(stage, left[0]);
        const hit: FaultPoint[] = [];
        const gate: Gate = (call, phase) => {
          const point = isStage(call.caller) ? armed.get(call.caller) : undefined;
          if (point === undefined) return 'pass';
          if (point.call !== callName(call) || point.phase !== phase) return phase === 'after' && tries.has(point) ? late(call) : 'pass';
          armed.delete(point.stage);
          hit.push(point);
          faulty.kill(point.stage);
          return 'cut';
        };
        const delivery = await faulty.runWith(gate, () => `kill -9 at ${hit.map(nameOf).join(', ')}`, { start: starts[start] });
        runs.push({ start, delivery, faults: hit.map(nameOf) });
        for (const { stage } of hit) swept.set(stage, (swept.get(stage) ?? 0) + 1);
        for (const left of open.values()) {
          const point = left.shift();
          if (point === undefined || hit.includes(point)) continue;
          // The step was not made this time; a later run, in which the stage is slow, may make it.
          tries.set(point, (tries.get(point) ?? 0) + 1);
          if ((tries.get(point) ?? 0) === MAX_TRIES) throw new Error(`${nameOf(point)} was not reached in ${MAX_TRIES} runs`);
          left.push(point);
        }
      }
    }
  });

  it('at random moments of several stages changes nothing', async () => {
    for (let run = 0; run < RANDOM_RUNS; run += 1) {
      const armed = new Map<Stage, number>();
      for (const stage of STAGES) if (random() < 0.5) armed.set(stage, Math.floor(random() * (callsOf.get(stage) ?? 1)));
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
      const delivery = await faulty.runWith(gate, () => `kill -9 at ${hit.join(', ')}`);
      runs.push({ start: 'delivery', delivery, faults: hit });
      randomKills += hit.length;
    }
    expect(randomKills).toBeGreaterThan(0);
  });

  it('leaves numbers, archive, source, quarantine, run states and events as an undisturbed run does', async () => {
    const events = await faulty.events();
    for (const { start, delivery, faults } of runs) {
      const expected = undisturbed.get(start);
      expect({ faults, outcome: await faulty.outcome(delivery) }).toEqual({ faults, outcome: expected?.outcome });
      expect({ faults, events: events.get(delivery.runId) }).toEqual({ faults, events: events.get(expected?.delivery.runId ?? '') });
    }
    const outcome = 'as undisturbed';
    for (const stage of STAGES) {
      const where = `${stage}, ${points.filter((point) => point.stage === stage).length} points`;
      logFault({ fault: 'kill -9', where, times: swept.get(stage) ?? 0, outcome });
    }
    logFault({ fault: 'kill -9', where: `random moments, ${RANDOM_RUNS} runs`, times: randomKills, outcome });
  });
});
