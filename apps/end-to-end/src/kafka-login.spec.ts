import { readFileSync } from 'node:fs';
import { STAGES, type Stage } from '@music/events';
import { LocalPipeline } from '@music/local-pipeline';
import { type Child, PATIENCE_MS, TokenEndpoint, oauth, until } from '@music/local-stack';
import { listOpenDeadLetters } from '@music/messaging';
import { dayReport, requestRun, waitForRun } from '@music/reports';

/** A connection logs in again 10 s before its token expires, and a token is used again for a quarter of its life. */
const TOKEN_SECONDS = 20;
const WHOLE = process.env['FAULTS'] === 'all';
const RUNS_MS = WHOLE ? 120_000 : 40_000;
const LOGINS_AGAIN = WHOLE ? 10 : 3;
const DAY = '2024-06-25';

describe('with tokens of an OAuth 2.0 endpoint that live 20 s', () => {
  let endpoint: TokenEndpoint;
  let pipeline: LocalPipeline;
  let listens = 0;

  beforeAll(async () => {
    endpoint = await TokenEndpoint.start(TOKEN_SECONDS);
    pipeline = await LocalPipeline.start({ kafkaSecurity: oauth(endpoint) });
    await Promise.all(STAGES.map((stage) => pipeline.replaceService(stage, clientOf(stage))));
    await pipeline.putTexts({
      'songs/songs.csv': 'track_id,track_name,artists,track_genre,duration_ms,popularity\nt1,One,A,pop,60000,1\n',
      'users/users.csv': 'user_id,user_name,user_country\n1,Ada,France\n',
    });
  });
  afterAll(async () => {
    await pipeline?.stop();
    await endpoint?.stop();
  });

  const clientOf = (stage: Stage) => ({ KAFKA_OAUTH_CLIENT_ID: `music-${stage}` });
  const tokensOf = (stage: Stage) => endpoint.issued.get(`music-${stage}`) ?? 0;
  async function deliverOne(): Promise<void> {
    const at = new Date(Date.UTC(2024, 5, 25) + listens * 1_000).toISOString().slice(11, 19);
    await pipeline.putTexts({ [`streams/${listens}.csv`]: `user_id,track_id,listen_time\n1,t1,${DAY} ${at}\n` });
    listens += 1;
    const runId = await requestRun(pipeline.stores, { logicalDate: DAY, immediately: true });
    const run = await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
    expect(run?.state).toBe('completed');
  }
  const says = async (child: Child) => (await pipeline.readiness(child)).says;
  const untilItSays = (child: Child, text: string) =>
    until(`it says ${text}`, async () => (await says(child)).includes(text));
  const child = (stage: Stage) => pipeline.children(stage)[0] as Child;

  it('every stage logs in again and again while runs go on; no event is lost, none handled twice', async () => {
    const before = new Map(STAGES.map((stage) => [stage, tokensOf(stage)]));
    for (const end = Date.now() + RUNS_MS; Date.now() < end;) await deliverOne();
    expect((await dayReport(pipeline.stores.kpis, DAY))?.listen_count).toBe(listens);
    for (const stage of STAGES) expect(tokensOf(stage) - (before.get(stage) ?? 0)).toBeGreaterThanOrEqual(LOGINS_AGAIN);
    expect(await listOpenDeadLetters(pipeline.stores.kafka, pipeline.stores.runs)).toEqual([]);
  });

  it('an endpoint that refuses, or is not there, is named in /readyz, and no longer once it gives tokens', async () => {
    endpoint.refuses = true;
    const stranger = pipeline.spawnService('sensor', clientOf('sensor'));
    const refused = `${endpoint.tokenUrl} gives no token for Kafka: Error: it refuses music-sensor: invalid_client`;
    await untilItSays(stranger, `no member of its Kafka group: ${refused}`);
    stranger.kill('SIGKILL');
    // Who is logged in loses it when its token expires.
    await untilItSays(child('combiner'), 'it refuses music-combiner');

    await endpoint.stop();
    await untilItSays(child('combiner'), 'ECONNREFUSED');
    endpoint.refuses = false;
    await endpoint.listen();
    for (const stage of STAGES)
      await until(`${stage} is ready`, async () => (await pipeline.readiness(child(stage))).ready);
    await deliverOne();
    expect((await dayReport(pipeline.stores.kpis, DAY))?.listen_count).toBe(listens);
  });

  it('no token and no secret is in a log', () => {
    for (const stage of STAGES) {
      const log = readFileSync(pipeline.logOf(stage), 'utf8');
      expect(log).not.toContain(endpoint.secret);
      expect(log).not.toMatch(/eyJ[\w-]+\./);
    }
  });
});
