import { BatchWriteCommand, DynamoDBDocumentClient, QueryCommand } from '@aws-sdk/lib-dynamodb';
import { type DayKpis, dayItemOf, itemsOf } from '@music/kpis';
import { LocalPipeline } from '@music/local-pipeline';
import { table } from '@music/reports';
import { mapLimited } from '@music/storage';
import autocannon from 'autocannon';

const CONNECTIONS = 50;
const LOAD_SECONDS = 20;
const GENRES = 120;
/** Days that the views are asked about, and those before them. */
const ASKED_DAYS = 31;
const HISTORY_DAYS = 5 * 365;
const LAST_DAY = '2026-03-31';
const LOOKS = 200;
const WARM_LOOKS = 1_000;
const ITEMS_A_CALL = 25;
const CALLS_AT_ONCE = 8;
const GOAL_ADDED_MS = 2;
const GOAL_RATIO = 2;

/**
 * The API: what it adds to the Querys of a view, how much of it one process serves, and whether a long history makes a
 * view slower.
 */
export async function benchApi(say: (text: string) => void): Promise<void> {
  const pipeline = await LocalPipeline.start({
    api: true,
    muchData: true,
    env: { API_RATE_LIMIT: '10000000' },
  });
  try {
    await publish(pipeline, 0, ASKED_DAYS);
    const [from, day] = [dayBefore(ASKED_DAYS - 1), LAST_DAY];
    const genre = genreName(7);
    const views: readonly (readonly [name: string, route: string])[] = [
      ['days, 31', `/v1/days?from=${from}&to=${day}`],
      ['day', `/v1/days/${day}`],
      ['top genres of a day', `/v1/days/${day}/top-genres`],
      ['top songs of a genre', `/v1/days/${day}/top-songs?genre=${genre}`],
      ['genres of a day', `/v1/days/${day}/genres`],
      ['genre of a day', `/v1/days/${day}/genres/${genre}`],
      ['genre over 31 days', `/v1/genres/${genre}/days?from=${from}&to=${day}`],
      ['top genres over 31 days', `/v1/top-genres?from=${from}&to=${day}`],
      ['all genres of 31 days', `/v1/genres?from=${from}&to=${day}`],
      ['runs', '/v1/runs'],
      ['freshness', '/v1/freshness'],
    ];
    await added(pipeline, say, day);
    await load(
      pipeline,
      say,
      views.filter(([name]) => name === 'days, 31' || name === 'top genres of a day'),
    );
    const before = await lookAtAll(pipeline, views);
    say(`\napi: ${HISTORY_DAYS.toLocaleString('en-US')} days of ${GENRES} genres are put behind them …`);
    await publish(pipeline, ASKED_DAYS, HISTORY_DAYS);
    const after = await lookAtAll(pipeline, views);
    say(
      `\napi: milliseconds a view, median of ${LOOKS}, and how much slower 5 years of history make it (goal ${GOAL_RATIO})`,
    );
    say(
      table(
        ['view', 'without', 'with', 'ratio', 'reached'],
        views.map(([name], i) => {
          const [short = NaN, long = NaN] = [before[i], after[i]];
          return [
            name,
            short.toFixed(2),
            long.toFixed(2),
            (long / short).toFixed(2),
            long / short <= GOAL_RATIO ? 'goal' : 'MISSED',
          ];
        }),
      ),
    );
  } finally {
    await pipeline.stop();
  }
}

/** What the API takes longer than the same Querys made here, one at a time, in turns. */
async function added(pipeline: LocalPipeline, say: (text: string) => void, day: string): Promise<void> {
  const { kpis } = pipeline.stores;
  const bare = () => Promise.all([kpis.readDay(day), kpis.topGenres(day, 5)]);
  const url = `${pipeline.apiUrl()}/v1/days/${day}/top-genres`;
  const called = async () => void (await (await fetch(url)).json());
  const [bareMs, apiMs]: [number[], number[]] = [[], []];
  for (let i = 0; i < WARM_LOOKS + 2 * LOOKS; i += 1) {
    const [a, b] = [await timed(bare), await timed(called)];
    if (i < WARM_LOOKS) continue; // both are compiled then
    bareMs.push(a);
    apiMs.push(b);
  }
  const more = median(apiMs) - median(bareMs);
  say(
    `\napi: top genres of a day take ${median(bareMs).toFixed(2)} ms as two Querys, ${median(apiMs).toFixed(2)} ms over HTTP: ` +
      `the API adds ${more.toFixed(2)} ms (goal ${GOAL_ADDED_MS}: ${more <= GOAL_ADDED_MS ? 'reached' : 'MISSED'})`,
  );
}

