#!/usr/bin/env node
// npm links this file into node_modules/.bin before the bundle is built.
const { existsSync } = require('node:fs');
const path = require('node:path');

const bundle = path.join(__dirname, '..', 'dist', 'main.js');
if (!existsSync(bundle)) {
  process.stderr.write('music-kpis is not built yet: run `npm run setup`\n');
  process.exit(1);
}
require(bundle);
