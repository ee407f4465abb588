// npm run bench [-- ROW …] [--runs N]: sets up what is missing, then measures; see CONTRIBUTING.md.
import path from 'node:path';
import { root, run, setUp } from './set-up.mjs';

setUp({
  queue: process.argv.length < 3 || process.argv.includes('arrivals'),
  spark: process.argv.length < 3 || process.argv.join('=').includes('spark'),
});
run(process.execPath, ['--enable-source-maps', path.join(root, 'apps/bench/dist/main.js'), ...process.argv.slice(2)]);
