import { PATIENCE_MS } from '@music/local-stack';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ListTablesCommand } from '@aws-sdk/client-dynamodb';
import { ListBucketsCommand } from '@aws-sdk/client-s3';
import { dayAfter, laterSamples, startMusicKpis } from '@music/local-pipeline';
import { waitForRun } from '@music/reports';
import type { Phase, ProxiedCall, Verdict } from '@music/testing';
import { WHOLE, WHOLE_MS, logFault } from './fault-log';
import { type Delivery, FaultyPipeline } from './faulty-pipeline';

if (WHOLE) jest.setTimeout(WHOLE_MS);

/** One call of the command line in a state of its own, and what must hold after it was killed and called again. */
interface Attempt {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  check(): Promise<void>;
}

describe('the command line, killed -9 and called again', () => {
  let faulty: FaultyPipeline;
  let undisturbed: unknown;
  let dir: string;
  let attempts = 0;
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'music-commands-'));
    faulty = await FaultyPipeline.start({ env: { WORK_ATTEMPTS: '1' } });
    undisturbed = await faulty.undisturbed();
  });
  afterAll(async () => {
    await faulty?.stop();
    await rm(dir, { recursive: true });
  });
  afterEach(() => {
    faulty.proxies.gate = () => 'pass';
  });

  const callName = ({ server, name }: ProxiedCall) => `${server} ${name.replace(/setup-\d+/, 'setup')}`;
  /** A run that failed at its end and left a dead letter. */
  const failedRun = async () => {
    await faulty.pipeline.replaceService('archiver', { ARCHIVE_BUCKET: 'not-there' });
    const delivery = await faulty.deliver();
    expect((await waitForRun(faulty.pipeline.stores, delivery.runId, { timeoutMs: PATIENCE_MS }))?.state).toBe(
      'failed',
    );
    await faulty.pipeline.replaceService('archiver');
    return delivery;
  };
  const completes = async (delivery: Delivery) => {
    await faulty.pipeline.untilRunIs('completed', delivery.runId);
    await faulty.settle(delivery);
    expect(await faulty.outcome(delivery)).toEqual(undisturbed);
  };

  const COMMANDS: Record<string, () => Promise<Attempt>> = {
    setup: async () => {
      const names = Object.fromEntries(
        ['SOURCE_BUCKET', 'INTERMEDIATE_BUCKET', 'LAKE_BUCKET', 'ARCHIVE_BUCKET', 'KPI_TABLE', 'RUNS_TABLE'].map(
          (setting, i) => [setting, `setup-${attempts}-${i}`],
        ),
      );
      return {
        args: ['setup'],
        env: names,
        check: async () => {
          const { s3, dynamo } = faulty.pipeline.stores;
          const { Buckets = [] } = await s3.send(new ListBucketsCommand({}));
          const { TableNames = [] } = await dynamo.send(new ListTablesCommand({}));
          expect([...Buckets.map(({ Name }) => Name), ...TableNames]).toEqual(
            expect.arrayContaining(Object.values(names)),
          );
        },
      };
    },
    load: async () => {
      const shift = faulty.nextShift();
      return {
        args: ['load', await laterSamples(dir, shift)],
        check: async () => completes(await faulty.request(shift)),
      };
    },
    run: async () => {
      const shift = await faulty.load();
      const date = dayAfter('2026-03-03', shift);
      return {
        args: ['run', '--scheduled', '--now', '--date', date],
        check: () => completes({ shift, runId: `scheduled__${date}` }),
      };
    },
    replay: async () => {
      const delivery = await failedRun();
      return { args: ['replay', '--run', delivery.runId], check: () => completes(delivery) };
    },
    rerun: async () => {
      const delivery = await failedRun();
      return { args: ['rerun', delivery.runId, '--from-stage', 'archiver'], check: () => completes(delivery) };
    },
    resume: async () => {
      const { pipeline } = faulty;
      await Promise.all(pipeline.children('archiver').map((child) => child.stop()));
      const delivery = await faulty.deliver();
      await pipeline.untilRunIs('published', delivery.runId);
      return {
        args: ['resume', delivery.runId],
        check: async () => {
          await pipeline.startService('archiver');
          await completes(delivery);
        },
      };
    },
  };

  it.each(Object.keys(COMMANDS))('%s', async (command) => {
    const { proxies } = faulty;
    const prepare = async () => {
      attempts += 1;
      proxies.gate = () => 'pass';
      return (COMMANDS[command] as () => Promise<Attempt>)();
    };
    const points: { call: string; phase: Phase }[] = [];
    const first = await prepare();
    proxies.gate = (call, phase) => {
      if (
        call.caller === 'cli' &&
        call.changes &&
        !points.some((point) => point.call === callName(call) && point.phase === phase)
      )
        points.push({ call: callName(call), phase });
      return 'pass';
    };
    expect(await startMusicKpis(faulty.pipeline, first.args, first.env).ended).toMatchObject({ code: 0 });
    await first.check();
    expect(points.length).toBeGreaterThan(0);

    const killed = WHOLE ? points : points.slice(0, 2);
    for (const { call, phase } of killed) {
      const { args, env, check } = await prepare();
      const disturbed = startMusicKpis(faulty.pipeline, args, env);
      proxies.gate = (each, moment): Verdict => {
        if (each.caller !== 'cli' || moment !== phase || callName(each) !== call) return 'pass';
        disturbed.process.kill('SIGKILL');
        return 'cut';
      };
      expect({ call, phase, code: (await disturbed.ended).code }).toEqual({ call, phase, code: null });
      proxies.gate = () => 'pass';
      const again = await startMusicKpis(faulty.pipeline, args, env).ended;
      // A run that the killed call has set going already is no longer there to be begun again.
      expect({ call, phase, ...again }).toMatchObject(
        command === 'rerun' && again.code === 2 ? { err: expect.stringMatching(/under way|completed/) } : { code: 0 },
      );
      await check();
    }
    logFault({
      fault: 'kill -9',
      where: `music-kpis ${command}, ${points.length} points`,
      times: killed.length,
      outcome: 'done when called again',
    });
  });
});
