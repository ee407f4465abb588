import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { parse } from 'csv-parse/sync';
import { DynamoDBDocumentClient, ExecuteStatementCommand } from '@aws-sdk/lib-dynamodb';
import { Engine } from '@music/duckdb';
import { RunRequested, envelope, toJson } from '@music/events';
import { publish } from '@music/messaging';
import { until, workspaceRoot } from '@music/local-stack';
import { LocalPipeline } from '@music/local-pipeline';
import { musicKpis } from '@music/local-pipeline';

const SAMPLES = path.join(workspaceRoot(), 'samples');
const EXPECTED = JSON.parse(readFileSync(path.join(SAMPLES, 'expected.json'), 'utf8'));
const DAY = '2026-03-02';

describe('music-kpis', () => {
  let pipeline: LocalPipeline;
  let runId: string;

  const kpis = (...args: string[]) => musicKpis(pipeline, ...args);
  const json = async (...args: string[]) => JSON.parse((await kpis(...args, '--json')).out);

  beforeAll(async () => {
    // The README's statements name the tables as they are called by default.
    pipeline = await LocalPipeline.start({ unshared: true, env: { RETRY_DELAYS_SECONDS: '0.1' } });
    await pipeline.load(SAMPLES);
  });
  afterAll(() => pipeline.stop());

  it('sets up what is missing, which is nothing by now', async () => {
    expect(await json('setup')).toEqual({
      created: { buckets: [], tables: [], topics: [] },
      recovered: { taken_back: 0, forgotten: 0 },
    });
  });

  it('runs, follows the run line by line where there is no terminal, and says how it went', async () => {
    const run = await kpis('run', '--date', '2026-03-03', '--wait', '--now');
    expect(run.code).toBe(0);
    expect(run.err).toMatch(
      /^manual__\w+: pending, \d+ s\n(manual__\w+: \w+, \d+ s\n)*manual__\w+: completed, \d+ s\n$/,
    );
    expect(run.out).toContain('rows: 2,152 read, 2,145 kept, 2 duplicate, 2 invalid_listen_time');
    [{ run_id: runId }] = await json('runs');
    expect(await json('status', runId)).toMatchObject({
      state: 'completed',
      logical_date: '2026-03-03',
      rows: EXPECTED.rows,
    });
  });

  it('exports what the table has, one row a genre and day, a top song, or a day', async () => {
    const [from, to] = ['2026-02-28', '2026-03-03']; // of which two days are there
    const file = (name: string) => path.join(pipeline.dir, name);
    const exported = (what: string, out: string, ...more: string[]) =>
      json('export', '--from', from, '--to', to, '--what', what, '--out', out, ...more);
    const days = EXPECTED.days as (typeof EXPECTED)[];
    const genres = days.flatMap(({ date, genres: each }) =>
      each.map((genre: Record<string, unknown>) => ({
        date,
        genre: genre['genre'],
        listen_count: genre['listen_count'],
        unique_listeners: genre['unique_listeners'],
        total_listening_ms: genre['total_listening_ms'],
        total_listening_minutes: genre['total_listening_time'],
        avg_listening_minutes_per_user: genre['avg_listening_time_per_user'],
      })),
    );
    const csv = (body: string) =>
      parse<Record<string, string>>(body, { columns: true }).map(({ version: _, ...row }) => row);
    const asText = (row: object) =>
      Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value)]));

    expect(await exported('genres', file('genres.csv'))).toEqual({ out: file('genres.csv'), rows: genres.length });
    expect(csv(readFileSync(file('genres.csv'), 'utf8'))).toEqual(genres.map(asText));
    const songs = days.flatMap(({ date, genres: each }) =>
      each.flatMap(({ genre, top_songs }: typeof EXPECTED) =>
        top_songs.map((song: object) => asText({ date, genre, ...song })),
      ),
    );
    const { sourceBucket } = pipeline.config;
    await exported('songs', `s3://${sourceBucket}/exports/songs.csv`);
    const { objects } = pipeline.stores;
    const object = await objects.head(sourceBucket, 'exports/songs.csv');
    expect(csv(await text(await objects.open(object as NonNullable<typeof object>)))).toEqual(songs);

    await exported('genres', file('genres.parquet'), '--format', 'parquet');
    const engine = await Engine.open(pipeline.dir, { memoryBytes: 2 ** 27, threads: 1 });
    const rows = await engine.rows(
      `SELECT * EXCLUDE version REPLACE (CAST(date AS VARCHAR) AS date) FROM read_parquet('${file('genres.parquet')}')`,
    );
    engine.close();
    expect(rows.map((row) => asText(row))).toEqual(genres.map(asText));

    expect(await exported('days', file('days.csv'))).toEqual({ out: file('days.csv'), rows: 2 });
    expect(csv(readFileSync(file('days.csv'), 'utf8'))).toMatchObject(
      days.map(({ date, listen_count, genres: each }) => asText({ date, listen_count, genre_count: each.length })),
    );
    for (const out of ['s3://bucket', file('nowhere/x.csv')])
      expect(await kpis('export', '--from', from, '--to', to, '--out', out)).toMatchObject({
        code: 2,
        err: expect.stringContaining(`--out ${out}`),
      });
    expect(readdirSync(pipeline.dir).filter((name) => name.includes('export'))).toEqual([]);
  });

  it('both sample questions are answered by the PartiQL of the README, in order, without a scan', async () => {
    const day = EXPECTED.days.find(({ date }: { date: string }) => date === DAY);
    const byKey = (a: { genre: string }, b: { genre: string }) => (a.genre < b.genre ? -1 : 1);
    const songs = day.genres
      .toSorted(byKey)
      .map(({ genre, top_songs }: typeof day) => ({ genre, top_3_songs_per_genre: top_songs }));
    const readme = readFileSync(path.join(workspaceRoot(), 'README.md'), 'utf8');
    const statements = [...readme.matchAll(/```sql\n([^`]+)```/g)].map(([, statement]) => statement);
    expect(statements).toHaveLength(2);
    const dynamo = DynamoDBDocumentClient.from(pipeline.stores.dynamo);
    for (const [i, expected] of [day.top_genres, songs].entries()) {
      const Statement = statements[i];
      expect((await dynamo.send(new ExecuteStatementCommand({ Statement }))).Items).toEqual(expected);
      // DynamoDB Local tells no capacity of statements. A page of one item that was read has one that is wanted, though.
      const pages: unknown[] = [];
      for (let NextToken: string | undefined, first = true; first || NextToken !== undefined; first = false) {
        const page = await dynamo.send(new ExecuteStatementCommand({ Statement, Limit: 1, NextToken }));
        NextToken = page.NextToken;
        if (NextToken !== undefined || page.Items?.length !== 0) pages.push(page.Items);
      }
      expect(pages).toEqual(expected.map((item: object) => [item]));
    }
  });

  it('answers both sample questions, and for one genre', async () => {
    const day = EXPECTED.days.find(({ date }: { date: string }) => date === DAY);
    expect(await json('top-genres', '--date', DAY)).toEqual(day.top_genres);
    expect(await json('top-genres', '--date', DAY, '--limit', '100')).toHaveLength(day.genres.length);
    const dub = day.genres.find(({ genre }: { genre: string }) => genre === 'dub');
    expect(await json('top-songs', '--date', DAY, '--genre', 'dub', '--limit', '2')).toEqual(
      dub.top_songs.slice(0, 2).map((song: object) => ({ genre: 'dub', ...song })),
    );
    expect(await json('genre', '--date', DAY, '--genre', 'dub')).toMatchObject({
      listen_count: dub.listen_count,
      total_listening_time: dub.total_listening_time,
    });
    expect((await kpis('top-genres', '--date', DAY)).out).toMatch(/^# +genre +listens\n1 +bossa nova +141\n/);
  });

  it('shows the events of a run in order', async () => {
    const { out } = await kpis('events', '--run', runId, '--json');
    const events = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events.map(({ topic }) => topic)).toEqual([
      'music.run.requested',
      'music.streams.sensed',
      'music.batch.combined',
      'music.run.validated',
      'music.kpis.published',
      'music.run.completed',
    ]);
    expect(new Set(events.map(({ headers }) => headers.traceparent.split('-')[1])).size).toBe(1);
  });

  it('tells a run that was skipped from one that did not succeed', async () => {
    expect(await kpis('run', '--wait', '--now')).toMatchObject({
      code: 0,
      out: expect.stringContaining('reason: no stream files'),
    });
    await pipeline.load(SAMPLES);
    await pipeline.stores.objects.deletePrefix(pipeline.config.sourceBucket, 'songs/');
    expect(await kpis('run', '--wait', '--now')).toMatchObject({
      code: 1,
      out: expect.stringContaining('there is no file below songs/'),
    });
    expect((await kpis('status')).code).toBe(1);
  });

  it('shows dead letters and puts them back once', async () => {
    expect(await kpis('replay', '--list')).toMatchObject({
      code: 0,
      out: expect.stringContaining('there are no dead letters'),
    });
    expect(await kpis('status', runId)).toMatchObject({ code: 0, out: expect.stringContaining('dead letters: none') });
    const event = toJson(
      envelope(RunRequested, 'spec', { runId: 'scheduled__2026-03-04', logicalDate: '2026-03-04' }),
    ).replaceAll('"2026-03-04"', '"soon"');
    await publish(pipeline.stores.kafka, [
      { topic: RunRequested.topic, key: 'scheduled__2026-03-04', value: event, headers: {} },
    ]);
    let letters: unknown[] = [];
    await until('there is a dead letter', async () => (letters = await json('replay', '--list')).length > 0);
    expect(letters).toMatchObject([
      { stage: 'sensor', topic: RunRequested.topic, reason: expect.stringContaining('logicalDate') },
    ]);
    expect((await kpis('replay', '--list')).code).toBe(1);
    // The run that is asked for has none; that there are others is told all the same.
    expect(await kpis('status', runId)).toMatchObject({
      code: 0,
      out: expect.stringContaining('none of this run, 1 of other runs or of none'),
    });
    expect(await json('status', runId)).toMatchObject({ dead_letters: [], other_dead_letters: 1 });
    expect(await json('replay', '--run', 'scheduled__2026-03-05')).toEqual([]);
    expect(await json('replay', '--run', 'scheduled__2026-03-04')).toHaveLength(1);
    const after = await json('replay', '--list', '--stage', 'combiner');
    expect(after).toEqual([]);
  });

  it.each([
    [['top-genres'], /--date/],
    [['top-genres', '--date', '2026-02-30'], /expected a date/],
    [['top-songs', '--date', DAY, '--limit', '4'], /at most 3/],
    [['genre', '--date', DAY, '--genre', 'none'], /no listens of genre "none"/],
    [['top-genres', '--date', '1999-01-01'], /no KPIs of 1999-01-01/],
    [['status', 'manual__none'], /no run manual__none/],
    [['replay', '--stage', 'drummer'], /expected one of/],
    [['dance'], /unknown command/],
  ])('has exit code 2 for %j, and says why', async (args, reason) => {
    const { code, err } = await kpis(...args);
    expect([code, err]).toEqual([2, expect.stringMatching(reason)]);
  });
});
