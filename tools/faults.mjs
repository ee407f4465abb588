// npm run test:faults: all faults, two suites at a time, since they wait for much; prints a table of what was injected
// and what became of it.
import { run, setUp } from './set-up.mjs';

setUp({ spark: true, queue: true });
const all = { FAULTS: 'all' };
run(
  'npx',
  [
    'nx',
    'test',
    'combiner',
    '--skip-nx-cache',
    '--output-style=stream-without-prefixes',
    '--',
    '--testPathPatterns=fuzz',
  ],
  {
    env: all,
  },
);
run(
  'npx',
  [
    'nx',
    'e2e',
    'faults',
    '--skip-nx-cache',
    '--output-style=stream-without-prefixes',
    '--maxWorkers=2',
    ...process.argv.slice(2),
  ],
  { env: all },
);
