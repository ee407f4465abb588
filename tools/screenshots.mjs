// npm run screenshots: makes the pictures of the README anew, from the samples.
import { copyFileSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root, run, setUp } from './set-up.mjs';

setUp();
const to = mkdtempSync(path.join(tmpdir(), 'screenshots-'));
run('npx', ['jest', '-c', 'apps/api-end-to-end/jest.config.cjs', 'page', '-t', 'shows every route'], {
  env: { SCREENSHOTS_TO: to },
});
const images = path.join(root, 'docs', 'images');
mkdirSync(images, { recursive: true });
for (const name of ['genres', 'run']) copyFileSync(path.join(to, `${name}.png`), path.join(images, `${name}.png`));
