import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DescribeTableCommand } from '@aws-sdk/client-dynamodb';
import { describeError } from '@music/errors';
import {
  Health,
  Metrics,
  Tracing,
  endOnSignals,
  nestLogger,
  openStores,
  serviceLogger,
  settingsOrExit,
} from '@music/service';
import type { INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter, type NestExpressApplication } from '@nestjs/platform-express';
import express, { type Express, type RequestHandler } from 'express';
import helmet from 'helmet';
import { ApiRuntime } from './api-runtime';
import type { ApiConfig } from './api.config';
import { ApiModule } from './api.module';
import { authenticatorOf, identify } from './auth/identify';
import { refuseOtherSites } from './auth/other-sites';
import { observeRequests } from './observe';
import { openApi } from './openapi';
import { page } from './page';
import { Streams } from './runs/streams.controller';

const MOST_BODY = '64kb';
const READY_LOOK_MS = 5_000;
const TIMEOUTS_MS = { headers: 10_000, request: 30_000 };

/** Starts the API as this process, until SIGTERM or SIGINT. */
export async function startApi(config: ApiConfig): Promise<void> {
  const logger = serviceLogger('api', config.logLevel);
  const authenticator = settingsOrExit('api', () =>
    authenticatorOf(config, (problem) => logger.error({ problem }, 'keys could not be read')),
  );
  const stores = openStores(config, 'music-api', logger);
  const metrics = new Metrics('api');
  const tracing = new Tracing('api', process.env);
  const runtime = new ApiRuntime(config, stores, logger, metrics, tracing);
  const app = await createApi(runtime);
  const server = app.getHttpServer() as Server;
  const routes = app.getHttpAdapter().getInstance() as Express;
  routes.set('trust proxy', config.apiProxies);
  app.use(observeRequests(runtime));
  app.use(headers());
  app.use('/v1', refuseOtherSites(config));
  app.use('/v1', identify(authenticator));
  app.use('/v1', bodies());
  if (config.apiCorsOrigins.length > 0)
    app.enableCors({
      origin: config.apiCorsOrigins,
      methods: ['GET', 'POST'],
      exposedHeaders: ['ETag', 'Link', 'Retry-After'],
    });
  const document = openApi(app);
  routes.get('/openapi.json', (_, response) => void response.json(document));
  const web = page();
  if (web === undefined) logger.warn({}, 'the page was not built, so it is not served');
  else app.use(web);

  const streams = app.get(Streams);
  metrics.gauge('music_api_streams', 'Streams of events that are open', [], async () => [[{}, streams.count]]);
  const readiness = watchTable(runtime);
  const health = new Health(() => readiness.problems());
  metrics.watchReadiness(() => readiness.problems());
  endOnSignals(logger, async () => {
    readiness.stop();
    streams.onModuleDestroy();
    const closed = app.close();
    const late = setTimeout(() => server.closeAllConnections(), config.graceSeconds * 1_000);
    server.closeIdleConnections();
    await closed;
    clearTimeout(late);
    await Promise.all([health.close(), metrics.close(), tracing.close().catch(() => undefined)]);
    stores.close();
  });
  const healthPort = await health.listen(config.healthHost, config.healthPort);
  const metricsPort = await metrics.listen(config.healthHost, config.metricsPort);
  await app.listen(config.apiPort, config.host);
  server.headersTimeout = TIMEOUTS_MS.headers;
  server.requestTimeout = TIMEOUTS_MS.request;
  const { port } = server.address() as AddressInfo;
  if (config.apiAuth !== 'keys' && config.apiAuth !== 'oidc')
    logger.warn({ host: config.host, role: config.apiAnonymousRole }, 'whoever reaches the port may use the API');
  logger.info({ healthPort, metricsPort, port }, 'started');
}

/** The application with its routes, which listens nowhere yet. */
export async function createApi(runtime: ApiRuntime): Promise<INestApplication> {
  return NestFactory.create<NestExpressApplication>(ApiModule.of(runtime), new ExpressAdapter(), {
    logger: nestLogger(runtime.logger),
    bodyParser: false, // see `bodies`
    abortOnError: false, // it throws instead
  });
}

/** Nothing of other origins is loaded, and nobody frames the page. */
function headers() {
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        'default-src': ["'none'"],
        'script-src': ["'self'"],
        'style-src': ["'self'"],
        'img-src': ["'self'", 'data:'],
        'connect-src': ["'self'"],
        'font-src': ["'self'"],
        'form-action': ["'none'"],
        'frame-ancestors': ["'none'"],
        'base-uri': ["'none'"],
      },
    },
    strictTransportSecurity: false, // whoever ends TLS in front says so
  });
}

/** JSON only, and little of it. */
function bodies(): RequestHandler {
  return express.json({ limit: MOST_BODY, strict: true, type: 'application/json' });
}

/**
 * Whether the table of KPIs has answered since the start. What is away later is told by a problem and by the page, which
 * nobody would see of a replica that takes itself out.
 */
function watchTable({ stores, config }: ApiRuntime) {
  let problem: string | undefined = `${config.kpiTable} was not looked at yet`;
  const look = () =>
    stores.dynamo.send(new DescribeTableCommand({ TableName: config.kpiTable })).then(
      () => {
        problem = undefined;
        clearInterval(timer);
      },
      (error: unknown) => (problem = `${config.kpiTable} cannot be reached: ${describeError(error, 200)}`),
    );
  const timer = setInterval(look, READY_LOOK_MS).unref();
  void look();
  return { problems: () => (problem === undefined ? [] : [problem]), stop: () => clearInterval(timer) };
}
