// node .ci/with-cluster.mjs CLUSTER COMMAND …: brings the cluster of a folder up, gives it the images, those of a newer
// release (NEWER_TAG) too, and runs a command with it as the current context. The folder has `up`, which prints its
// KUBECONFIG, and `load-image`.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { IMAGES, STAGES } from '../tools/image-names.mjs';
import { run } from '../tools/set-up.mjs';

const [cluster, command, ...args] = process.argv.slice(2);
const env = { ...process.env, KUBECONFIG: bringUp() };
loadImages();
openVolumes();
process.exit(spawnSync(command, args, { stdio: 'inherit', env }).status ?? 1);

/** Starts the cluster, or finds it running. Gives its kubeconfig. */
function bringUp() {
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    const { status, stdout } = spawnSync(path.join(cluster, 'up'), {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    // Where it was up already, its kube-proxy may end when its configuration is written again: once more starts it
    // again.
    spawnSync('sleep', ['3']);
    if (status === 0 && spawnSync('pgrep', ['-f', 'kube-proxy --config']).status === 0)
      return /KUBECONFIG=(\S+)/.exec(stdout)?.[1];
  }
  process.stderr.write(`${cluster}/up did not start the cluster\n`);
  return process.exit(1);
}

function loadImages() {
  const dir = mkdtempSync(path.join(tmpdir(), 'music-images-'));
  const newer = process.env.NEWER_TAG;
  const images = [
    ...IMAGES.map((name) => `docker.io/music/${name}:dev`),
    ...(newer === undefined ? [] : STAGES.map((name) => `docker.io/music/${name}:${newer}`)),
  ];
  for (const image of images) {
    const tar = path.join(dir, 'image.tar');
    process.stdout.write(`loading ${image} …\n`);
    run('buildah', ['push', '--quiet', image, `docker-archive:${tar}:${image}`], { quiet: true });
    run(path.join(cluster, 'load-image'), [tar], { quiet: true });
    rmSync(tar);
  }
  rmSync(dir, { recursive: true });
}

/** Volumes of that cluster are folders of this machine, which belong to root; elsewhere fsGroup makes them writable. */
function openVolumes() {
  const volumes = spawnSync('kubectl', ['get', 'pv', '-o', 'jsonpath={.items[*].spec.hostPath.path}'], {
    encoding: 'utf8',
    env,
  });
  for (const folder of volumes.stdout.split(' ').filter(Boolean)) {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o777);
  }
}
