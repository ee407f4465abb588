// npm start [-- options]: sets up what is missing, then runs the pipeline on this machine.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { root, setUp } from './set-up.mjs';

const args = process.argv.slice(2);
const has = (option) => args.join('=').includes(option);
setUp({ stack: !has('stack=compose'), queue: has('arrivals=sqs'), spark: has('engine=glue'), moto: has('stack=moto') });
const child = spawn(process.execPath, ['--enable-source-maps', path.join(root, 'apps/local/dist/main.js'), ...args], {
  cwd: root,
  stdio: 'inherit',
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? (signal === null ? 1 : 130)));
