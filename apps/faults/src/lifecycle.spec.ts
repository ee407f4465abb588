import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { STAGES } from '@music/events';
import { SAMPLES, dayAfter, musicKpis, reference } from '@music/local-pipeline';
import { dayReport, runReport, waitForRun } from '@music/reports';
import { PATIENCE_MS, type Child, until } from '@music/local-stack';
import { type ProxiedServer } from '@music/testing';
import { logFault } from './fault-log';
import { type Delivery, FaultyPipeline } from './faulty-pipeline';

const SERVERS: readonly ProxiedServer[] = ['kafka', 'dynamodb', 's3'];

describe('start and stop', () => {
  let faulty: FaultyPipeline;
  let undisturbed: unknown;
  beforeAll(async () => {
    faulty = await FaultyPipeline.start({ env: { GRACE_SECONDS: '3' } });
    undisturbed = await faulty.undisturbed();
  });
  afterAll(() => faulty?.stop());
  afterEach(() => {
    faulty.proxies.gate = () => 'pass';
  });

  const says = (child: Child, text: string) =>
    until(`${child.name} says "${text}"`, async () => (await faulty.pipeline.readiness(child)).says.includes(text));
  const noTable = () => `${faulty.pipeline.config.runsTable} cannot be reached`;
  const isReady = (child: Child) =>
    until(`${child.name} is ready`, async () => (await faulty.pipeline.readiness(child)).ready);
  const completes = async (delivery: Delivery) => {
    await faulty.settle(delivery);
    expect(await faulty.outcome(delivery)).toEqual(undisturbed);
  };

  it('services that start before their servers are not ready, say why, and recover by themselves', async () => {
    const { pipeline } = faulty;
    for (const server of SERVERS) await faulty.proxies.down(server);
    for (const stage of STAGES) for (const child of pipeline.children(stage)) child.kill('SIGKILL');
    const children = STAGES.map((stage) => pipeline.spawnService(stage));
    for (const child of children) await says(child, `not ready: no member of its Kafka group, ${noTable()}`);
    await faulty.proxies.up('kafka');
    for (const child of children) await says(child, `not ready: ${noTable()}`);
    await faulty.proxies.up('s3');
    await faulty.proxies.up('dynamodb');
    for (const child of children) await isReady(child);
    expect(children.every(({ running }) => running)).toBe(true);
    await completes(await faulty.deliver());
    logFault({
      fault: 'start before the servers',
      where: 'every stage',
      times: STAGES.length,
      outcome: 'ready once they are there',
    });
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
        for (const path of ['/', '/../etc/passwd', '/livez/../env', '/debug/pprof'])
          expect((await fetch(url + path)).status).toBe(404);
      }
    }
  });

  it.each(['kafka', 'dynamodb'] as const)('services that lose %s say so and recover by themselves', async (server) => {
    const { pipeline } = faulty;
    const children = STAGES.flatMap((stage) => pipeline.children(stage));
    await faulty.proxies.down(server);
    for (const child of children) await says(child, server === 'kafka' ? 'no member of its Kafka group' : noTable());
    await faulty.proxies.up(server);
    await completes(await faulty.deliver());
    for (const child of children) await isReady(child);
    logFault({
      fault: `${server} lost`,
      where: 'every stage, idle',
      times: children.length,
      outcome: 'not ready, then ready again',
    });
  });

  it('SIGTERM lets work under way end within the grace period, and nothing new begins', async () => {
    const { pipeline } = faulty;
    const [combiner] = pipeline.children('combiner');
    const held = faulty.during('combiner', 'PutObject music-intermediate', async () => {
      combiner?.kill('SIGTERM');
      await pause(1_000);
    });
    const delivery = await faulty.deliver();
    await held;
    expect(await combiner?.exited).toBe('exit code 0');
    await until(
      'the batch is judged',
      async () => (await pipeline.stores.runs.batches.find(delivery.runId, 0))?.state === 'judged',
    );
    await pipeline.startService('combiner');
    await completes(delivery);
    logFault({
      fault: 'SIGTERM',
      where: 'combiner at work, within its grace',
      times: 1,
      outcome: 'work ended, exit code 0',
    });
  });

  it('SIGTERM gives work that does not end within the grace period to another replica', async () => {
    const { pipeline } = faulty;
    const [combiner] = pipeline.children('combiner');
    let began = Infinity;
    const held = faulty.during('combiner', 'GetObject music-source', async () => {
      began = Date.now();
      combiner?.kill('SIGTERM');
      await Promise.all([pipeline.startService('combiner'), pause(8_000)]);
    });
    const delivery = await faulty.deliver();
    await held;
    await completes(delivery);
    await combiner?.exited;
    expect(Date.now() - began).toBeLessThan(30_000);
    logFault({
      fault: 'SIGTERM',
      where: 'combiner at work, beyond its grace',
      times: 1,
      outcome: 'another replica did the work',
    });
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
    await isReady(small);
    const shift = await faulty.load();
    const delivery = await faulty.request(shift);
    const run = await waitForRun(pipeline.stores, delivery.runId, { timeoutMs: PATIENCE_MS });
    expect(run).toMatchObject({
      state: 'failed',
      failedStage: 'combiner',
      reasons: [expect.stringMatching(/MiB of scratch space are needed .* 0 MiB are free: .* SCRATCH_DIR 1 MiB more/)],
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
          reason: expect.stringMatching(/scratch space are needed/),
          at: expect.any(String),
        },
      ],
    ]);
    await pipeline.replaceService('combiner');
    expect((await musicKpis(pipeline, 'replay', '--run', delivery.runId)).code).toBe(0);
    await faulty.pipeline.untilRunIs('completed', delivery.runId);
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
    await faulty.pipeline.untilRunIs('published', first.runId);
    const shifts = [await faulty.load(), await faulty.load(), await faulty.load()];
    const [c, b, a] = [
      await faulty.request(shifts[2] ?? 0),
      await faulty.request(shifts[1] ?? 0),
      await faulty.request(shifts[0] ?? 0),
    ];
    await pause(1_000);
    await pipeline.startService('archiver');
    for (const delivery of [first, a, b, c]) await faulty.settle(delivery);
    // The first of them takes what all three would have taken; no listen waits for its own run.
    const states = await Promise.all(
      [a, b, c].map(async ({ runId }) => (await runReport(pipeline.stores, runId))?.state),
    );
    expect(states).toEqual(['completed', 'skipped', 'skipped']);
    const expected = reference([SAMPLES]).days;
    for (const { shift } of [first, a, b, c])
      expect((await dayReport(pipeline.stores.kpis, dayAfter('2026-03-01', shift)))?.listen_count).toBe(
        expected[0]?.listen_count,
      );
    expect(await faulty.sourceKeys()).toEqual([]);
    logFault({ fault: 'backlog', where: 'archiver away for three days', times: 3, outcome: 'caught up in order' });
  });

  it('the history of 1,000 runs costs `runs` and `status` no more calls than one', async () => {
    const { pipeline } = faulty;
    const { runs } = pipeline.stores;
    const callsOf = async (...args: string[]) => {
      let calls = 0;
      faulty.proxies.gate = ({ caller, server }, phase) => {
        if (caller === 'cli' && server === 'dynamodb' && phase === 'before') calls += 1;
        return 'pass';
      };
      const { code } = await musicKpis(pipeline, ...args);
      return [code, calls];
    };
    const before = [await callsOf('runs'), await callsOf('status')];
    for (let i = 0; i < 1_000; i += 1) {
      const logicalDate = dayAfter('2021-01-01', i);
      const runId = `scheduled__${logicalDate}`;
      await runs.createRun({ runId, logicalDate, immediately: true, force: false }, new Date(logicalDate));
      await runs.transition(runId, 'pending', 'skipped', 'sensor', { reasons: ['no stream files'] });
    }
    expect([await callsOf('runs'), await callsOf('status')]).toEqual(before);
    const all = await musicKpis(pipeline, 'runs', '--limit', '900', '--json');
    expect(JSON.parse(all.out)).toHaveLength(900);
    await completes(await faulty.deliver());
  });
});
