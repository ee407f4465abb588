import { readFileSync } from 'node:fs';
import path from 'node:path';
import { STAGES } from '@music/events';
import { requestRun, runReport, waitForRun } from '@music/reports';
import { workspaceRoot } from '@music/testing';
import { LocalPipeline } from '@music/local-pipeline';

jest.setTimeout(120_000);

const SAMPLES = path.join(workspaceRoot(), 'samples');
const SECRET = 'canary-secret-access-key-4711';

describe('with TLS and a login at Kafka, and a secret key for AWS', () => {
  let pipeline: LocalPipeline;
  beforeAll(async () => {
    pipeline = await LocalPipeline.start({ secureKafka: true, env: { LOG_LEVEL: 'trace', WORK_ATTEMPTS: '2' } });
  });
  afterAll(() => pipeline?.stop());

  const logs = () => STAGES.map((stage) => readFileSync(pipeline.logOf(stage), 'utf8')).join('\n');

  it('runs complete', async () => {
    for (const stage of STAGES) await pipeline.replaceService(stage, { AWS_SECRET_ACCESS_KEY: SECRET });
    await pipeline.load(SAMPLES);
    const runId = await requestRun(pipeline.stores, { logicalDate: '2026-03-03', immediately: true });
    await waitForRun(pipeline.stores, runId, { timeoutMs: 60_000 });
    expect(await runReport(pipeline.stores, runId)).toMatchObject({ state: 'completed', rows: { kept: 2_145 } });
  });

  it('a service with a wrong password is not ready, says so, goes on, and does not tell the password', async () => {
    const wrong = 'canary-wrong-password-4711';
    const started = pipeline.startService('sensor', { KAFKA_SASL_PASSWORD: wrong });
    started.catch(() => undefined);
    for (let i = 0; i < 200 && !/authentication/i.test(logs()); i += 1) await new Promise((resolve) => setTimeout(resolve, 100));
    expect(logs()).toMatch(/SASL SCRAM SHA512 authentication failed/);
    const [, newest] = pipeline.children('sensor');
    expect(newest?.running).toBe(true);
    const port = [...logs().matchAll(new RegExp(`"pid":${newest?.pid}.*"healthPort":(\\d+)`, 'g'))].at(-1)?.[1];
    const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('no member of its Kafka group')]);
    expect(await (await fetch(`http://127.0.0.1:${port}/livez`)).text()).toBe('alive\n');
    expect(logs()).not.toContain(wrong);
    newest?.kill('SIGKILL');
  });

  it('no secret is in any log, not even when every store fails', async () => {
    await pipeline.load(SAMPLES);
    pipeline.stack?.child('s3').kill('SIGKILL');
    const runId = await requestRun(pipeline.stores, { logicalDate: '2026-03-04', immediately: true });
    for (let i = 0; i < 300 && (await pipeline.stores.runs.findRun(runId))?.state !== 'failed'; i += 1)
      await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await pipeline.stores.runs.findRun(runId)).toMatchObject({
      state: 'failed',
      reasons: [expect.stringContaining('ECONNREFUSED')],
    });
    const all = logs();
    expect(all.length).toBeGreaterThan(1_000);
    for (const secret of [SECRET, pipeline.env['KAFKA_SASL_PASSWORD'] ?? '-']) expect(all.includes(secret)).toBe(false);
  });
});
