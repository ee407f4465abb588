// node tools/bundle.mjs <projectRoot> [entry …]: one file per app and entry (default: main). swc first, since esbuild
// emits no decorator metadata.
import { builtinModules, createRequire } from 'node:module';
import path from 'node:path';
import { transformFile } from '@swc/core';
import { build } from 'esbuild';

const [, , project, ...entries] = process.argv;
const root = path.resolve(project);
const decoratorMetadata = {
  name: 'decorator-metadata',
  setup(b) {
    b.onLoad({ filter: /\.ts$/ }, async ({ path: file }) => {
      if (file.includes('node_modules')) return undefined;
      const { code } = await transformFile(file, {
        swcrc: false,
        configFile: false,
        sourceMaps: 'inline',
        module: { type: 'es6' },
        jsc: {
          target: 'es2022',
          keepClassNames: true,
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
        },
      });
      return { contents: code, loader: 'js', resolveDir: path.dirname(file) };
    });
  },
};
// Nest loads its optional peers in try/catch: those that are not installed stay run-time requires.
const optionalPeers = {
  name: 'optional-peers',
  setup(b) {
    b.onResolve({ filter: /^[^./]/ }, (a) => {
      if (builtinModules.includes(a.path) || a.path.startsWith('node:')) return undefined;
      if (!a.resolveDir.includes('node_modules')) return undefined;
      try {
        createRequire(path.join(a.resolveDir, 'x.js')).resolve(a.path);
        return undefined;
      } catch (error) {
        return error.code === 'MODULE_NOT_FOUND' ? { path: a.path, external: true } : undefined;
      }
    });
  },
};
const result = await build({
  entryPoints: (entries.length > 0 ? entries : ['main']).map((entry) => path.join(root, 'src', `${entry}.ts`)),
  outdir: path.join(root, 'dist'),
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  keepNames: true,
  sourcemap: true,
  sourcesContent: false,
  minifyWhitespace: true, // a service holds its own text in memory; names stay, so stack traces can be read
  lineLimit: 160,
  metafile: true,
  logLevel: 'error',
  // A native library; packages that read files beside themselves, which no image has.
  external: ['@duckdb/node-bindings*', 'aws-cdk-lib', 'cdk-nag', 'constructs'],
  // Packages that are ESM ask where they are.
  define: { 'import.meta.url': 'importMetaUrl' },
  banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
  loader: { '.sql': 'text', '.py': 'text', '.yaml': 'text' },
  plugins: [decoratorMetadata, optionalPeers],
});
for (const [file, { bytes, inputs }] of Object.entries(result.metafile.outputs)) {
  if (file.endsWith('.js'))
    console.log(
      `${path.relative(process.cwd(), path.resolve(file))}: ${(bytes / 1e6).toFixed(2)} MB, ${Object.keys(inputs).length} inputs`,
    );
}
