import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { workspaceRoot } from '@music/local-stack';

const root = workspaceRoot();
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

it('has every setting of the services in docs/operations.md, and no other', () => {
  const sources = [
    ...readdirSync(path.join(root, 'apps')).map((app) => `apps/${app}/src/${app}.config.ts`),
    'libs/service/src/service-config.ts',
    'libs/service/src/engine-config.ts',
  ].filter((file) => existsSync(path.join(root, file)));
  const settings = new Set(
    sources.flatMap((file) => [...read(file).matchAll(/@Setting\(\s*'([A-Z0-9_]+)'/g)].map(([, name]) => name)),
  );
  const documented = new Set(
    [...read('docs/operations.md').matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map(([, name]) => name),
  );
  expect(settings.size).toBeGreaterThan(30);
  expect([...documented].sort()).toEqual([...settings].sort());
});

it.each([
  'README.md',
  'CONTRIBUTING.md',
  'docs/architecture.md',
  'docs/operations.md',
  'docs/guarantees.md',
  'docs/threat-model.md',
])('has no dead link in %s', (file) => {
  const targets = [...read(file).matchAll(/\]\(([^)#][^)#]*)/g)]
    .map(([, target]) => target as string)
    .filter((target) => !target.startsWith('http'));
  for (const target of targets)
    expect([target, existsSync(path.join(root, path.dirname(file), target))]).toEqual([target, true]);
});
