// npm run infra -- synth|settings: sets up what is missing, then calls the command line of apps/infra.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { root, setUp } from './set-up.mjs';

setUp({ stack: false });
const main = path.join(root, 'apps/infra/dist/main.js');
const { status } = spawnSync(process.execPath, [main, ...process.argv.slice(2)], {
  cwd: process.env.INIT_CWD ?? root,
  stdio: 'inherit',
});
process.exit(status ?? 1);
