import { createRequire } from 'node:module';
import path from 'node:path';
import react from '@vitejs/plugin-react';
import { type Plugin, defineConfig } from 'vite';

/** Swagger UI, whose page `public/docs` is, beside it: so that the API can be tried out. */
function swaggerUi(): Plugin {
  const from = path.dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  const files = ['swagger-ui.css', 'swagger-ui-bundle.js'];
  return {
    name: 'swagger-ui',
    async generateBundle() {
      const { readFile } = await import('node:fs/promises');
      for (const file of files)
        this.emitFile({ type: 'asset', fileName: `docs/${file}`, source: await readFile(path.join(from, file)) });
    },
  };
}

export default defineConfig({
  plugins: [react(), swaggerUi()],
  build: { outDir: 'dist', emptyOutDir: true, target: 'es2022', assetsInlineLimit: 0 },
  // Development against an API: API_URL=http://127.0.0.1:8090 npx nx serve @music/web
  server: {
    proxy: {
      '/v1': process.env['API_URL'] ?? 'http://127.0.0.1:8090',
      '/openapi.json': process.env['API_URL'] ?? 'http://127.0.0.1:8090',
    },
  },
});
