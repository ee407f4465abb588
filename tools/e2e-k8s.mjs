// npm run e2e:k8s: the end-to-end suite on a real cluster, against the current kubectl context, in a namespace of its own.
// Where the folder ../shared/cluster is there it is brought up and used, and images are given to it. Other clusters must be able
// to pull `music/*:dev`, or have them loaded. Needs `npm run images` before.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root, run, setUp } from './set-up.mjs';

const IMAGES = ['sensor', 'combiner', 'validator', 'glue-trigger', 'archiver', 'cli', 'stack', 'spark'];
const cluster = path.join(root, '..', 'shared', 'cluster');

setUp({ stack: false, build: false });
const env = { ...process.env };
if (existsSync(path.join(cluster, 'up'))) {
  const up = spawnSync(path.join(cluster, 'up'), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (up.status !== 0) process.exit(1);
  env.KUBECONFIG = /KUBECONFIG=(\S+)/.exec(up.stdout)?.[1];
  const dir = mkdtempSync(path.join(tmpdir(), 'music-images-'));
  for (const name of IMAGES) {
    const image = `docker.io/music/${name}:dev`;
    const tar = path.join(dir, `${name}.tar`);
    process.stdout.write(`loading ${image} …\n`);
    run('buildah', ['push', '--quiet', image, `docker-archive:${tar}:${image}`], { quiet: true });
    run(path.join(cluster, 'load-image'), [tar], { quiet: true });
    rmSync(tar);
  }
  rmSync(dir, { recursive: true });
}
const jest = spawnSync('npx', ['jest', '--config', 'k8s/jest.e2e.config.cjs', '--forceExit', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
  env,
});
process.exit(jest.status ?? 1);
