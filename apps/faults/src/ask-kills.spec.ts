import { requestReplay, requestRerun, waitForRun } from '@music/reports';
import { PATIENCE_MS, until } from '@music/local-stack';
import type { Gate, Phase, ProxiedCall } from '@music/testing';
import { ulid } from 'ulid';
import { WHOLE, WHOLE_MS, faultSeed, logFault, seeded } from './fault-log';
import { type Delivery, FaultyPipeline } from './faulty-pipeline';

if (WHOLE) jest.setTimeout(WHOLE_MS);

const PHASES: readonly Phase[] = ['before', 'after'];
const POINTS = WHOLE ? Infinity : 1;
const callName = ({ server, name }: ProxiedCall) => `${server} ${name}`;

/** What the API asks the sensor to do with a run that failed: done once, whenever the sensor is killed. */
describe('kill -9 while the sensor does what was asked of a run', () => {
  let faulty: FaultyPipeline;
  let undisturbed: unknown;
  const random = seeded(faultSeed());

  beforeAll(async () => {
    faulty = await FaultyPipeline.start();
    undisturbed = await faulty.undisturbed();
  });
  afterAll(() => faulty?.stop());

  /** A run that failed at its end and left a dead letter. */
  async function failedRun(): Promise<Delivery> {
    await faulty.pipeline.replaceService('archiver', { ARCHIVE_BUCKET: 'not-there', WORK_ATTEMPTS: '1' });
    const delivery = await faulty.deliver();
    const run = await waitForRun(faulty.pipeline.stores, delivery.runId, { timeoutMs: PATIENCE_MS });
    expect(run?.state).toBe('failed');
    await faulty.pipeline.replaceService('archiver');
    return delivery;
  }

  const ASKS: Readonly<Record<string, (runId: string, askId: string) => Promise<unknown>>> = {
    rerun: (runId, askId) =>
      requestRerun(faulty.pipeline.stores, runId, 'archiver', { through: 'api', name: 'spec', askId }),
    replay: (runId, askId) => requestReplay(faulty.pipeline.stores, runId, { through: 'api', name: 'spec', askId }),
  };

  /** Asks twice, as a caller does that got no answer, and tells what became of it. */
  async function ask(what: string, gate: Gate, injected: () => string): Promise<void> {
    const { stores } = faulty.pipeline;
    const delivery = await failedRun();
    const askId = ulid();
    const twice = async () => {
      await ASKS[what]?.(delivery.runId, askId);
      await ASKS[what]?.(delivery.runId, askId);
      await until(
        `${delivery.runId} has completed`,
        async () => (await stores.runs.findRun(delivery.runId))?.state === 'completed',
      );
      return delivery;
    };
    await faulty.runWith(gate, injected, { start: twice });
    expect(await faulty.outcome(delivery)).toEqual(undisturbed);
    await until('it is noted', async () => (await stores.runs.asks.list(delivery.runId)).length > 0);
    expect(await stores.runs.asks.list(delivery.runId)).toMatchObject([{ id: askId, what, by: 'spec' }]);
    // And once more when all is over.
    await ASKS[what]?.(delivery.runId, askId);
    await faulty.settle(delivery);
    expect(await stores.runs.asks.list(delivery.runId)).toHaveLength(1);
    expect((await stores.runs.findRun(delivery.runId))?.state).toBe('completed');
  }

  it.each(Object.keys(ASKS))('%s', async (what) => {
    const points: { call: string; phase: Phase }[] = [];
    await ask(
      what,
      (call, phase) => {
        const name = callName(call);
        if (
          call.caller === 'sensor' &&
          call.changes &&
          phase === 'before' &&
          !points.some((point) => point.call === name)
        )
          for (const each of PHASES) points.push({ call: name, phase: each });
        return 'pass';
      },
      () => 'nothing',
    );
    expect(points.map(({ call }) => call)).toEqual(expect.arrayContaining([expect.stringContaining('DeleteItem')]));
    const order = WHOLE ? points : [...points].sort(() => random() - 0.5);
    let hits = 0;
    for (const point of order.slice(0, POINTS)) {
      let hit = false;
      await ask(
        what,
        (call, phase) => {
          if (hit || call.caller !== 'sensor' || phase !== point.phase || callName(call) !== point.call) return 'pass';
          hit = true;
          faulty.kill('sensor');
          return 'cut';
        },
        () => `${point.phase} ${point.call}`,
      );
      if (hit) hits += 1;
    }
    expect(hits).toBeGreaterThan(0);
    logFault({
      fault: 'kill -9',
      where: `sensor, at a ${what}, ${points.length} points`,
      times: hits,
      outcome: 'done once',
    });
  });
});
