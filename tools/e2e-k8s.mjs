// npm run e2e:k8s: the end-to-end suite on a real cluster, the one of the current kubectl context, in a namespace of
// its own. The cluster must be able to pull `music/*:dev`, or have them loaded (`kind load docker-image
// music/sensor:dev …`).
import { spawnSync } from 'node:child_process';
import { root, setUp } from './set-up.mjs';

setUp({ stack: false, build: false, prometheus: true, helm: true });
const { status } = spawnSync(
  'npx',
  ['jest', '--config', 'k8s/jest.e2e.config.cjs', '--forceExit', ...process.argv.slice(2)],
  {
    cwd: root,
    stdio: 'inherit',
  },
);
process.exit(status ?? 1);
