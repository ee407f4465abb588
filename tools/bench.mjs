// npm run bench [-- samples|lab|10m|30m …] [--engines duckdb,spark]: sets up what is missing, then measures.
import path from 'node:path';
import { root, run, setUp } from './set-up.mjs';

setUp({ spark: process.argv.join('=').includes('spark') });
run(process.execPath, ['--enable-source-maps', path.join(root, 'apps/local/dist/bench.js'), ...process.argv.slice(2)]);
