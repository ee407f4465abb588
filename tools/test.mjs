// npm test: sets up what is missing, then runs all tests: two projects at a time, since many start servers, and the
// suites of end-to-end each for itself, since one after the other they take longer than all others together.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { root, run, setUp } from './set-up.mjs';

setUp({ queue: true, prometheus: true });
const suites = readdirSync(path.join(root, 'apps/end-to-end/src'))
  .filter((file) => file.endsWith('.spec.ts'))
  .map((file) => `e2e-each--src/${file}`);
run('npx', [
  'nx',
  'run-many',
  '-t',
  'test',
  ...suites,
  '--parallel=2',
  '--output-style=static',
  ...process.argv.slice(2),
]);
