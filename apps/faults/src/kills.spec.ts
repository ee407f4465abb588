import { STAGES, type Stage } from '@music/events';
import type { Gate, Phase, ProxiedCall } from '@music/testing';
import { WHOLE, faultSeed, logFault, seeded } from './fault-log';
import { type Delivery, FaultyPipeline } from './faulty-pipeline';

jest.setTimeout(WHOLE ? 1_800_000 : 300_000);

const RANDOM_RUNS = WHOLE ? 50 : 2;
const SWEEP_RUNS = WHOLE ? Infinity : 3;
const PHASES: readonly Phase[] = ['before', 'after'];

/** A step of a service that others can see, and the moment before or after it. */
interface FaultPoint {
  readonly stage: Stage;
  readonly call: string;
  readonly phase: Phase;
}

const isStage = (caller: string): caller is Stage => (STAGES as readonly string[]).includes(caller);
const nameOf = ({ stage, call, phase }: FaultPoint) => `${stage}: ${phase} ${call}`;
const callName = ({ server, name }: ProxiedCall) => `${server} ${name}`;

/**
 * What can be lost or done twice is what a service tells its servers. So its fault points are its calls that change
 * something, as an undisturbed run makes them, each with the moment before the server has it and the moment after: before
 * the effect, between effect and state, between state and event, between event and commit. A new step of a handler or a
 * timer is a new call, and thereby a new point.
 */
describe('kill -9', () => {
  let faulty: FaultyPipeline;
  let undisturbed: unknown;
  let undisturbedRun: Delivery;
  const points: FaultPoint[] = [];
  const callsOf = new Map<Stage, number>();
  const runs: { delivery: Delivery; faults: string[] }[] = [];

  beforeAll(async () => {
    faulty = await FaultyPipeline.start();
    const seen = new Set<string>();
    // Two runs, since the first one in a new stack does some things that later ones do not.
    for (let i = 0; i < 2; i += 1) {
      callsOf.clear();
      faulty.pipeline.proxies.gate = (call, phase) => {
        if (!isStage(call.caller) || phase === 'after') return 'pass';
        callsOf.set(call.caller, (callsOf.get(call.caller) ?? 0) + 1);
        const name = `${call.caller} ${callName(call)}`;
        if (call.changes && !seen.has(name)) {
          seen.add(name);
          for (const each of PHASES) points.push({ stage: call.caller, call: callName(call), phase: each });
        }
        return 'pass';
      };
      undisturbedRun = await faulty.deliver();
      await faulty.settle(undisturbedRun);
    }
    undisturbed = await faulty.outcome(undisturbedRun);
  });
  afterAll(() => faulty?.stop());

  it('an undisturbed run has an outcome to compare with, and every stage has fault points', () => {
    expect(undisturbed).toMatchObject({ state: 'completed', rows: { kept: 2_145 }, source: [], intermediate: [] });
    for (const stage of STAGES) expect(points.filter((point) => point.stage === stage).length).toBeGreaterThan(5);
  });

  it('at every fault point of every stage changes nothing', async () => {
    const open = new Map(STAGES.map((stage) => [stage, points.filter((point) => point.stage === stage)]));
    const tries = new Map<string, number>();
    const times = new Map<string, number>();
    for (let run = 0; run < SWEEP_RUNS && [...open.values()].some(({ length }) => length > 0); run += 1) {
      // One point of each stage a run.
      const armed = new Map<Stage, FaultPoint>();
      for (const [stage, left] of open) if (left[0] !== undefined) armed.set(stage, left[0]);
      const hit: FaultPoint[] = [];
      const gate: Gate = (call, phase) => {
        const point = isStage(call.caller) ? armed.get(call.caller) : undefined;
        if (point === undefined || point.call !== callName(call) || point.phase !== phase) return 'pass';
        armed.delete(point.stage);
        hit.push(point);
        faulty.kill(point.stage);
        return 'cut';
      };
      const delivery = await faulty.runWith(gate, () => `kill -9 at ${hit.map(nameOf).join(', ')}`);
      runs.push({ delivery, faults: hit.map(nameOf) });
      for (const point of hit) times.set(point.stage, (times.get(point.stage) ?? 0) + 1);
      for (const [stage, left] of open) {
        const point = left.shift();
        if (point === undefined || hit.includes(point)) continue;
        // The step was not made this time; a later run may make it.
        tries.set(nameOf(point), (tries.get(nameOf(point)) ?? 0) + 1);
        if ((tries.get(nameOf(point)) ?? 0) < 4) left.push(point);
        else throw new Error(`${nameOf(point)} was not reached in four runs, of ${stage}`);
      }
    }
    for (const stage of STAGES)
      logFault({
        fault: 'kill -9',
        where: `${stage}, ${points.filter((point) => point.stage === stage).length} points`,
        times: times.get(stage) ?? 0,
        outcome: 'as undisturbed',
      });
  });

  it('at random moments of several stages changes nothing', async () => {
    const random = seeded(faultSeed());
    let kills = 0;
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
      runs.push({ delivery, faults: hit });
      kills += hit.length;
    }
    logFault({ fault: 'kill -9', where: `random moments, ${RANDOM_RUNS} runs`, times: kills, outcome: 'as undisturbed' });
    expect(kills).toBeGreaterThan(0);
  });

  it('leaves numbers, archive, source, quarantine, run states and events as an undisturbed run does', async () => {
    const { ofRun } = await faulty.events();
    for (const { delivery, faults } of runs) {
      expect({ faults, outcome: await faulty.outcome(delivery) }).toEqual({ faults, outcome: undisturbed });
      expect({ faults, events: ofRun.get(delivery.runId) }).toEqual({ faults, events: ofRun.get(undisturbedRun.runId) });
    }
  });
});
