import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { STAGES } from '@music/events';
import { SAMPLES, musicKpis, reference } from '@music/local-pipeline';
import { dayReport, runReport, waitForRun } from '@music/reports';
import type { Child, ProxiedServer, Verdict } from '@music/testing';
import { logFault } from './fault-log';
import { type Delivery, FaultyPipeline } from './faulty-pipeline';

jest.setTimeout(240_000);

const SERVERS: readonly ProxiedServer[] = ['kafka', 'dynamodb', 's3'];
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('start and stop', () => {
  let faulty: FaultyPipeline;
  let undisturbed: unknown;
  beforeAll(async () => {
    faulty = await FaultyPipeline.start({ env: { GRACE_SECONDS: '3' } });
    const delivery = await faulty.deliver();
    await faulty.settle(delivery);
    undisturbed = await faulty.outcome(delivery);
  });
  afterAll(() => faulty?.stop());
  afterEach(() => {
    faulty.pipeline.proxies.gate = () => 'pass';
  });

  const until = async (what: string, condition: () => Promise<boolean>) => {
    for (let i = 0; i < 300; i += 1) {
      if (await condition().catch(() => false)) return;
      await pause(100);
    }
    throw new Error(`not within 30 s: ${what}`);
  };
  const says = (child: Child, text: string) =>
    until(`${child.name} says "${text}"`, async () => (await faulty.pipeline.readiness(child)).says.includes(text));
  const completes = async (delivery: Delivery) => {
    await faulty.settle(delivery);
    expect(await faulty.outcome(delivery)).toEqual(undisturbed);
  };

  it('services that start before their servers are not ready, say why, and recover by themselves', async () => {
    const { pipeline } = faulty;
    for (const server of SERVERS) await pipeline.proxies.down(server);
    for (const stage of STAGES) for (const child of pipeline.children(stage)) child.kill('SIGKILL');
    const children = STAGES.map((stage) => pipeline.spawnService(stage));
    for (const child of children) await says(child, 'not ready: no member of its Kafka group, pipeline_runs cannot be reached');
    await pipeline.proxies.up('kafka');
    for (const child of children) await says(child, 'not ready: pipeline_runs cannot be reached');
    await pipeline.proxies.up('s3');
    await pipeline.proxies.up('dynamodb');
    for (const child of children) await says(child, 'ready');
    expect(children.every(({ running }) => running)).toBe(true);
    await completes(await faulty.deliver());
    logFault({ fault: 'start before the servers', where: 'every stage', times: STAGES.length, outcome: 'ready once they are there' });
  });

  it('services answer questions about health and metrics, and take no orders', async () => {
    const { pipeline } = faulty;
    for (const child of STAGES.flatMap((stage) => pipeline.children(stage))) {
      const { health, metrics } = pipeline.portsOf(child);
      for (const [port, paths] of [
        [health, ['/livez', '/readyz']],
        [metrics, ['/metrics']],
      ] as const) {
        const url = `http://127.0.0.1:${port}`;
        for (const path of paths) expect([path, (await fetch(url + path)).status]).toEqual([path, 200]);
        for (const method of ['POST', 'PUT', 'DELETE', 'PATCH'])
          for (const path of [...paths, '/', '/runs', '/debug', '/admin'])
            expect((await fetch(url + path, { method })).status).toBeGreaterThanOrEqual(404);
        for (const path of ['/', '/../etc/passwd', '/livez/../env', '/debug/pprof']) expect((await fetch(url + path)).status).toBe(404);
      }
    }
  });

  it.each(['kafka', 'dynamodb'] as const)('services that lose %s say so and recover by themselves', async (server) => {
    const { pipeline } = faulty;
    const children = STAGES.flatMap((stage) => pipeline.children(stage));
    await pipeline.proxies.down(server);
    for (const child of children)
      await says(child, server === 'kafka' ? 'no member of its Kafka group' : 'pipeline_runs cannot be reached');
    await pipeline.proxies.up(server);
    await completes(await faulty.deliver());
    for (const child of children) await says(child, 'ready');
    logFault({ fault: `${server} lost`, where: 'every stage, idle', times: children.length, outcome: 'not ready, then ready again' });
  });

  it('SIGTERM lets work under way end within the grace period, and nothing new begins', async () => {
    const { pipeline } = faulty;
    const [combiner] = pipeline.children('combiner');
    const held = new Promise<void>((resolve) => {
      pipeline.proxies.gate = async ({ caller, name }, phase): Promise<Verdict> => {
        if (caller !== 'combiner' || phase !== 'before' || !name.startsWith('PutObject music-intermediate')) return 'pass';
        pipeline.proxies.gate = () => 'pass';
        combiner?.kill('SIGTERM');
        resolve();
        await pause(1_000);
        return 'pass';
      };
    });
    const delivery = await faulty.deliver();
    await held;
    expect(await combiner?.exited).toBe('exit code 0');
    await until('the batch is combined', async () => (await pipeline.stores.runs.findBatch(delivery.runId, 0))?.state === 'judged');
    await pipeline.startService('combiner');
    await completes(delivery);
    logFault({ fault: 'SIGTERM', where: 'combiner at work, within its grace', times: 1, outcome: 'work ended, exit code 0' });
  });

  it('SIGTERM gives work that does not end within the grace period to another replica', async () => {
    const { pipeline } = faulty;
    const [combiner] = pipeline.children('combiner');
    let holds = true;
    const held = new Promise<void>((resolve) => {
      pipeline.proxies.gate = async ({ caller, name }, phase): Promise<Verdict> => {
        if (!holds || caller !== 'combiner' || phase !== 'before' || !name.startsWith('GetObject music-source')) return 'pass';
        holds = false;
        combiner?.kill('SIGTERM');
        resolve();
        await pause(8_000);
        return 'pass';
      };
    });
    const delivery = await faulty.deliver();
    await held;
    const began = Date.now();
    await pipeline.startService('combiner');
    await completes(delivery);
    await combiner?.exited;
    expect(Date.now() - began).toBeLessThan(30_000);
    logFault({ fault: 'SIGTERM', where: 'combiner at work, beyond its grace', times: 1, outcome: 'another replica did the work' });
  });

  it('a scratch folder without room fails the run with the reason; it goes on when there is room', async () => {
    const { pipeline } = faulty;
    const scratch = path.join(pipeline.dir, 'small-scratch');
    await mkdir(scratch);
    for (const child of pipeline.children('combiner')) await child.stop();
    // A disk of its own, of 48 KiB. In a user namespace, since to mount one needs rights.
    const mounted = [
      'unshare',
      '--map-root-user',
      '--mount',
      'sh',
      '-c',
      'mount -t tmpfs -o size=48k none "$SCRATCH_DIR" && exec "$@"',
      'sh',
    ];
    const small = pipeline.spawnService('combiner', { SCRATCH_DIR: scratch, WORK_ATTEMPTS: '2' }, mounted);
    await says(small, 'ready');
    const shift = await faulty.load();
    const delivery = await faulty.request(shift);
    const run = await waitForRun(pipeline.stores, delivery.runId, { timeoutMs: 60_000 });
    expect(run).toMatchObject({
      state: 'failed',
      failedStage: 'combiner',
      reasons: [expect.stringMatching(/no space left/i)],
    });
    expect((await faulty.sourceKeys()).length).toBe(3);
    const status = await musicKpis(pipeline, 'status', delivery.runId, '--json');
    expect([status.code, JSON.parse(status.out).dead_letters]).toEqual([
      1,
      [
        {
          stage: 'combiner',
          topic: 'music.streams.sensed',
          key: `${delivery.runId}/0`,
          reason: expect.stringMatching(/no space left/i),
          at: expect.any(String),
        },
      ],
    ]);
    await small.stop();
    await pipeline.startService('combiner');
    expect((await musicKpis(pipeline, 'replay', '--run', delivery.runId)).code).toBe(0);
    await until('the run completes', async () => (await runReport(pipeline.stores, delivery.runId))?.state === 'completed');
    await completes(delivery);
    logFault({
      fault: 'no room',
      where: 'scratch folder of the combiner',
      times: 1,
      outcome: 'failed with the reason, completed after replay',
    });
  });

  it('a backlog of three days is caught up in the order of its dates', async () => {
    const { pipeline } = faulty;
    for (const child of pipeline.children('archiver')) await child.stop();
    const first = await faulty.deliver();
    await until('the first run is published', async () => (await pipeline.stores.runs.findRun(first.runId))?.state === 'published');
    const shifts = [await faulty.load(), await faulty.load(), await faulty.load()];
    const [c, b, a] = [await faulty.request(shifts[2] ?? 0), await faulty.request(shifts[1] ?? 0), await faulty.request(shifts[0] ?? 0)];
    await pause(1_000);
    await pipeline.startService('archiver');
    for (const delivery of [first, a, b, c]) await faulty.settle(delivery);
    // The first of them takes what all three would have taken; no listen waits for its own run.
    const states = await Promise.all([a, b, c].map(async ({ runId }) => (await runReport(pipeline.stores, runId))?.state));
    expect(states).toEqual(['completed', 'skipped', 'skipped']);
    const expected = reference([SAMPLES]).days;
    for (const { shift } of [first, a, b, c]) {
      const later = new Date(Date.parse('2026-03-01T00:00:00Z') + shift * 86_400_000).toISOString().slice(0, 10);
      expect((await dayReport(pipeline.stores.kpis, later))?.listen_count).toBe(expected[0]?.listen_count);
    }
    expect(await faulty.sourceKeys()).toEqual([]);
    logFault({ fault: 'backlog', where: 'archiver away for three days', times: 3, outcome: 'caught up in order' });
  });

  it('the history of 1,000 runs costs `runs` and `status` no more calls than one', async () => {
    const { pipeline } = faulty;
    const { runs } = pipeline.stores;
    const callsOf = async (...args: string[]) => {
      let calls = 0;
      pipeline.proxies.gate = ({ caller, server }, phase) => {
        if (caller === 'cli' && server === 'dynamodb' && phase === 'before') calls += 1;
        return 'pass';
      };
      const { code } = await musicKpis(pipeline, ...args);
      return [code, calls];
    };
    const before = [await callsOf('runs'), await callsOf('status')];
    for (let i = 0; i < 1_000; i += 1) {
      const runId = `scheduled__${new Date(Date.UTC(2021, 0, i)).toISOString().slice(0, 10)}`;
      await runs.createRun({ runId, logicalDate: runId.slice(-10), immediately: true, force: false }, new Date(Date.UTC(2021, 0, i)));
      await runs.transition(runId, 'pending', 'skipped', 'sensor', { reasons: ['no stream files'] });
    }
    expect([await callsOf('runs'), await callsOf('status')]).toEqual(before);
    const all = await musicKpis(pipeline, 'runs', '--limit', '900', '--json');
    expect(JSON.parse(all.out)).toHaveLength(900);
    await completes(await faulty.deliver());
  });
});
