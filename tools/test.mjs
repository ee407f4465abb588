// npm test: sets up what is missing, then runs all tests: two projects at a time, since many start servers, and the
// suites of end-to-end each for itself.
import { run, setUp } from './set-up.mjs';

setUp({ queue: true });
run('npx', [
  'nx',
  'run-many',
  '-t',
  'test',
  'e2e-each',
  '--parallel=2',
  '--output-style=static',
  ...process.argv.slice(2),
]);
