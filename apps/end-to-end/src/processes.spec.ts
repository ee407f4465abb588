import { execFileSync, spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { until, workspaceRoot } from '@music/local-stack';

it.each(['SIGINT', 'SIGKILL'] as const)('leaves no process behind after %s', async (signal) => {
  const main = spawn(process.execPath, [path.join(workspaceRoot(), 'apps/local/dist/main.js'), '--keep'], {
    cwd: workspaceRoot(),
    detached: true,
  });
  let output = '';
  main.stdout.on('data', (data) => (output += String(data)));
  await until('npm start --keep says where its logs are', () => output.includes('logs are in'));
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
  await until('all of them have ended', () => running().length === 0);
  await rm(logs, { recursive: true, force: true });
});
