import { PATIENCE_MS } from '@music/local-stack';
import type { Gate, Phase } from '@music/testing';
import { WHOLE, logFault } from './fault-log';
import { FaultyPipeline } from './faulty-pipeline';
import { IMPATIENT, SPELL_MS, Spell, faultsOf } from './spell';

/** A job of Spark takes minutes on a busy machine. */
const SPARK_MS = 3 * PATIENCE_MS;

/**
 * Spark starts for each run, so `npm test` leaves these out; `glue-runner.spec` and `conformance.spec` are part of it.
 */
(WHOLE ? describe : describe.skip)('with the engine of AWS Glue', () => {
  let faulty: FaultyPipeline;
  let undisturbed: unknown;
  beforeAll(async () => {
    faulty = await FaultyPipeline.start({ engine: 'glue', env: IMPATIENT });
    undisturbed = await faulty.undisturbed(SPARK_MS);
  });
  afterAll(() => faulty?.stop());

  const completes = async (gate: Gate) => {
    const states = () => JSON.stringify(faulty.pipeline.glue?.runs.map(({ JobRunState }) => JobRunState));
    const delivery = await faulty.runWith(gate, () => `job runs in states ${states()}`, { timeoutMs: SPARK_MS });
    expect(await faulty.outcome(delivery)).toEqual(undisturbed);
    expect(
      faulty.pipeline.glue?.runs.filter(({ Arguments }) => JSON.stringify(Arguments).includes(delivery.runId)),
    ).toHaveLength(1);
  };

  it.each([
    ['StartJobRun', 'before'],
    ['StartJobRun', 'after'],
    ['GetJobRun', 'after'],
    ['GetJobRuns', 'after'],
  ] as readonly (readonly [string, Phase])[])(
    'kill -9 of the glue-trigger at %s, %s it: one job run',
    async (call, phase) => {
      let times = 0;
      const gate: Gate = ({ server, name }, moment) => {
        if (times > 0 || server !== 'glue' || name !== call || moment !== phase) return 'pass';
        times += 1;
        faulty.kill('glue-trigger');
        return 'cut';
      };
      await completes(gate);
      expect(times).toBe(1);
      logFault({
        fault: 'kill -9',
        where: `glue-trigger: ${phase} ${call}`,
        times,
        outcome: 'one job run, as undisturbed',
      });
    },
  );

  it.each(faultsOf('glue'))('Glue %s: one job run, and the same outcome', async (fault) => {
    const spell = new Spell(faulty.proxies, 'glue', fault, ({ server }) => server === 'glue');
    await completes(spell.gate);
    await spell.end();
    expect(spell.met).toBeGreaterThan(0);
    logFault({
      fault: `${fault} for ${SPELL_MS / 1_000} s`,
      where: 'glue',
      times: spell.met,
      outcome: 'one job run, as undisturbed',
    });
  });
});
