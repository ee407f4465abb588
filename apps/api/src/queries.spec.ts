import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type DayKpis, kpiTable } from '@music/kpis';
import { LocalStack } from '@music/local-stack';
import { RunStore, ensureTable, pipelineRunsTable } from '@music/runs';
import { Metrics, type Stores, Tracing, openStores, serviceLogger } from '@music/service';
import type { INestApplication } from '@nestjs/common';
import { ApiRuntime } from './api-runtime';
import { loadApiConfig } from './api.config';
import { createApi } from './start-api';

const DAY = '2026-03-31';
const dayBefore = (n: number) => new Date(Date.parse(DAY) - n * 86_400_000).toISOString().slice(0, 10);
const kpisOf = (date: string): DayKpis => ({
  date,
  listen_count: 1,
  unique_listeners: 1,
  genres: [{ genre: 'dub', listen_count: 1, unique_listeners: 1, total_listening_ms: 1 }],
  top_genres: [{ rank: 1, genre: 'dub', listen_count: 1 }],
  top_songs: [{ genre: 'dub', rank: 1, track_id: 't', song: 's', artists: 'a', listen_count: 1 }],
});

/** How many calls each view may make, whatever there is: all of a day are a few, a month of all genres one a day. */
const VIEWS: readonly (readonly [route: string, most: number])[] = [
  [`/v1/days?from=${dayBefore(30)}&to=${DAY}`, 1],
  [`/v1/days/${DAY}`, 1],
  [`/v1/days/${DAY}/top-genres`, 2],
  [`/v1/days/${DAY}/top-songs?genre=dub`, 2],
  [`/v1/days/${DAY}/genres`, 2],
  [`/v1/days/${DAY}/genres/dub`, 2],
  [`/v1/genres/dub/days?from=${dayBefore(30)}&to=${DAY}`, 1],
  [`/v1/top-genres?from=${dayBefore(30)}&to=${DAY}`, 5],
  [`/v1/genres?from=${dayBefore(30)}&to=${DAY}`, 1 + 31],
  ['/v1/runs?limit=20', 1],
  ['/v1/runs?limit=20&state=frozen', 1_000 / 20],
];

describe('what a view asks DynamoDB', () => {
  let stack: LocalStack;
  let stores: Stores;
  let app: INestApplication;
  let url: string;
  const calls: string[] = [];

  beforeAll(async () => {
    stack = await LocalStack.start(['dynamodb']);
    Object.assign(process.env, stack.env);
    const config = loadApiConfig({ KAFKA_BROKERS: 'localhost:1', LOG_LEVEL: 'silent', API_RATE_LIMIT: '100000' });
    const logger = serviceLogger('api', 'silent');
    stores = openStores(config, 'api', logger);
    for (const table of [kpiTable(config.kpiTable), pipelineRunsTable(config.runsTable)])
      await ensureTable(stores.dynamo, table);
    stores.dynamo.middlewareStack.add(
      (next, { commandName }) =>
        (args) => {
          calls.push(String(commandName));
          return next(args);
        },
      { step: 'initialize' },
    );
    app = await createApi(new ApiRuntime(config, stores, logger, new Metrics('api'), new Tracing('api', {})));
    app.use((request: { caller?: object }, _: unknown, next: () => void) => {
      request.caller = { name: 'spec', role: 'reader' };
      next();
    });
    await app.listen(0, '127.0.0.1');
    url = `http://127.0.0.1:${((app.getHttpServer() as Server).address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    await app?.close();
    stores?.close();
    await stack?.stop();
  });

  const ask = async () => {
    const seen: Record<string, readonly string[]> = {};
    for (const [route, most] of VIEWS) {
      calls.splice(0);
      const answer = await fetch(`${url}${route}`);
      expect([route, answer.status]).toEqual([route, 200]);
      await answer.text();
      expect([route, calls.filter((call) => call !== 'QueryCommand')]).toEqual([route, []]);
      expect([route, calls.length <= most]).toEqual([route, true]);
      seen[route] = [...calls];
    }
    return seen;
  };

  it('is Querys only, a few of them, and no more for what is beside', async () => {
    const publish = async (n: number) =>
      stores.kpis.publish(kpisOf(dayBefore(n)), {
        run_id: 'r',
        version: 1,
        computed_at: '2026-04-01T00:00:00Z',
        engine: 'e',
        job_run_id: 'j',
        sql_version: 's',
        songs_version: 'x',
      });
    const runs = new RunStore(DynamoDBDocumentClient.from(stores.dynamo), 'pipeline_runs');
    const addRun = (n: number) =>
      runs.createRun(
        { runId: `scheduled__${dayBefore(n)}`, logicalDate: dayBefore(n), immediately: false },
        new Date(Date.parse(DAY) - n * 1_000),
      );
    for (let n = 0; n < 31; n += 1) await publish(n);
    for (let n = 0; n < 30; n += 1) await addRun(n);
    const before = await ask();
    await Promise.all(Array.from({ length: 400 }, (_, i) => publish(31 + i)));
    await Promise.all(Array.from({ length: 1_500 }, (_, i) => addRun(30 + i)));
    const after = await ask();
    for (const [route] of VIEWS)
      if (!route.includes('state=')) expect([route, after[route]]).toEqual([route, before[route]]);
  });
});
