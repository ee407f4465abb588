// npm test: sets up what is missing, then runs all tests: one project more at a time than there are cores, since they
// wait for much, and the suites of the apps that hold nothing else each for itself, since one after the other they take
// longer than all others together. Prints what each took, the longest first.
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { root, setUp } from './set-up.mjs';

/** Of servers, services and Spark together. */
const BYTES_A_PROJECT = 3 * 2 ** 30;

setUp({ queue: true, prometheus: true, moto: true });
const suites = ['api-end-to-end', 'end-to-end', 'faults'].flatMap((app) =>
  readdirSync(path.join(root, 'apps', app, 'src'))
    .filter((file) => file.endsWith('.spec.ts'))
    .map((file) => `e2e-each--src/${file}`),
);
const atOnce = Math.max(1, Math.min(availableParallelism() + 1, Math.floor(totalmem() / BYTES_A_PROJECT)));
const began = Date.now();
const { servers, shared } = await startSharedServers();
const args = [
  'run-many',
  '-t',
  'test',
  ...suites,
  `--parallel=${atOnce}`,
  '--output-style=static',
  ...process.argv.slice(2),
];
const nx = spawn('npx', ['nx', ...args], {
  cwd: root,
  stdio: ['inherit', 'pipe', 'inherit'],
  env: { ...process.env, NX_DAEMON: 'false', SHARED_SERVERS: shared },
});

const took = new Map();
let task = '';
for await (const line of createInterface({ input: nx.stdout })) {
  process.stdout.write(`${line}\n`);
  const plain = line.replace(/\x1b\[[0-9;]*m/g, '');
  task = /^> nx run @music\/(\S+)/.exec(plain)?.[1] ?? task;
  const seconds = /^Time:\s+([\d.]+) (s|min)/.exec(plain);
  if (seconds !== null) took.set(task, (took.get(task) ?? 0) + Number(seconds[1]) * (seconds[2] === 'min' ? 60 : 1));
}
const code = await new Promise((resolve) => (nx.exitCode === null ? nx.once('close', resolve) : resolve(nx.exitCode)));
servers.stdin.end();
const table = [...took].sort(([, a], [, b]) => b - a).map(([name, s]) => `${s.toFixed(0).padStart(6)} s  ${name}`);
process.stdout.write(`${table.join('\n')}\n${((Date.now() - began) / 60_000).toFixed(1)} min in all\n`);
process.exitCode = code ?? 1;

/** An S3 and a DynamoDB for all who need none of their own: `shared` tells where; they end with their standard input. */
async function startSharedServers() {
  const servers = spawn(process.execPath, ['--enable-source-maps', path.join(root, 'apps/local/dist/servers.js')], {
    cwd: root,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  for await (const shared of createInterface({ input: servers.stdout })) return { servers, shared };
  throw new Error('the servers that suites share did not start');
}
