import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { workspaceRoot } from '@music/local-stack';
import type { Service } from './local-pipeline';

const run = promisify(execFile);

/** What the newer release has that this one does not know: a field of an event, one of an item, and a setting. */
const CHANGES = [
  {
    file: 'libs/events/src/batch-combined.ts',
    from: "import { IsDefined, ValidateNested } from 'class-validator';",
    to: "import { IsDefined, IsOptional, IsString, ValidateNested } from 'class-validator';",
  },
  {
    file: 'libs/events/src/batch-combined.ts',
    from: 'readonly evidence!: ObjectRef;',
    to: 'readonly evidence!: ObjectRef;\n  @IsOptional() @IsString() readonly addedLater?: string;',
  },
  {
    file: 'apps/combiner/src/combine-streams.ts',
    from: '{ runId, batch, manifest, evidence }',
    to: "{ runId, batch, manifest, evidence, addedLater: 'by a newer release' }",
  },
  {
    file: 'libs/runs/src/store/run-store.ts',
    from: '{ startedAt: now.toISOString() }',
    to: '{ startedAt: now.toISOString(), addedLater: true }',
  },
  {
    file: 'libs/service/src/service-config.ts',
    from: "  logLevel: string = 'info';",
    to: "  logLevel: string = 'info';\n\n  @Setting('ADDED_LATER', 'of a newer release')\n  @IsInt()\n  @Min(7)\n  addedLater: number = 7;",
  },
];

/** Builds services of a newer release, in a folder that is not there yet. Gives where their bundles are. */
export async function buildNewerRelease(
  dir: string,
  services: readonly Service[],
): Promise<(service: Service) => string> {
  const root = workspaceRoot();
  const code = (from: string) => !/\/(dist|out-tsc|node_modules)$/.test(from);
  for (const part of ['libs', 'apps', 'glue', 'tools', 'package.json'])
    await cp(path.join(root, part), path.join(dir, part), { recursive: true, filter: code });
  await mkdir(path.join(dir, 'node_modules'));
  for (const name of await readdir(path.join(root, 'node_modules')))
    if (name !== '@music') await symlink(path.join(root, 'node_modules', name), path.join(dir, 'node_modules', name));
  // Relative links to the workspace's own packages, which therefore lead to the copies.
  await cp(path.join(root, 'node_modules/@music'), path.join(dir, 'node_modules/@music'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  for (const { file, from, to } of CHANGES) {
    const text = await readFile(path.join(dir, file), 'utf8');
    if (!text.includes(from)) throw new Error(`${file} no longer has "${from}", which the newer release changes`);
    await writeFile(path.join(dir, file), text.replace(from, to));
  }
  for (const service of services)
    await run(process.execPath, ['tools/bundle.mjs', path.join('apps', service)], { cwd: dir });
  return (service) => path.join(dir, 'apps', service, 'dist', 'main.js');
}
