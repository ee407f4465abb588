import { readFileSync } from 'node:fs';
import path from 'node:path';
import { STAGES } from '@music/events';
import { requestRun, runReport, waitForRun } from '@music/reports';
import { PATIENCE_MS, scram, until, workspaceRoot } from '@music/local-stack';
import { LocalPipeline } from '@music/local-pipeline';

const SAMPLES = path.join(workspaceRoot(), 'samples');
const SECRET = 'canary-secret-access-key-4711';

describe('with TLS and a login at Kafka, and a secret key for AWS', () => {
  let pipeline: LocalPipeline;
  beforeAll(async () => {
    pipeline = await LocalPipeline.start({
      kafkaSecurity: scram(),
      unshared: true,
      env: { LOG_LEVEL: 'trace', WORK_ATTEMPTS: '2' },
    });
  });
  afterAll(() => pipeline?.stop());

  const logs = () => STAGES.map((stage) => readFileSync(pipeline.logOf(stage), 'utf8')).join('\n');

  it('runs complete', async () => {
    for (const stage of STAGES) await pipeline.replaceService(stage, { AWS_SECRET_ACCESS_KEY: SECRET });
    await pipeline.load(SAMPLES);
    const runId = await requestRun(pipeline.stores, { logicalDate: '2026-03-03', immediately: true });
    await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
    expect(await runReport(pipeline.stores, runId)).toMatchObject({ state: 'completed', rows: { kept: 2_145 } });
  });

  it('a service with a wrong password is not ready, says so, goes on, and does not tell the password', async () => {
    const wrong = 'canary-wrong-password-4711';
    const sensor = pipeline.spawnService('sensor', { KAFKA_SASL_PASSWORD: wrong });
    await until('it tells of the login', () => logs().includes('SASL SCRAM SHA512 authentication failed'));
    await until('it is not ready', async () =>
      (await pipeline.readiness(sensor)).says.includes('no member of its Kafka group'),
    );
    const health = `http://127.0.0.1:${pipeline.portsOf(sensor).health}`;
    expect((await fetch(`${health}/readyz`)).status).toBe(503);
    expect(await (await fetch(`${health}/livez`)).text()).toBe('alive\n');
    expect(sensor.running).toBe(true);
    expect(logs()).not.toContain(wrong);
    sensor.kill('SIGKILL');
  });

  it('no secret is in any log, not even when every store fails', async () => {
    await pipeline.load(SAMPLES);
    pipeline.stack?.child('s3').kill('SIGKILL');
    const runId = await requestRun(pipeline.stores, { logicalDate: '2026-03-04', immediately: true });
    await pipeline.untilRunIs('failed', runId);
    expect(await pipeline.stores.runs.findRun(runId)).toMatchObject({
      state: 'failed',
      reasons: [expect.stringContaining('ECONNREFUSED')],
    });
    const all = logs();
    expect(all.length).toBeGreaterThan(1_000);
    for (const secret of [SECRET, pipeline.env['KAFKA_SASL_PASSWORD'] ?? '-']) expect(all.includes(secret)).toBe(false);
  });
});
