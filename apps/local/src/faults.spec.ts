import { execFileSync, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { STAGES } from '@music/events';
import { dayReport, requestRun, runReport, waitForRun } from '@music/reports';
import { workspaceRoot } from '@music/testing';
import { LocalPipeline } from '@music/local-pipeline';
import { reference } from '@music/local-pipeline';

jest.setTimeout(180_000);

const SAMPLES = path.join(workspaceRoot(), 'samples');
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'faults-spec-'));
});
afterAll(() => rm(dir, { recursive: true }));

/** The samples' listens `days` later, below names of their own. */
async function later(days: number): Promise<string> {
  const folder = path.join(dir, `later-${days}`);
  await mkdir(path.join(folder, 'streams'), { recursive: true });
  for (const day of ['2026-03-01', '2026-03-02']) {
    const text = await readFile(path.join(SAMPLES, 'streams', `${day}.csv`), 'utf8');
    const moved = text.replaceAll(/2026-03-0([123])/g, (_, n) => `2026-03-${String(Number(n) + days).padStart(2, '0')}`);
    await writeFile(path.join(folder, 'streams', `${day}-${days}.csv`), moved);
  }
  return folder;
}

it('loses nothing and counts nothing twice when each service is killed in the middle of a run', async () => {
  const pipeline = await LocalPipeline.start({
    env: { LEASE_SECONDS: '2', KAFKA_SESSION_SECONDS: '6', SWEEP_SECONDS: '0.3', BATCH_MB: '1' },
  });
  try {
    const folders = [SAMPLES];
    await pipeline.load(SAMPLES);
    for (const [i, stage] of STAGES.entries()) {
      if (i > 0) {
        folders.push(await later(i * 3));
        await pipeline.load(folders.at(-1) as string);
      }
      const runId = await requestRun(pipeline.stores, { logicalDate: '2026-03-03', immediately: true });
      for (let i = 0, started = false; !started && i < 5_000; i += 1, await pause(5))
        started = (await pipeline.stores.runs.findRun(runId))?.stages[stage] !== undefined;
      for (const child of pipeline.children(stage)) child.kill('SIGKILL');
      await pause(100);
      await pipeline.startService(stage);
      await waitForRun(pipeline.stores, runId, { timeoutMs: 60_000 });
      expect(await runReport(pipeline.stores, runId)).toMatchObject({ state: 'completed', rows: reference([SAMPLES]).rows });
    }
    for (const folder of folders.slice(1)) await mkdir(path.join(folder, 'songs'), { recursive: true });
    const expected = reference([...folders.slice(1), SAMPLES]).days;
    for (const day of expected) expect(await dayReport(pipeline.stores.kpis, day.date)).toMatchObject(day);
    const left = [];
    for await (const { key } of pipeline.stores.objects.list(pipeline.config.sourceBucket, 'streams/')) left.push(key);
    for await (const { key } of pipeline.stores.objects.list(pipeline.config.intermediateBucket, '')) left.push(key);
    expect(left).toEqual([]);
    const archived = [];
    for await (const { key } of pipeline.stores.objects.list(pipeline.config.archiveBucket, '')) archived.push(key);
    expect(archived).toHaveLength(2 * folders.length);
    for (const stage of STAGES) expect(await pipeline.stores.runs.listOwed(stage)).toEqual([]);
  } finally {
    await pipeline.stop();
  }
});

it.each(['SIGINT', 'SIGKILL'] as const)('leaves no process behind after %s', async (signal) => {
  const main = spawn(process.execPath, [path.join(workspaceRoot(), 'apps/local/dist/main.js'), '--keep'], {
    cwd: workspaceRoot(),
    detached: true,
  });
  let output = '';
  main.stdout.on('data', (data) => (output += String(data)));
  for (let i = 0; i < 600 && !output.includes('logs are in'); i += 1) await pause(50);
  const logs = /logs are in (\S+)/.exec(output)?.[1] ?? '';
  // Three servers, five services, and the process that ends them.
  const children = execFileSync('ps', ['-o', 'pid=', '--ppid', String(main.pid)], { encoding: 'utf8' })
    .trim()
    .split(/\s+/)
    .map(Number);
  expect(children.length).toBeGreaterThanOrEqual(8);
  const running = () =>
    children.filter((pid) => {
      try {
        return process.kill(pid, 0);
      } catch {
        return false;
      }
    });
  main.kill(signal);
  for (let i = 0; i < 200 && running().length > 0; i += 1) await pause(100);
  expect(running()).toEqual([]);
  await rm(logs, { recursive: true, force: true });
});
