import { execFileSync, spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { workspaceRoot } from '@music/testing';

jest.setTimeout(180_000);

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

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
