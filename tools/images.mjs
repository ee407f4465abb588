// npm run images [-- NAME …] [--tag dev]: builds the images with docker, podman or buildah, whichever is there.
// … -- [NAME …] --newer TAG: instead, upon the images that are there, those of a release after this one, for the suite
// that upgrades and goes back.
// IMAGE_BUILD_FLAGS: more arguments for the builder, for example --build-arg NODE_IMAGE=node@sha256:…
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { IMAGES, OTHERS, STAGES } from './image-names.mjs';
import { makeNewerRelease } from './newer-release.mjs';
import { root, run, setUp } from './set-up.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tag: { type: 'string', default: 'dev' }, newer: { type: 'string' } },
});
const all = values.newer === undefined ? IMAGES : STAGES;
const names = positionals.length > 0 ? positionals : all;
const unknown = names.filter((name) => !all.includes(name));
if (unknown.length > 0) fail(`no image ${unknown.join(', ')}: expected some of ${all.join(', ')}`);

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

// As Kubernetes completes the name.
const imageOf = (name, tag) => `${builder === 'docker' ? '' : 'docker.io/'}music/${name}:${tag}`;
if (values.newer === undefined) for (const name of names) buildImage(name);
else buildNewer(names, values.newer);

function buildImage(name) {
  const args =
    OTHERS[name] === undefined ? ['-f', 'docker/Dockerfile', '--build-arg', `APP=${name}`] : ['-f', OTHERS[name]];
  const about =
    OTHERS[name] === undefined ? ['--build-arg', `VERSION=${values.tag}`, '--build-arg', `REVISION=${revision}`] : [];
  builds(imageOf(name, values.tag), [...args, ...about], root);
}

function buildNewer(services, tag) {
  const dir = mkdtempSync(path.join(tmpdir(), 'music-newer-'));
  makeNewerRelease(dir, services);
  for (const name of services) {
    const context = path.join(dir, 'apps', name);
    writeFileSync(
      path.join(context, 'Dockerfile'),
      `FROM ${imageOf(name, values.tag)}\nCOPY dist/main.js /app/main.js\n`,
    );
    builds(imageOf(name, tag), ['-f', path.join(context, 'Dockerfile')], context);
  }
  rmSync(dir, { recursive: true });
}

function builds(image, args, context) {
  process.stdout.write(`building ${image} with ${builder} …\n`);
  run(builder, ['build', ...cached, ...reproducible, ...more, ...args, '-t', image, context], {
    quiet: true,
    env: { SOURCE_DATE_EPOCH: committed },
  });
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