async function load(
  pipeline: LocalPipeline,
  say: (text: string) => void,
  views: readonly (readonly [string, string])[],
): Promise<void> {
  const rows = [];
  for (const [name, route] of views) {
    const result = await autocannon({
      url: `${pipeline.apiUrl()}${route}`,
      connections: CONNECTIONS,
      duration: LOAD_SECONDS,
    });
    if (result.non2xx + result.errors > 0)
      throw new Error(`${route}: ${result.non2xx} refusals, ${result.errors} errors`);
    rows.push([name, Math.round(result.requests.average), result.latency.p50, result.latency.p99]);
  }
  say(`\napi: ${CONNECTIONS} connections for ${LOAD_SECONDS} s, one replica; the servers share the machine`);
  say(table(['view', 'requests a second', 'median ms', '99 % ms'], rows));
}

async function lookAtAll(pipeline: LocalPipeline, views: readonly (readonly [string, string])[]): Promise<number[]> {
  const medians: number[] = [];
  for (const [, route] of views) {
    const times: number[] = [];
    for (let i = 0; i < LOOKS; i += 1)
      times.push(
        await timed(async () => {
          const answer = await fetch(`${pipeline.apiUrl()}${route}`);
          if (!answer.ok) throw new Error(`${route}: ${answer.status} ${await answer.text()}`);
          await answer.arrayBuffer();
        }),
      );
    medians.push(median(times));
  }
  return medians;
}

/** Puts days into the table as publishing leaves them: `count` of them, the newest so many days before the last one. */
async function publish(pipeline: LocalPipeline, newest: number, count: number): Promise<void> {
  const { dynamo } = pipeline.stores;
  const documents = DynamoDBDocumentClient.from(dynamo);
  const { kpiTable } = pipeline.config;
  for (let n = 0; n < count; n += 1) {
    const day = kpisOf(dayBefore(newest + n));
    const version = n + 1;
    const provenance = {
      run_id: 'manual__00000000000000000000000000',
      version,
      computed_at: new Date().toISOString(),
      engine: 'bench',
      job_run_id: '-',
      sql_version: '-',
      songs_version: '-',
    };
    const items = [dayItemOf(day, provenance, []), ...itemsOf(day, version)];
    const calls = Array.from({ length: Math.ceil(items.length / ITEMS_A_CALL) }, (_, i) =>
      items.slice(i * ITEMS_A_CALL, (i + 1) * ITEMS_A_CALL),
    );
    await mapLimited(calls, CALLS_AT_ONCE, async (part) => {
      const RequestItems = { [kpiTable]: part.map((Item) => ({ PutRequest: { Item: { ...Item } } })) };
      const { UnprocessedItems = {} } = await documents.send(new BatchWriteCommand({ RequestItems }));
      if (Object.keys(UnprocessedItems).length > 0) throw new Error('the table took only some items');
    });
  }
  // The index has them, too.
  const { Count } = await documents.send(
    new QueryCommand({
      TableName: kpiTable,
      IndexName: 'by_kpi',
      KeyConditionExpression: 'kpi = :day',
      ExpressionAttributeValues: { ':day': 'day' },
      Select: 'COUNT',
    }),
  );
  if (Count !== newest + count) throw new Error(`the index has ${Count} days, not ${newest + count}`);
}

function kpisOf(date: string): DayKpis {
  const genres = Array.from({ length: GENRES }, (_, i) => ({
    genre: genreName(i),
    listen_count: 1_000 + i,
    unique_listeners: 500 + i,
    total_listening_ms: 200_000 * (1_000 + i),
  }));
  const top = genres.toReversed().slice(0, 5);
  return {
    date,
    listen_count: genres.reduce((sum, { listen_count }) => sum + listen_count, 0),
    unique_listeners: 10_000,
    genres,
    top_genres: top.map(({ genre, listen_count }, i) => ({ rank: i + 1, genre, listen_count })),
    top_songs: genres.flatMap(({ genre }, g) =>
      [1, 2, 3].map((rank) => ({
        genre,
        rank,
        track_id: `t${g}-${rank}`,
        song: `Song ${rank}`,
        artists: 'Artist',
        listen_count: 10 - rank,
      })),
    ),
  };
}

const genreName = (i: number): string => `genre-${i}`;
const dayBefore = (days: number): string =>
  new Date(Date.parse(LAST_DAY) - days * 86_400_000).toISOString().slice(0, 10);
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

async function timed(act: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await act();
  return performance.now() - began;
}
