import { existsSync } from 'node:fs';
import path from 'node:path';
import compression from 'compression';
import express, { type Request, type RequestHandler, type Response, Router } from 'express';

/** Beside the bundle in an image; where the build of `apps/web` leaves it in the repository. */
const FOLDERS = [path.join(__dirname, 'web'), path.join(__dirname, '../../web/dist')];
const YEAR_SECONDS = 31_536_000;

/** Serves the page: its files, and its beginning for every route that it has. Undefined where it was not built. */
export function page(folders: readonly string[] = FOLDERS): RequestHandler | undefined {
  const folder = folders.find((each) => existsSync(path.join(each, 'index.html')));
  if (folder === undefined) return undefined;
  const router = Router();
  // Streams are sent as they come, and numbers are small: only the page is compressed.
  router.use((request, _, next) => next(/^\/(v1(\/|$)|openapi\.json$)/.test(request.path) ? 'router' : undefined));
  router.use(compression());
  // Their names change with their content.
  router.use(
    '/assets',
    express.static(path.join(folder, 'assets'), { immutable: true, maxAge: YEAR_SECONDS * 1_000, fallthrough: false }),
  );
  router.use(
    express.static(folder, {
      cacheControl: false,
      setHeaders: (response) => response.set('Cache-Control', 'no-cache'),
    }),
  );
  router.get(/.*/, (request: Request, response: Response, next) => {
    if (!request.accepts('html')) return next();
    response.set('Cache-Control', 'no-cache').sendFile(path.join(folder, 'index.html'));
  });
  return router;
}
