import { readFileSync } from 'node:fs';
import path from 'node:path';
import { until, workspaceRoot } from '@music/local-stack';
import { LocalPipeline, musicKpis } from '@music/local-pipeline';
import { TERMINAL } from '@music/runs';
import { ApiCaller, OPEN_API, readStream } from './api-caller.fixture';

const SAMPLES = path.join(workspaceRoot(), 'samples');
const EXPECTED = JSON.parse(readFileSync(path.join(SAMPLES, 'expected.json'), 'utf8'));
const DAY = '2026-03-02';
const OF_DAY = EXPECTED.days.find(({ date }: { date: string }) => date === DAY);
const RANGE = 'from=2026-03-01&to=2026-03-04';

describe('the API', () => {
  let pipeline: LocalPipeline;
  const api = new ApiCaller(() => pipeline.apiUrl());
  let runId: string;

  const untilEnded = async (id: string) =>
    until(`${id} has ended`, async () => {
      const { status, body } = await api.get(`/v1/runs/${id}`);
      return status === 200 && TERMINAL.has(body.state) && body;
    });
  const etag = async (route: string, headers = {}) => (await api.get(route, headers)).headers.get('etag') ?? '';

  beforeAll(async () => {
    pipeline = await LocalPipeline.start({
      api: true,
      env: { RETRY_DELAYS_SECONDS: '0.1', WORK_ATTEMPTS: '1', API_RATE_LIMIT: '100000' },
    });
    await pipeline.load(SAMPLES);
  });
  afterAll(() => pipeline.stop());

  describe('asking for a run', () => {
    it('asks once for a key, however often it is sent, and says who asked', async () => {
      const ask = () => api.post('/v1/runs', { date: '2026-03-03', now: true }, { 'Idempotency-Key': 'first-run' });
      const asked = await Promise.all([ask(), ask(), ask()]);
      expect(asked.map(({ status }) => status)).toEqual([202, 202, 202]);
      expect(new Set(asked.map(({ body }) => body.run_id)).size).toBe(1);
      runId = asked[0]?.body.run_id;
      expect(await untilEnded(runId)).toMatchObject({ state: 'completed', requested_by: 'anonymous', kind: 'manual' });
      expect((await ask()).body.run_id).toBe(runId);
      expect((await api.get('/v1/runs')).body).toHaveLength(1);
    });

    it('refuses a key that asked for something else', async () => {
      const other = await api.post('/v1/runs', { date: '2026-03-04', now: true }, { 'Idempotency-Key': 'first-run' });
      expect([other.status, other.body.type]).toEqual([422, 'urn:music-pipeline:problem:key-used-before']);
    });
  });

  describe('the numbers', () => {
    it('are those of the samples, with unit, zone and version', async () => {
      expect((await api.get(`/v1/days?${RANGE}`)).body).toMatchObject(
        EXPECTED.days.map(({ date, listen_count, unique_listeners }: typeof OF_DAY) => ({
          date,
          listen_count,
          unique_listeners,
          version: 1,
          time_zone: 'UTC',
        })),
      );
      expect((await api.get(`/v1/days/${DAY}`)).body).toMatchObject([{ date: DAY, listen_count: 995, run_id: runId }]);
      expect((await api.get(`/v1/days/${DAY}/top-genres`)).body).toMatchObject(OF_DAY.top_genres);
      expect((await api.get(`/v1/days/${DAY}/top-genres?limit=1`)).body).toHaveLength(1);
      const genres = (await api.get(`/v1/days/${DAY}/genres`)).body;
      expect(genres).toEqual(
        OF_DAY.genres.map((genre: typeof OF_DAY) => ({
          date: DAY,
          genre: genre.genre,
          listen_count: genre.listen_count,
          unique_listeners: genre.unique_listeners,
          total_listening_ms: genre.total_listening_ms,
          total_listening_minutes: genre.total_listening_time,
          avg_listening_minutes_per_user: genre.avg_listening_time_per_user,
          version: 1,
          time_zone: 'UTC',
        })),
      );
      const songs = (await api.get(`/v1/days/${DAY}/top-songs`)).body;
      for (const { genre, top_songs } of OF_DAY.genres)
        expect(songs.filter((song: { genre: string }) => song.genre === genre)).toMatchObject(top_songs);
      for (const genre of ['Götter-Metal', 'jazz & blues']) {
        const route = encodeURIComponent(genre);
        const own = genres.filter((row: { genre: string }) => row.genre === genre);
        expect((await api.get(`/v1/days/${DAY}/genres/${route}`)).body).toEqual(own);
        expect((await api.get(`/v1/days/${DAY}/genres?genre=${route}`)).body).toEqual(own);
        expect((await api.get(`/v1/genres/${route}/days?${RANGE}`)).body).toContainEqual(own[0]);
        expect((await api.get(`/v1/days/${DAY}/top-songs?genre=${route}&limit=2`)).body).toHaveLength(2);
      }
    });

    it('over time are those of the days', async () => {
      const [first, second] = EXPECTED.days;
      const of = (day: typeof OF_DAY, genre: string) =>
        day.genres.find((each: typeof OF_DAY) => each.genre === genre)?.listen_count ?? 0;
      const all = (await api.get(`/v1/genres?${RANGE}`)).body;
      expect(all.map(({ rank }: { rank: number }) => rank)).toEqual(all.map((_: unknown, i: number) => i + 1));
      for (const { genre, listen_count } of all) expect(listen_count).toBe(of(first, genre) + of(second, genre));
      expect((await api.get(`/v1/top-genres?${RANGE}&limit=2`)).body).toMatchObject(
        [first, second].flatMap(({ date, top_genres }) =>
          top_genres.slice(0, 2).map((top: object) => ({ date, ...top })),
        ),
      );
    });

    it('as CSV are the same rows', async () => {
      for (const route of [`/v1/days?${RANGE}`, `/v1/days/${DAY}/genres`, `/v1/days/${DAY}/top-songs`, '/v1/runs']) {
        const { headers, text } = await api.get(route, { accept: 'text/csv' });
        expect(headers.get('content-type')).toContain('text/csv');
        const rows = (await api.get(route)).body;
        const lines = text.split('\r\n');
        expect(lines).toHaveLength(rows.length + 2);
        const columns = lines[0]?.split(',') ?? [];
        expect(lines[1]?.startsWith(String(rows[0][columns[0] ?? '']))).toBe(true);
        for (const name of Object.keys(rows[0])) expect(columns).toContain(name);
      }
    });

    it('come with where they are from, file by file', async () => {
      const route = `/v1/days/${DAY}/genres/dub/explain`;
      const { body } = await api.get(route);
      expect(body.map(({ key }: { key: string }) => key)).toEqual(['streams/2026-03-01.csv', 'streams/2026-03-02.csv']);
      expect(body).toEqual(body.map(() => expect.objectContaining({ run_id: runId, sha256: expect.any(String) })));
    });

    it('that a caller has are not sent again, until they are others', async () => {
      const routes = [
        `/v1/days/${DAY}`,
        `/v1/days/${DAY}/genres`,
        `/v1/days?${RANGE}`,
        `/v1/top-genres?${RANGE}`,
        `/v1/genres?${RANGE}`,
      ];
      const tags = await Promise.all(routes.map((route) => etag(route)));
      expect(tags[0]).toBe(`"${DAY}-1-1"`);
      for (const [i, route] of routes.entries()) {
        const again = await api.get(route, { 'if-none-match': `"old", ${tags[i]}` });
        expect([again.status, again.text, again.headers.get('cache-control')]).toEqual([304, '', 'private, no-cache']);
      }
      expect(await etag(routes[0] ?? '', { accept: 'text/csv' })).not.toBe(tags[0]);
      const asked = await api.post('/v1/backfills', { from: '2026-03-01', to: DAY });
      expect(await untilEnded(asked.body.run_id)).toMatchObject({
        state: 'completed',
        backfill: { from: '2026-03-01', to: DAY },
      });
      for (const [i, route] of routes.entries())
        expect((await api.get(route, { 'if-none-match': tags[i] ?? '' })).status).toBe(200);
    });

    it('are never of two publishings at once', async () => {
      const asked = await api.post('/v1/backfills', { from: '2026-03-01', to: DAY });
      const versions = new Set<number>();
      let ended = false;
      const reading = (async () => {
        while (!ended) {
          for (const route of [
            `/v1/days/${DAY}/genres`,
            `/v1/days/${DAY}/top-songs`,
            `/v1/top-genres?from=${DAY}&to=${DAY}`,
          ]) {
            const { body } = await api.get(route);
            const of = new Set<number>(body.map(({ version }: { version: number }) => version));
            expect(of.size).toBe(1);
            for (const version of of) versions.add(version);
          }
        }
      })();
      const run = await untilEnded(asked.body.run_id);
      await until('the new numbers are read', () => versions.has(run.version));
      ended = true;
      await reading;
    });
  });

  describe('operation', () => {
    it('lists runs page by page, also where a filter leaves few', async () => {
      const all = (await api.get('/v1/runs')).body.map(({ run_id }: { run_id: string }) => run_id);
      expect(all).toHaveLength(3);
      const found: string[] = [];
      let next: string | undefined = '/v1/runs?limit=1';
      for (; next !== undefined;) {
        const { headers, body } = await api.get(next);
        expect(body.length).toBeLessThanOrEqual(1);
        found.push(...body.map(({ run_id }: { run_id: string }) => run_id));
        next = /<(.+)>; rel="next"/.exec(headers.get('link') ?? '')?.[1];
      }
      expect(found).toEqual(all);
      const kinds = async (query: string) =>
        (await api.get(`/v1/runs?${query}`)).body.map(({ kind }: { kind: string }) => kind);
      expect(await kinds('kind=manual')).toEqual(['manual']);
      expect(await kinds('kind=backfill&state=completed&limit=2')).toEqual(['backfill', 'backfill']);
      expect(await kinds('state=failed')).toEqual([]);
      expect(await kinds('from=2999-01-01')).toEqual([]);
      const today = new Date().toISOString().slice(0, 10);
      expect(await kinds(`from=${today}T00:00:00Z&to=2999-01-01`)).toHaveLength(3);
      expect(await kinds('to=2020-01-01')).toEqual([]);
    });

    it('tells all of a run, its files and its events', async () => {
      const { body: run } = await api.get(`/v1/runs/${runId}`);
      expect(run).toMatchObject({
        rows_read: EXPECTED.rows.read,
        rows_kept: EXPECTED.rows.kept,
        rejected_rows: EXPECTED.rows.rejected,
        dates: ['2026-03-01', DAY],
        batches: [{ batch: 0, state: 'judged', files_passed: 2, files_rejected: 0 }],
        rerun_stages: [],
      });
      expect(run.stages.map(({ seconds }: { seconds: number }) => seconds > 0)).toEqual([true, true, true, true, true]);
      const { body: files } = await api.get(`/v1/runs/${runId}/files?state=archived,left`);
      expect(files).toMatchObject([
        { key: 'streams/2026-03-01.csv', state: 'archived', rows_read: 1_156, rows_rejected: 5 },
        { key: 'streams/2026-03-02.csv', state: 'archived', rows_read: 996, rows_rejected: 0 },
      ]);
      const one = await api.get(`/v1/runs/${runId}/files?limit=1`);
      const rest = await api.get(/<(.+)>; rel="next"/.exec(one.headers.get('link') ?? '')?.[1] ?? '');
      expect([...one.body, ...rest.body]).toEqual(files);
      const { body: events } = await api.get(`/v1/runs/${runId}/events`);
      // It was asked for several times, and is one run.
      const asked = events.filter(({ topic }: { topic: string }) => topic === 'music.run.requested');
      expect(asked.length).toBeGreaterThanOrEqual(3);
      expect([...new Set(events.map(({ topic }: { topic: string }) => topic))]).toEqual([
        'music.run.requested',
        'music.streams.sensed',
        'music.batch.combined',
        'music.run.validated',
        'music.kpis.published',
        'music.run.completed',
      ]);
    });

    it('tells how fresh the numbers are, and what waits', async () => {
      expect((await api.get('/v1/freshness')).body).toMatchObject({
        last_completed_run: { kind: 'backfill' },
        newest_complete_day: { date: DAY },
        runs_under_way: 0,
        files_waiting: 0,
        dead_letters: 0,
      });
      await pipeline.put('streams/waits.csv', path.join(SAMPLES, 'streams/2026-03-01.csv'));
      expect((await api.get('/v1/freshness')).body).toMatchObject({ files_waiting: 1, more_files: false });
    });

    it('streams a run as it moves, and goes on after a reconnect', async () => {
      const url = pipeline.apiUrl();
      const beginning = await readStream(`${url}/v1/stream`, (events) => events.length > 0);
      expect(beginning).toMatchObject([{ event: 'runs' }]);
      const whole = readStream(`${url}/v1/stream`, (events) =>
        events.some(({ event, data }) => event === 'run' && data.state === 'completed'),
      );
      const { body } = await api.post('/v1/backfills', { from: DAY, to: DAY });
      const own = readStream(
        `${url}/v1/runs/${body.run_id}/stream`,
        (events) => events.at(-1)?.data.state === 'completed',
      ).catch(
        () => readStream(`${url}/v1/runs/${body.run_id}/stream`, (events) => events.at(-1)?.data.state === 'completed'), // not there yet
      );
      const events = await whole;
      expect(events.filter(({ event }) => event === 'days')).toMatchObject([
        { data: { run_id: body.run_id, dates: [DAY] } },
      ]);
      expect((await own).at(-1)).toMatchObject({ event: 'run', data: { run_id: body.run_id, dates: [DAY] } });
      // Somebody who was away from before the run on is told of it, and of nothing that was over by then.
      const missed = await readStream(`${url}/v1/stream`, (found) => found.some(({ event }) => event === 'days'), {
        headers: { 'last-event-id': beginning[0]?.id ?? '' },
      });
      expect(missed).toContainEqual(
        expect.objectContaining({ event: 'run', data: expect.objectContaining({ run_id: body.run_id }) }),
      );
      expect(missed.some(({ event }) => event === 'runs')).toBe(false);
    });
  });

  describe('a run that failed', () => {
    let failed: string;

    it('is told with its dead letter', async () => {
      await pipeline.replaceService('glue-trigger', { KPI_TABLE: 'not-there' });
      failed = (await api.post('/v1/runs', { now: true })).body.run_id;
      expect(await untilEnded(failed)).toMatchObject({
        state: 'failed',
        rerun_stages: ['combiner', 'validator', 'glue-trigger'],
      });
      await pipeline.replaceService('glue-trigger');
      const letters = await until('its letter is there', async () => {
        const { body } = await api.get(`/v1/dead-letters?run=${failed}`);
        return body.length > 0 && body;
      });
      expect(letters).toMatchObject([{ stage: 'glue-trigger', topic: 'music.run.validated', key: failed }]);
      expect((await api.get('/v1/dead-letters?stage=sensor')).body).toEqual([]);
    });

    it('goes on by a replay, once for a key', async () => {
      const replay = () => api.post(`/v1/runs/${failed}/replay`, {}, { 'Idempotency-Key': 'replay-it' });
      const [{ body: first }, { body: second }] = await Promise.all([replay(), replay()]);
      expect(second).toEqual(first);
      expect(
        await until('it completes', async () => {
          const { body } = await api.get(`/v1/runs/${failed}`);
          return body.state === 'completed' && body;
        }),
      ).toMatchObject({ asks: [{ id: first.ask_id, what: 'replay', by: 'anonymous', replayed: 1 }] });
      expect((await replay()).body).toEqual(first);
      const { body } = await api.get(`/v1/runs/${failed}`);
      expect(body.asks).toHaveLength(1);
    });

    it('cannot begin again once it completed: that is said at once', async () => {
      const { status, body } = await api.post(`/v1/runs/${failed}/rerun`, { from_stage: 'archiver' });
      expect([status, body.type]).toEqual([409, 'urn:music-pipeline:problem:cannot-rerun']);
      expect(body.detail).toMatch(/is completed/);
    });

    it('begins again by a rerun, once for a key', async () => {
      await pipeline.put('streams/again.csv', path.join(SAMPLES, 'streams/2026-03-02.csv'));
      await pipeline.replaceService('glue-trigger', { KPI_TABLE: 'not-there' });
      const { run_id } = (await api.post('/v1/runs', { now: true })).body;
      await untilEnded(run_id);
      await pipeline.replaceService('glue-trigger');
      const rerun = () =>
        api.post(`/v1/runs/${run_id}/rerun`, { from_stage: 'validator' }, { 'Idempotency-Key': 'rerun-it' });
      const { body: first } = await rerun();
      expect(
        await until('it completes', async () => {
          const { body } = await api.get(`/v1/runs/${run_id}`);
          return body.state === 'completed' && body;
        }),
      ).toMatchObject({ asks: [{ id: first.ask_id, what: 'rerun', fromStage: 'validator', by: 'anonymous' }] });
      expect((await rerun()).body).toEqual(first);
      expect((await musicKpis(pipeline, 'status', run_id)).out).toContain('completed');
    });
  });

  it('previews a backfill without asking for it', async () => {
    const before = (await api.get('/v1/runs')).body.length;
    const { body } = await api.post('/v1/backfills', { from: '2026-02-01', to: '2026-03-31', dry_run: true });
    expect(body).toMatchObject({
      days: [
        { date: '2026-03-01', listen_count: 1_150 },
        { date: DAY, listen_count: 995 },
      ],
      listen_count: 2_145,
    });
    expect(body.run_id).toBeUndefined();
    expect((await api.get('/v1/runs')).body).toHaveLength(before);
    expect((await api.post('/v1/backfills', { from: '1999-01-01', to: '1999-01-02' })).status).toBe(409);
  });

  describe('what is wrong is told as a problem', () => {
    const json = { 'content-type': 'application/json' };
    it.each<[string, string, unknown, Record<string, string>, number, RegExp]>([
      ['GET', '/v1/nothing', undefined, {}, 404, /Cannot GET/],
      ['GET', '/v1/days/2026-02-30', undefined, {}, 400, /date must be a calendar day/],
      ['GET', '/v1/days/1999-01-01', undefined, {}, 404, /no KPIs of 1999-01-01/],
      ['GET', `/v1/days/${DAY}/genres/none`, undefined, {}, 404, /genre "none"/],
      ['GET', `/v1/days/${DAY}/genres/%E0%A4%A`, undefined, {}, 400, /./],
      ['GET', '/v1/days?from=2020-01-01&to=2026-01-01', undefined, {}, 400, /at most 367/],
      ['GET', '/v1/days?from=2026-03-02&to=2026-03-01', undefined, {}, 400, /is after/],
      ['GET', '/v1/genres?from=2026-01-01&to=2026-03-01', undefined, {}, 400, /at most 31/],
      ['GET', '/v1/days?from=2026-03-02&from=2026-03-03', undefined, {}, 400, /from/],
      ['GET', '/v1/days?colour=red', undefined, {}, 400, /colour is not known/],
      ['GET', `/v1/days/${DAY}/top-genres?limit=0`, undefined, {}, 400, /from 1 to 1000/],
      ['GET', '/v1/runs?state=fine', undefined, {}, 400, /must be one of/],
      ['GET', '/v1/runs?cursor=abc', undefined, {}, 400, /cursor is none of this service/],
      ['GET', '/v1/runs/scheduled__1999-01-01', undefined, {}, 404, /no run/],
      ['GET', '/v1/runs/..%2F..', undefined, {}, 400, /id must look like/],
      ['GET', '/v1/runs/scheduled__1999-01-01/stream', undefined, {}, 404, /no run/],
      ['GET', '/v1/freshness', undefined, { accept: 'text/csv' }, 406, /application\/json/],
      ['POST', '/v1/runs', '{"now": tru}', json, 400, /JSON/],
      ['POST', '/v1/runs', '[1]', json, 400, /./],
      ['POST', '/v1/runs', { now: 'yes' }, {}, 400, /now must be true or false/],
      ['POST', '/v1/runs', { drop: 1 }, {}, 400, /drop is not known/],
      ['POST', '/v1/runs', { date: 'x'.repeat(70_000) }, {}, 413, /large/],
      ['POST', '/v1/runs', 'now=true', { 'content-type': 'text/plain' }, 415, /application\/json/],
      ['POST', '/v1/runs', {}, { 'Idempotency-Key': 'short' }, 400, /8 to 200/],
      ['POST', '/v1/runs', {}, { origin: 'http://elsewhere.example' }, 403, /another site/],
      ['POST', '/v1/runs', {}, { 'sec-fetch-site': 'cross-site' }, 403, /another site/],
      ['POST', '/v1/backfills', { from: '2026-03-02', to: '2026-03-01' }, {}, 400, /is after/],
      ['POST', '/v1/runs/scheduled__1999-01-01/rerun', { from_stage: 'combiner' }, {}, 404, /no run/],
      ['POST', '/v1/runs/scheduled__1999-01-01/rerun', { from_stage: 'sensor' }, {}, 400, /must be one of/],
      ['PUT', '/v1/runs', {}, {}, 404, /Cannot PUT/],
    ])('%s %s', async (method, route, body, headers, status, detail) => {
      const answer = await api.call(method, route, body, headers);
      expect([answer.status, answer.body]).toEqual([
        status,
        expect.objectContaining({ status, instance: route.split('?')[0], detail: expect.stringMatching(detail) }),
      ]);
      expect(answer.headers.get('cache-control')).toBe('no-store');
    });

    it('a cursor that belongs to another question', async () => {
      const link = (await api.get('/v1/runs?limit=1')).headers.get('link') ?? '';
      const cursor = /cursor=([^&>]+)/.exec(link)?.[1];
      expect((await api.get(`/v1/runs?limit=1&kind=manual&cursor=${cursor}`)).body.type).toBe(
        'urn:music-pipeline:problem:foreign-cursor',
      );
    });

    it('a host that is not loopback, where only loopback is listened to', async () => {
      const { request } = await import('node:http');
      const status = await new Promise((resolve) =>
        request(`${pipeline.apiUrl()}/v1/days`, { headers: { host: 'rebound.example' } }, (answer) =>
          resolve(answer.statusCode),
        ).end(),
      );
      expect(status).toBe(421);
    });

    it('stores that are away, with when to come again', async () => {
      const child = pipeline.spawnService('api', {
        AWS_ENDPOINT_URL_DYNAMODB: 'http://127.0.0.1:1',
        KAFKA_BROKERS: '127.0.0.1:1',
      });
      await until('it listens', () => pipeline.apiUrl(child));
      const lost = new ApiCaller(() => pipeline.apiUrl(child));
      for (const route of [`/v1/days?${RANGE}`, `/v1/days/${DAY}`, '/v1/runs', '/v1/freshness', '/v1/stream']) {
        const answer = await lost.get(route);
        expect([answer.status, answer.body.type, answer.headers.get('retry-after')]).toEqual([
          503,
          'urn:music-pipeline:problem:store-away',
          '5',
        ]);
      }
      expect((await pipeline.readiness(child)).says).toContain(`${pipeline.config.kpiTable} cannot be reached`);
      expect((await lost.get('/v1/dead-letters')).status).toBe(503);
      await child.stop();
    });

    it('too many requests', async () => {
      const child = await pipeline.startService('api', { API_RATE_LIMIT: '3' });
      const hurried = new ApiCaller(() => pipeline.apiUrl(child));
      const statuses = [];
      for (let i = 0; i < 4; i += 1) statuses.push((await hurried.get('/v1/me')).status);
      expect(statuses).toEqual([200, 200, 200, 429]);
      expect(Number((await hurried.get('/v1/days')).headers.get('retry-after'))).toBeGreaterThan(0);
      await child.stop();
    });
  });

  it('lets the pages of other origins in that are listed, and no others', async () => {
    const origin = 'https://board.example';
    const child = await pipeline.startService('api', { API_CORS_ORIGINS: origin });
    const preflight = (from: string) =>
      fetch(`${pipeline.apiUrl(child)}/v1/runs`, {
        method: 'OPTIONS',
        headers: {
          origin: from,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization',
        },
      });
    expect((await preflight(origin)).headers.get('access-control-allow-origin')).toBe(origin);
    expect((await preflight('https://evil.example')).headers.get('access-control-allow-origin')).not.toBe(
      'https://evil.example',
    );
    const listed = new ApiCaller(() => pipeline.apiUrl(child), { origin });
    expect((await listed.get('/v1/days')).headers.get('access-control-allow-origin')).toBe(origin);
    expect((await listed.post('/v1/backfills', { from: DAY, to: DAY, dry_run: true })).status).not.toBe(403);
    const other = new ApiCaller(() => pipeline.apiUrl(child), { origin: 'https://evil.example' });
    expect((await other.get('/v1/days')).headers.get('access-control-allow-origin')).not.toBe('https://evil.example');
    expect((await other.post('/v1/backfills', { from: DAY, to: DAY, dry_run: true })).status).toBe(403);
    await child.stop();
  });

  it('loses nothing that it answered when it is killed', async () => {
    const child = await pipeline.startService('api');
    const doomed = new ApiCaller(() => pipeline.apiUrl(child));
    // Several ask, on and on, until nobody answers any more.
    const asked: string[] = [];
    const answered: string[] = [];
    const asking = Array.from({ length: 4 }, async () => {
      for (;;) {
        const key = `doomed-${asked.length}`;
        asked.push(key);
        const { body } = await doomed.post('/v1/runs', { now: true }, { 'Idempotency-Key': key });
        answered.push(body.run_id);
      }
    });
    await until('some are answered', () => answered.length >= 5);
    child.kill('SIGKILL');
    await Promise.allSettled(asking);
    expect(asked.length).toBeGreaterThan(answered.length);
    for (const id of answered)
      await until(`${id} is there`, async () => (await api.get(`/v1/runs/${id}`)).status === 200);
    // Those that were not answered are asked for again, at another replica, with the same key.
    for (const key of asked) {
      const { body } = await api.post('/v1/runs', { now: true }, { 'Idempotency-Key': key });
      await untilEnded(body.run_id);
    }
    const skipped = (await api.get('/v1/runs?limit=100&state=skipped')).body.length;
    expect(skipped).toBe(Math.min(100, asked.length));
  });

  it('lets streams go when it is told to stop, and ends in order', async () => {
    const child = await pipeline.startService('api', { GRACE_SECONDS: '120' });
    const stream = readStream(`${pipeline.apiUrl(child)}/v1/stream`, () => false);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const began = Date.now();
    child.kill('SIGTERM');
    expect(await child.exited).toBe('exit code 0');
    expect(Date.now() - began).toBeLessThan(60_000); // it waits for no stream
    await stream;
  });

  it('tells Prometheus how long requests took, by route', async () => {
    const [child] = pipeline.children('api');
    const text =
      child === undefined
        ? ''
        : await (await fetch(`http://127.0.0.1:${pipeline.portsOf(child).metrics}/metrics`)).text();
    expect(text).toMatch(
      /music_http_request_seconds_count\{stage="api",route="\/v1\/days\/:date",method="GET",status="200"\} \d+/,
    );
    expect(text).toMatch(/music_api_streams\{stage="api"\} \d/);
    expect(text).not.toContain('2026-03-02');
  });

  it('was called in every operation of its document', () => {
    const operations = Object.values(OPEN_API.paths).flatMap((item) =>
      Object.values(item).map(({ operationId }) => operationId),
    );
    expect(operations.filter((id) => !api.seen.has(id)).filter((id) => id !== 'stream' && id !== 'streamRun')).toEqual([
      'whoAmI',
    ]);
  });
});
