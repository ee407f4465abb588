// node tools/newer-release.mjs FOLDER SERVICE …: makes services of a release after this one, in a folder that is not
// there yet or empty: this one's code, with a field more in an event and in an item, and a setting more. Tests of
// upgrades run both releases. The bundles are FOLDER/apps/SERVICE/dist/main.js.
import { cpSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root, run } from './set-up.mjs';

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

export function makeNewerRelease(folder, services) {
  const code = (from) => !/\/(dist|out-tsc|node_modules)$/.test(from);
  for (const part of ['libs', 'apps', 'glue', 'tools', 'package.json'])
    cpSync(path.join(root, part), path.join(folder, part), { recursive: true, filter: code });
  const modules = (of) => path.join(of, 'node_modules');
  mkdirSync(modules(folder));
  for (const name of readdirSync(modules(root)))
    if (name !== '@music') symlinkSync(path.join(modules(root), name), path.join(modules(folder), name));
  // Relative links to the workspace's own packages, which therefore lead to the copies.
  cpSync(path.join(modules(root), '@music'), path.join(modules(folder), '@music'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  for (const { file, from, to } of CHANGES) {
    const text = readFileSync(path.join(folder, file), 'utf8');
    if (!text.includes(from)) throw new Error(`${file} no longer has "${from}", which the newer release changes`);
    writeFileSync(path.join(folder, file), text.replace(from, to));
  }
  for (const service of services)
    run(process.execPath, ['tools/bundle.mjs', path.join('apps', service)], { cwd: folder, quiet: true });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) makeNewerRelease(process.argv[2], process.argv.slice(3));
