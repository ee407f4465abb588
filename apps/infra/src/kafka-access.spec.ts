import { readFileSync } from 'node:fs';
import path from 'node:path';
import { KAFKA_CLIENTS, type KafkaClient, STAGES, kafkaAccess } from '@music/events';
import { LocalPipeline, startMusicKpis } from '@music/local-pipeline';
import { PATIENCE_MS, TokenEndpoint, oauth, until, workspaceRoot } from '@music/local-stack';
import { waitForRun } from '@music/reports';
import { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } from 'kafkajs';

const HEADER = 'user_id,track_id,listen_time\n';
const DAY = '2026-03-02';

/** A broker that refuses all that no list allows, with the lists that `kafkaAccess` gives each client. */
describe('what clients may do with Kafka', () => {
  let endpoint: TokenEndpoint;
  let pipeline: LocalPipeline;

  const idOf = (client: KafkaClient) => ({ KAFKA_OAUTH_CLIENT_ID: `music-${client}` });
  beforeAll(async () => {
    endpoint = await TokenEndpoint.start(3_600);
    pipeline = await LocalPipeline.start({
      kafkaSecurity: oauth(endpoint, { lists: true }),
      api: true,
      env: { WORK_ATTEMPTS: '1' },
    });
    await allow();
    for (const service of [...STAGES, 'api' as const]) await pipeline.replaceService(service, idOf(service));
  });
  afterAll(async () => {
    await pipeline?.stop();
    await endpoint?.stop();
  });

  async function allow(): Promise<void> {
    const rule = (client: KafkaClient, type: AclResourceTypes, name: string, ...operations: AclOperationTypes[]) =>
      operations.map((operation) => ({
        principal: `User:music-${client}`,
        host: '*',
        permissionType: AclPermissionTypes.ALLOW,
        resourceType: type,
        resourceName: name.replace(/\*$/, ''),
        resourcePatternType: name.endsWith('*') ? ResourcePatternTypes.PREFIXED : ResourcePatternTypes.LITERAL,
        operation,
      }));
    const { TOPIC, GROUP } = AclResourceTypes;
    const { READ, WRITE, CREATE, DESCRIBE, DELETE } = AclOperationTypes;
    const admin = pipeline.stores.kafka.admin();
    await admin.connect();
    await admin.createAcls({
      acl: KAFKA_CLIENTS.flatMap((client) => {
        const access = kafkaAccess(client);
        return [
          ...access.reads.flatMap((topic) => rule(client, TOPIC, topic, READ)),
          ...access.writes.flatMap((topic) => rule(client, TOPIC, topic, WRITE)),
          ...access.creates.flatMap((topic) => rule(client, TOPIC, topic, CREATE)),
          ...access.watches.topics.flatMap((topic) => rule(client, TOPIC, topic, DESCRIBE)),
          ...access.groups.flatMap((group) => rule(client, GROUP, group, READ)),
          ...access.ownGroups.flatMap((group) => rule(client, GROUP, group, READ, DELETE)),
          ...access.watches.groups.flatMap((group) => rule(client, GROUP, group, DESCRIBE)),
        ];
      }),
    });
    await admin.disconnect();
  }
  /** The command line, logged in as itself. Gives what it prints. */
  async function kpis(...args: string[]): Promise<string> {
    const { code, out, err } = await startMusicKpis(pipeline, args, idOf('cli')).ended;
    if (code !== 0) throw new Error(`music-kpis ${args.join(' ')}: ${code} ${out}${err}`);
    return out;
  }
  const newest = async () => (await pipeline.stores.runs.listRuns(1))[0]?.runId ?? '';

  it('is enough for runs of all kinds, for what is asked of them, and for their numbers', async () => {
    await kpis('setup');
    await kpis('load', path.join(workspaceRoot(), 'samples'));
    await kpis('run', '--now', '--wait');
    expect((await pipeline.stores.kpis.readDay(DAY))?.listen_count).toBe(995);
    await kpis('backfill', '--from', DAY, '--to', DAY, '--wait');
    expect(await kpis('events')).toContain('music.run.completed');

    for (const [n, begin] of [
      (id: string) => kpis('replay', '--run', id),
      (id: string) => kpis('rerun', id, '--from-stage', 'combiner'),
      (id: string) => ask(`runs/${id}/replay`),
      (id: string) => ask(`runs/${id}/rerun`, { from_stage: 'glue-trigger' }),
    ].entries()) {
      await pipeline.replaceService('archiver', { ...idOf('archiver'), ARCHIVE_BUCKET: 'not-there' });
      await pipeline.putTexts({ [`streams/${n}.csv`]: `${HEADER}u0001,trk0001,${DAY} 23:59:0${n}\n` });
      await kpis('run', '--now');
      const failed = await newest();
      await waitForRun(pipeline.stores, failed, { timeoutMs: PATIENCE_MS });
      expect((await pipeline.stores.runs.findRun(failed))?.state).toBe('failed');
      await pipeline.replaceService('archiver', idOf('archiver'));
      await begin(failed);
      await pipeline.untilRunIs('completed', failed);
    }
    expect((await pipeline.stores.kpis.readDay(DAY))?.listen_count).toBe(995 + 4);

    for (const route of [`runs/${await newest()}/events`, 'dead-letters', 'freshness'])
      expect([route, (await fetch(`${pipeline.apiUrl()}/v1/${route}`)).status]).toEqual([route, 200]);
    for (const stage of STAGES) {
      const [child] = pipeline.children(stage);
      if (child === undefined) throw new Error(`${stage} does not run`);
      const metrics = await (await fetch(`http://127.0.0.1:${pipeline.portsOf(child).metrics}/metrics`)).text();
      expect(metrics).toMatch(/music_consumer_lag\{.*\} 0/);
      expect(metrics).toContain('music_dead_letter_offset');
    }
    for (const stage of STAGES)
      expect(readFileSync(pipeline.logOf(stage), 'utf8')).not.toMatch(/not authorized|AUTHORIZATION_FAILED/i);
  });

  async function ask(route: string, body: object = {}): Promise<void> {
    const answer = await fetch(`${pipeline.apiUrl()}/v1/${route}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect([route, answer.status]).toEqual([route, 202]);
  }

  it('is not more than that: one stage cannot be a member of the group of another', async () => {
    const stranger = pipeline.spawnService('combiner', idOf('archiver'));
    await until('it is refused', () => /not authorized|authorization failed/i.test(stranger.lastLines(100)));
    expect((await pipeline.readiness(stranger)).ready).toBe(false);
    stranger.kill('SIGKILL');
  });
});
