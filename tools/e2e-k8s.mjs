// npm run e2e:k8s: the end-to-end suite on a real cluster, against the current kubectl context, in a namespace of its own.
// Where the folder ../shared/cluster is there it is brought up and used, and images are given to it. Other clusters must be able
// to pull `music/*:dev`, or have them loaded. Needs `npm run images` before.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { IMAGES } from './image-names.mjs';
import { root, run, setUp } from './set-up.mjs';

const cluster = path.join(root, '..', 'shared', 'cluster');

setUp({ stack: false, build: false });
/** Starts that cluster, or finds it running. Gives its kubeconfig. */
function bringUp() {
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    const { status, stdout } = spawnSync(path.join(cluster, 'up'), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
    // Where it was up already, its kube-proxy may end when its configuration is written again: once more starts it again.
    spawnSync('sleep', ['3']);
    if (status === 0 && spawnSync('pgrep', ['-f', 'kube-proxy --config']).status === 0) return /KUBECONFIG=(\S+)/.exec(stdout)?.[1];
  }
  process.stderr.write(`${cluster}/up did not start the cluster\n`);
  return process.exit(1);
}

const env = { ...process.env };
if (existsSync(path.join(cluster, 'up'))) {
  env.KUBECONFIG = bringUp();
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
  // Volumes of that cluster are folders of this machine, which belong to root; elsewhere fsGroup makes them writable.
  const volumes = spawnSync('kubectl', ['get', 'pv', '-o', 'jsonpath={.items[*].spec.hostPath.path}'], { encoding: 'utf8', env });
  for (const folder of volumes.stdout.split(' ').filter(Boolean)) {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o777);
  }
}
const jest = spawnSync('npx', ['jest', '--config', 'k8s/jest.e2e.config.cjs', '--forceExit', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
  env,
});
process.exit(jest.status ?? 1);
