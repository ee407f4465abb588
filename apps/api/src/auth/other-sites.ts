import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { ApiConfig } from '../api.config';
import { ProblemError } from '../http/problem';

const LOOPBACK_HOST = /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)(:\d+)?$/i;

/**
 * Refuses what a browser sends for another site: it may reach this port where that site's people cannot. Reading is
 * kept from it by the browser itself. On loopback a name that is not loopback's is refused, too: whoever owns it has
 * pointed it here.
 */
export function refuseOtherSites({ apiCorsOrigins, loopbackOnly }: ApiConfig): RequestHandler {
  const allowed: ReadonlySet<string> = new Set(apiCorsOrigins);
  return (request: Request, _: Response, next: NextFunction): void => {
    const { host = '', origin } = request.headers;
    if (loopbackOnly && !LOOPBACK_HOST.test(host))
      return next(
        new ProblemError(421, 'wrong-host', `this listens on loopback only, and is not ${host.slice(0, 100)}`),
      );
    if (request.method === 'GET' || request.method === 'HEAD' || request.method === 'OPTIONS') return next();
    const site = request.headers['sec-fetch-site'];
    const own = origin === undefined || hostOf(origin) === host || allowed.has(origin);
    if (!own || (site === 'cross-site' && !allowed.has(origin ?? '')))
      return next(new ProblemError(403, 'other-site', 'a page of another site may not ask for anything here'));
    const length = Number(request.headers['content-length'] ?? 0);
    if ((length > 0 || request.headers['transfer-encoding'] !== undefined) && !request.is('application/json'))
      return next(new ProblemError(415, 'not-json', 'send application/json'));
    next();
  };
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
