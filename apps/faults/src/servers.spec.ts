import { STAGES } from '@music/events';
import type { ProxiedCall, ProxiedServer } from '@music/testing';
import { WHOLE, WHOLE_MS, faultSeed, logFault, seeded } from './fault-log';
import { FaultyPipeline } from './faulty-pipeline';
import { IMPATIENT, SPELL_MS, type ServerFault, Spell, faultsOf } from './spell';

if (WHOLE) jest.setTimeout(WHOLE_MS);

describe('a server that fails for a while', () => {
  let faulty: FaultyPipeline;
  let undisturbed: unknown;
  let calls = 0;
  const random = seeded(faultSeed());

  beforeAll(async () => {
    faulty = await FaultyPipeline.start({ env: IMPATIENT });
    await faulty.undisturbed(); // the first run in a new stack does some things that later ones do not
    faulty.proxies.gate = (_, phase) => {
      if (phase === 'before') calls += 1;
      return 'pass';
    };
    undisturbed = await faulty.undisturbed();
  });
  afterAll(() => faulty?.stop());

  const cases = (['kafka', 'dynamodb', 's3'] as const).flatMap((server) =>
    faultsOf(server).map((fault) => [server, fault] as const),
  );
  const short: readonly (readonly [ProxiedServer, ServerFault])[] = [
    ['dynamodb', 'half-open'],
    ['s3', 'throttling'],
    ['kafka', 'down'],
  ];

  it.each(WHOLE ? cases : short)(
    '%s %s: the run completes afterwards, with the same outcome',
    async (server, fault) => {
      const first = Math.floor(random() * calls * 0.6);
      let seen = 0;
      // At the latest when the archiver begins: a quick run makes fewer calls than the one that they were counted of.
      const begins = ({ caller, changes }: ProxiedCall) => (seen += 1) > first || (caller === 'archiver' && changes);
      const spell = new Spell(faulty.proxies, server, fault, begins);
      const delivery = await faulty.runWith(spell.gate, () => `${server} ${fault} from call ${first} on`);
      await spell.end();
      expect(await faulty.outcome(delivery)).toEqual(undisturbed);
      expect(spell.met).toBeGreaterThan(0);
      logFault({
        fault: `${fault} for ${SPELL_MS / 1_000} s`,
        where: server,
        times: spell.met,
        outcome: 'completed, as undisturbed',
      });
    },
  );

  it('no service had to be started again', () => {
    for (const stage of STAGES) expect(faulty.pipeline.children(stage)).toHaveLength(1);
  });
});
