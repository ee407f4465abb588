// node tools/layout-image.mjs APP FOLDER: puts what the image of an app holds into a folder: its bundle, the native
// library that the bundle leaves out, for the API the page, and for the command line its name and the samples.
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { root } from './set-up.mjs';

const [, , app, to] = process.argv;
const bundle = path.join(root, 'apps', app, 'dist', 'main.js');
mkdirSync(path.join(to, 'bin'), { recursive: true });
cpSync(bundle, path.join(to, 'main.js'));
cpSync(path.join(root, 'docker', 'init.sh'), path.join(to, 'bin', 'init'));

const require = createRequire(path.join(root, 'package.json'));
const native = /require\("(@duckdb\/node-bindings)"\)/.exec(readFileSync(bundle, 'utf8'))?.[1];
if (native !== undefined)
  for (const name of [native, `${native}-${process.platform}-${process.arch}`])
    cpSync(path.dirname(require.resolve(`${name}/package.json`)), path.join(to, 'node_modules', name), {
      recursive: true,
    });

if (app === 'api') cpSync(path.join(root, 'apps/web/dist'), path.join(to, 'web'), { recursive: true });

if (app === 'cli') {
  const command = path.join(to, 'bin', 'music-kpis');
  writeFileSync(command, '#!/bin/sh\nexec node /app/main.js "$@"\n');
  chmodSync(command, 0o755);
  cpSync(path.join(root, 'samples'), path.join(to, 'samples'), { recursive: true });
}
