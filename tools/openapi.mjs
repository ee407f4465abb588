// npm run openapi: writes the API's OpenAPI document as a file, and the page's types from it. With --check it only says
// whether they are as they would be written.
import path from 'node:path';
import { root, run } from './set-up.mjs';

const check = process.argv.includes('--check');
const types = path.join(root, 'apps/web/src/api/schema.d.ts');
run('npx', ['jest', '-c', 'apps/api/jest.config.cjs', 'openapi'], {
  quiet: true,
  env: check ? {} : { UPDATE_OPENAPI: 'true' },
});
run('npx', [
  'openapi-typescript',
  path.join(root, 'apps/api/openapi.json'),
  '-o',
  types,
  ...(check ? ['--check'] : []),
]);
