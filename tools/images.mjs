// npm run images [-- NAME …] [--tag dev]: builds the images with docker, podman or buildah, whichever is there.
// IMAGE_BUILD_FLAGS: more arguments for the builder, for example --build-arg NODE_IMAGE=node@sha256:…
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { IMAGES, OTHERS } from './image-names.mjs';
import { root, run, setUp } from './set-up.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tag: { type: 'string', default: 'dev' } },
});
const names = positionals.length > 0 ? positionals : IMAGES;
const unknown = names.filter((name) => !IMAGES.includes(name));
if (unknown.length > 0) fail(`no image ${unknown.join(', ')}: expected some of ${IMAGES.join(', ')}`);

const there = (command) => spawnSync(command, ['version'], { stdio: 'ignore' }).status === 0;
const builder =
  ['docker', 'podman', 'buildah'].find(there) ??
  fail('none of docker, podman and buildah is there, or their daemon does not run');
if (names.some((name) => name in OTHERS)) setUp({ build: false, spark: names.includes('spark') }); // fetches the jars

const output = (command, ...args) => spawnSync(command, args, { cwd: root, encoding: 'utf8' }).stdout?.trim() ?? '';
const revision = output('git', 'rev-parse', 'HEAD') || 'unknown';
const committed = output('git', 'log', '-1', '--format=%ct') || '0';
// Same commit, same image: files get the time of the commit.
const reproducible = builder === 'docker' ? [] : ['--timestamp', committed];
const cached = builder === 'docker' ? [] : ['--layers'];
const more = (process.env.IMAGE_BUILD_FLAGS ?? '').split(' ').filter(Boolean);

for (const name of names) {
  const image = `music/${name}:${values.tag}`;
  process.stdout.write(`building ${image} with ${builder} …\n`);
  const args =
    OTHERS[name] === undefined ? ['-f', 'docker/Dockerfile', '--build-arg', `APP=${name}`] : ['-f', OTHERS[name]];
  const about =
    OTHERS[name] === undefined ? ['--build-arg', `VERSION=${values.tag}`, '--build-arg', `REVISION=${revision}`] : [];
  const tag = builder === 'docker' ? image : `docker.io/${image}`; // as Kubernetes completes the name
  run(builder, ['build', ...cached, ...reproducible, ...more, ...args, ...about, '-t', tag, '.'], {
    quiet: true,
    env: { SOURCE_DATE_EPOCH: committed },
  });
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
