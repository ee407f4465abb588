import { STAGES } from '@music/events';
import type { Gate, ProxiedServer, Verdict } from '@music/testing';
import { WHOLE, faultSeed, logFault, seeded } from './fault-log';
import { FaultyPipeline } from './faulty-pipeline';

jest.setTimeout(WHOLE ? 1_800_000 : 300_000);

/** How long a server is not itself. */
const SPELL_MS = WHOLE ? 30_000 : 4_000;
const SLOW_MS = WHOLE ? 5_000 : 1_000;
/** After so long without a byte a service gives a connection up. */
const CALL_TIMEOUT_SECONDS = '6';

const THROTTLED: Record<'s3' | 'dynamodb', Verdict> = {
  s3: {
    status: 503,
    type: 'application/xml',
    body: '<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>',
  },
  dynamodb: {
    status: 400,
    type: 'application/x-amz-json-1.0',
    body: JSON.stringify({
      __type: 'com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException',
      message: 'The level of configured provisioned throughput for the table was exceeded.',
    }),
  },
};

const FAULTS = ['down', 'slow', 'throttling', 'half-open'] as const;
type Fault = (typeof FAULTS)[number];
const never = () => new Promise<never>(() => undefined);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('a server that fails for a while', () => {
  let faulty: FaultyPipeline;
  let undisturbed: unknown;
  let calls = 0;
  const random = seeded(faultSeed());

  beforeAll(async () => {
    faulty = await FaultyPipeline.start({ env: { CALL_TIMEOUT_SECONDS: CALL_TIMEOUT_SECONDS } });
    for (let i = 0; i < 2; i += 1) {
      calls = 0;
      faulty.pipeline.proxies.gate = (_, phase) => {
        if (phase === 'before') calls += 1;
        return 'pass';
      };
      const delivery = await faulty.deliver();
      await faulty.settle(delivery);
      undisturbed = await faulty.outcome(delivery);
    }
  });
  afterAll(() => faulty?.stop());

  /** From a random call of a run on, for a spell. Gives how many calls of the server it met. */
  async function disturb(server: ProxiedServer, fault: Fault): Promise<number> {
    const { proxies } = faulty.pipeline;
    const first = Math.floor(random() * calls * 0.6);
    let seen = 0;
    let met = 0;
    let spell: Promise<void> | undefined;
    let over = false;
    const begin = async () => {
      if (fault === 'down') await proxies.down(server);
      await pause(SPELL_MS);
      over = true;
      if (fault === 'down') await proxies.up(server);
    };
    const gate: Gate = async (call, phase) => {
      if (phase === 'before') seen += 1;
      if (seen > first) spell ??= begin();
      if (spell === undefined || over || call.server !== server) return 'pass';
      if (fault === 'slow' && phase === 'after') {
        met += 1;
        await pause(SLOW_MS);
      } else if (phase === 'before' && fault !== 'slow') {
        met += 1;
        if (fault === 'half-open') return never();
        if (fault === 'throttling' && server !== 'kafka') return THROTTLED[server as 's3' | 'dynamodb'];
        if (fault === 'down') return 'cut';
      }
      return 'pass';
    };
    const delivery = await faulty.runWith(gate, () => `${server} ${fault} from call ${first} on`, { timeoutMs: 240_000 });
    await spell;
    expect(await faulty.outcome(delivery)).toEqual(undisturbed);
    return Math.max(met, fault === 'down' ? 1 : 0);
  }

  // Brokers slow a client down by quotas; they never refuse.
  const cases = (['kafka', 'dynamodb', 's3'] as const).flatMap((server) =>
    FAULTS.filter((fault) => server !== 'kafka' || fault !== 'throttling').map((fault) => [server, fault] as const),
  );
  const short: readonly (readonly [ProxiedServer, Fault])[] = [
    ['dynamodb', 'half-open'],
    ['s3', 'throttling'],
    ['kafka', 'down'],
  ];

  it.each(WHOLE ? cases : short)('%s %s: the run completes afterwards, with the same outcome', async (server, fault) => {
    const met = await disturb(server, fault);
    logFault({ fault: `${fault} for ${SPELL_MS / 1_000} s`, where: server, times: met, outcome: 'completed, as undisturbed' });
    expect(met).toBeGreaterThan(0);
  });

  it('no service had to be started again', () => {
    for (const stage of STAGES) expect(faulty.pipeline.children(stage)).toHaveLength(1);
  });
});
