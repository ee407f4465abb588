import { SpanKind } from '@opentelemetry/api';
import type { NextFunction, RequestHandler, Response } from 'express';
import type { ApiRuntime } from './api-runtime';
import type { ApiRequest } from './auth/caller';

const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** Tells of every request: a metric by route, a line in the log, a span. */
export function observeRequests({ metrics, logger, tracing }: ApiRuntime): RequestHandler {
  const seconds = metrics.histogram(
    'music_http_request_seconds',
    'Seconds until a request was answered, by its route; streams are left out',
    { route: [], method: [], status: [] },
    BUCKETS,
  );
  return (request: ApiRequest, response: Response, next: NextFunction): void => {
    const began = process.hrtime.bigint();
    const { traceparent } = request.headers;
    const span = tracing.begin(
      `${request.method} ${request.path}`,
      SpanKind.SERVER,
      typeof traceparent === 'string' ? traceparent : undefined,
      { 'http.request.method': request.method, 'url.path': request.path },
    );
    if (span !== undefined) request.headers['traceparent'] = span.traceparent;
    response.on('close', () => {
      const route = routeOf(request);
      const took = Number(process.hrtime.bigint() - began) / 1e9;
      const status = String(response.statusCode);
      if (!route.endsWith('/stream')) seconds.observe({ route, method: request.method, status }, took);
      const about = { method: request.method, route, status: response.statusCode, ms: Math.round(took * 1_000) };
      logger[request.method === 'GET' ? 'debug' : 'info']({ ...about, caller: request.caller?.name }, 'answered');
      span?.tell({ 'http.route': route, 'http.response.status_code': response.statusCode });
      if (response.statusCode >= 500) span?.fail(status);
      span?.end();
    });
    next();
  };
}

/** The route, not the path: paths are as many as there are days. */
function routeOf({ route, path }: ApiRequest): string {
  const known = (route as { path?: unknown } | undefined)?.path;
  return typeof known === 'string' ? known : path.startsWith('/v1') ? 'unknown' : 'page';
}
