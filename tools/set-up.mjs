// node tools/set-up.mjs: installs packages, fetches the servers of the local stack and builds, as far as it is not done.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createHash } from 'node:crypto';

export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const SERVERS = ['kafka', 'dynamodb', 's3'];

/** Everything that `npm start` and the tests need. Ends the process with one clear message where it cannot be had. */
export function setUp({ stack = true, build = true } = {}) {
  checkNode();
  if (stack) checkCommands();
  installPackages();
  if (stack) fetchStack();
  if (build) run('npx', ['nx', 'run-many', '-t', 'build', '--output-style=static'], { quiet: true });
}

/** Runs a command in the workspace; ends this process with its output where it fails. */
export function run(command, args, { quiet = false, env = {} } = {}) {
  const done = spawnSync(command, args, {
    cwd: root,
    stdio: quiet ? 'pipe' : 'inherit',
    encoding: 'utf8',
    env: { ...process.env, NX_DAEMON: 'false', ...env },
  });
  if (done.status === 0) return;
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
    fail(`Node ${process.versions.node} is too old: install Node 20.19 or later (see .nvmrc)`);
}

function checkCommands() {
  const remedy =
    'Install it: `apt-get install openjdk-17-jre-headless maven` or `brew install openjdk@17 maven`.\n' +
    'With Docker instead: `docker compose -f docker/compose.yaml up -d`, then `npm start -- --stack compose`.';
  const java = spawnSync('java', ['-version'], { encoding: 'utf8' });
  if (java.error || java.status !== 0) fail(`Java was not found; the local stack needs Java 17 or later. ${remedy}`);
  const major = Number(/version "(\d+)/.exec(java.stderr + java.stdout)?.[1] ?? 0);
  if (major < 17) fail(`Java ${major} is too old; the local stack needs Java 17 or later. ${remedy}`);
  if (!stackIsThere() && spawnSync('mvn', ['-v']).error) fail(`Maven was not found; it fetches the servers of the local stack. ${remedy}`);
}

const stampOf = (file) =>
  createHash('sha256')
    .update(readFileSync(path.join(root, file)))
    .digest('hex');
const isStamped = (stamp, file) => existsSync(stamp) && readFileSync(stamp, 'utf8') === stampOf(file);

function installPackages() {
  const stamp = path.join(root, 'node_modules', '.installed');
  if (isStamped(stamp, 'package-lock.json')) return;
  process.stdout.write('installing packages …\n');
  // No package of ours needs its install script.
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']);
  writeFileSync(stamp, stampOf('package-lock.json'));
}

const stackStamp = path.join(root, '.stack', '.fetched');
const stackIsThere = () => isStamped(stackStamp, 'docker/stack/pom.xml');

function fetchStack() {
  if (stackIsThere()) return;
  process.stdout.write('fetching Kafka, DynamoDB Local and the S3 server …\n');
  const partial = path.join(root, '.stack.partial');
  rmSync(partial, { recursive: true, force: true });
  for (const server of SERVERS)
    run('mvn', ['-q', '-B', '-ntp', '-f', 'docker/stack/pom.xml', '-P', server, `-Dlibs=${partial}`, 'generate-resources']);
  rmSync(path.join(root, '.stack'), { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  renameSync(partial, path.join(root, '.stack'));
  writeFileSync(stackStamp, stampOf('docker/stack/pom.xml'));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) setUp();
