import type { Gate, Phase, Verdict } from '@music/testing';
import { WHOLE, logFault } from './fault-log';
import { FaultyPipeline } from './faulty-pipeline';

jest.setTimeout(900_000);

const SPELL_MS = 30_000;
const SLOW_MS = 5_000;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const THROTTLED: Verdict = {
  status: 400,
  type: 'application/x-amz-json-1.1',
  body: JSON.stringify({ __type: 'ThrottlingException', message: 'Rate exceeded' }),
};

/** Spark starts for each run, so `npm test` leaves these out; `glue-runner.spec` and `conformance.spec` are part of it. */
(WHOLE ? describe : describe.skip)('with the engine of AWS Glue', () => {
  let faulty: FaultyPipeline;
  let undisturbed: unknown;
  beforeAll(async () => {
    faulty = await FaultyPipeline.start({ engine: 'glue', env: { CALL_TIMEOUT_SECONDS: '6' } });
    const delivery = await faulty.deliver();
    await faulty.settle(delivery, 180_000);
    undisturbed = await faulty.outcome(delivery);
  });
  afterAll(() => faulty?.stop());
  const completes = async (gate: Gate) => {
    const states = () => JSON.stringify(faulty.pipeline.glue?.runs.map(({ JobRunState }) => JobRunState));
    const delivery = await faulty.runWith(gate, () => `job runs in states ${states()}`, { timeoutMs: 240_000 });
    expect(await faulty.outcome(delivery)).toEqual(undisturbed);
    expect(faulty.pipeline.glue?.runs.filter(({ Arguments }) => JSON.stringify(Arguments).includes(delivery.runId))).toHaveLength(1);
  };

  it.each([
    ['StartJobRun', 'before'],
    ['StartJobRun', 'after'],
    ['GetJobRun', 'after'],
    ['GetJobRuns', 'after'],
  ] as readonly (readonly [string, Phase])[])('kill -9 of the glue-trigger at %s, %s it: one job run', async (call, phase) => {
    let times = 0;
    const gate: Gate = ({ server, name }, moment) => {
      if (times > 0 || server !== 'glue' || name !== call || moment !== phase) return 'pass';
      times += 1;
      faulty.kill('glue-trigger');
      return 'cut';
    };
    await completes(gate);
    expect(times).toBe(1);
    logFault({ fault: 'kill -9', where: `glue-trigger: ${phase} ${call}`, times, outcome: 'one job run, as undisturbed' });
  });

  it.each(['down', 'slow', 'throttling', 'half-open'] as const)('Glue %s: one job run, and the same outcome', async (fault) => {
    let met = 0;
    let until = 0;
    const gate: Gate = async ({ server }, phase): Promise<Verdict> => {
      if (server !== 'glue') return 'pass';
      if (until === 0) until = Date.now() + SPELL_MS;
      if (Date.now() > until || (fault === 'slow') !== (phase === 'after')) return 'pass';
      met += 1;
      if (fault === 'half-open') return new Promise<never>(() => undefined);
      if (fault === 'slow') await pause(SLOW_MS);
      return fault === 'down' ? 'cut' : fault === 'throttling' ? THROTTLED : 'pass';
    };
    await completes(gate);
    expect(met).toBeGreaterThan(0);
    logFault({ fault: `${fault} for ${SPELL_MS / 1_000} s`, where: 'glue', times: met, outcome: 'one job run, as undisturbed' });
  });
});
