import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { STAGES, type Stage } from '@music/events';
import { LocalPipeline, musicKpis, musicKpisPrints } from '@music/local-pipeline';
import { PATIENCE_MS, s3Notification, until, workspaceRoot } from '@music/local-stack';
import { waitForRun } from '@music/reports';
import { ObjectStore, loadDelivery } from '@music/storage';
import { FaultProxies, type IamNeed } from '@music/testing';
import { type Bucket, PERMISSIONS, PRINCIPALS, type Permission, type Principal, type Target } from './permissions';
import { TABLE_NAMES } from './tables';

const HEADER = 'user_id,track_id,listen_time\n';
const DAY = '2026-03-02';
/** Too rare for a run of a test, or not to be seen in one: what they are for. */
const RARE: Readonly<Record<string, string>> = {
  'logs:CreateLogStream': 'Glue writes the log of its job by itself',
  'logs:PutLogEvents': 'likewise',
  'glue:BatchStopJobRun': 'a job run that Glue does not end at its own limit',
};

/** Whole runs of all kinds, on the stack that the template makes, and every call that was made of it. */
describe('what the roles allow', () => {
  let pipeline: LocalPipeline;
  let dir: string;
  const needs = new Map<Principal, Map<string, IamNeed>>();

  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'recorded-calls-'));
    await writeFile(path.join(dir, 'key'), 'a key of 32 bytes that a spec has');
    await writeFile(path.join(dir, 'ids'), 'goes\n');
    await writeFile(
      path.join(dir, 'checks.yaml'),
      'checks: [{ check: duplicates, level: hold, more_than: 0.5, at_least: 1 }]',
    );
    pipeline = await LocalPipeline.start({
      servers: 'moto',
      engine: 'glue',
      arrivals: 'sqs',
      api: true,
      proxies: async (callers, ...between) => {
        const proxies = await FaultProxies.start([...callers, 'glue-job'], ...between);
        proxies.gate = (call, phase) => {
          const caller = (call.caller === 'cli' ? 'music-kpis' : call.caller) as Principal;
          if (phase === 'before')
            for (const need of call.needs) {
              const of = needs.get(caller) ?? needs.set(caller, new Map()).get(caller);
              of?.set(`${need.action} ${need.on}`, need);
            }
          return 'pass';
        };
        return proxies;
      },
      env: {
        LAKE_MAX_OBJECTS: '1',
        CHECKS_FILE: path.join(dir, 'checks.yaml'),
        ERASURE_KEY_FILE: path.join(dir, 'key'),
        WORK_ATTEMPTS: '1',
      },
    });
    await everythingThatRunsDo();
  });
  afterAll(async () => {
    await pipeline?.stop();
    await rm(dir, { recursive: true });
  });

  const kpis = (...args: string[]) => musicKpisPrints(pipeline, ...args);
  const ended = async (runId: string) => {
    const run = await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
    if (run === undefined) throw new Error(`${runId} did not end`);
    return run;
  };
  const newest = async () => (await pipeline.stores.runs.listRuns(1))[0]?.runId ?? '';
  /** A new file, the run that it asks for by the queue, and its end. One file: of two, the first may ask alone. */
  async function arrives(name: string, text: string, put = putText): Promise<string> {
    const before = await newest();
    await put(`streams/${name}.csv`, text);
    await until('a run is asked for', async () => (await newest()) !== before);
    const runId = await newest();
    await ended(runId);
    return runId;
  }

  const putText = (key: string, text: string) => pipeline.putTexts({ [key]: text });
  /** As larger files come: a copy of one in one part has another ETag, and is looked at. */
  async function putInParts(key: string, text: string): Promise<void> {
    const { stores, config } = pipeline;
    const whole = await stores.objects.putText(config.sourceBucket, `whole/${key}`, text, 'text/csv');
    const inParts = new ObjectStore(stores.s3, { singleBytes: 0, partBytes: 5 * 2 ** 20 });
    await pipeline.notify(s3Notification(await inParts.copy(whole, config.sourceBucket, key)));
  }

  async function everythingThatRunsDo(): Promise<void> {
    const { stores, config } = pipeline;
    await kpis('setup', '--glue');
    await loadDelivery(stores.objects, config.sourceBucket, path.join(workspaceRoot(), 'samples'));
    await until('the samples are served', async () => (await stores.kpis.readDay(DAY))?.listen_count === 995);
    await ended(await newest());
    await pipeline.replaceService('glue-trigger', { KPI_RUNNER: 'duckdb' }); // the calls of Glue were made
    await arrives('bad', 'user_id,listen_time\n1,2\n', putInParts);
    // Of a day that nothing is left of when it is taken back, too.
    const repeated = `u0002,trk0002,${DAY} 23:00:00\nu0002,trk0002,${DAY} 23:00:01\n`.repeat(20);
    const late = await arrives(
      'late',
      `${HEADER}u0001,trk0001,2026-03-05 10:00:00\ngoes,trk0001,${DAY} 23:59:58\n` +
        `u0001,trk0001,${DAY} 23:59:57\ngoes,trk0001,no time\n${repeated}`,
    );
    await kpis('release', late, '--wait'); // its repetitions hold it
    await kpis('retract', '--run', late, '--reason', 'a spec', '--dry-run');
    await kpis('retract', '--run', late, '--reason', 'a spec', '--wait');
    await kpis('restore', '--run', late, '--reason', 'a spec', '--wait');
    await kpis('backfill', '--from', DAY, '--to', DAY, '--dry-run');
    await kpis('backfill', '--from', DAY, '--to', DAY, '--wait');
    const held = await arrives('held', `${HEADER}${`u0001,trk0001,${DAY} 23:59:57\n`.repeat(9)}`);
    await kpis('discard', held, '--reason', 'a spec', '--wait');
    await failsAndGoesOn();
    await forgets();
    await pipeline.replaceService('sensor', { LISTENS_KEEP_DAYS: '3650' });
    for (const command of ['runs', 'events']) await kpis(command);
    await musicKpis(pipeline, 'status'); // exit code 1, too, where the run has a dead letter
    await musicKpis(pipeline, 'replay', '--list'); // exit code 1: one run was begun again without its letter
    for (const [command = '', ...more] of [
      ['top-genres'],
      ['top-songs'],
      ['genre', '--genre', 'dub'],
      ['explain', '--genre', 'dub'],
    ])
      await kpis(command, '--date', DAY, ...more);
    await kpis('export', '--from', DAY, '--to', DAY, '--out', path.join(dir, 'genres.csv'));
    await theApiIsAsked(late);
    for (const stage of STAGES) await metricsOf(stage);
  }

  /** New listens whose run fails at its end. */
  async function fails(rows: string): Promise<string> {
    await pipeline.replaceService('archiver', { ARCHIVE_BUCKET: 'not-there' });
    const failed = await arrives(`fails-${(failures += 1)}`, `${HEADER}${rows}`);
    await pipeline.replaceService('archiver');
    needs.get('archiver')?.forEach((need, key, all) => need.on.startsWith('not-there') && all.delete(key));
    return failed;
  }
  let failures = 0;

  async function failsAndGoesOn(): Promise<void> {
    for (const again of [['replay', '--run'] as const, ['rerun', '--from-stage', 'archiver'] as const]) {
      const failed = await fails(`u0003,trk0003,${DAY} 22:00:0${failures}\n`);
      await kpis(...again, failed);
      await pipeline.untilRunIs('completed', failed);
    }
  }

  async function forgets(): Promise<void> {
    const forget = (...more: string[]) =>
      musicKpis(pipeline, 'forget', '--user-id-file', path.join(dir, 'ids'), ...more);
    const failed = await fails(`goes,trk0003,${DAY} 21:00:00\nu0003,trk0003,${DAY} 21:00:00\n`); // and leaves its objects
    await forget('--dry-run');
    await forget('--archive', 'delete', '--wait');
    await forget('--verify');
    await kpis('replay', '--run', failed);
    await ended(failed);
  }

  async function metricsOf(stage: Stage): Promise<void> {
    const [child] = pipeline.children(stage);
    if (child === undefined) throw new Error(`${stage} does not run`);
    const answer = await fetch(`http://127.0.0.1:${pipeline.portsOf(child).metrics}/metrics`);
    expect([stage, answer.status]).toEqual([stage, 200]);
  }

  async function theApiIsAsked(runId: string): Promise<void> {
    const get = async (route: string) => {
      const answer = await fetch(`${pipeline.apiUrl()}/v1/${route}`);
      expect([route, answer.status]).toEqual([route, 200]);
    };
    for (const route of [
      `days?from=${DAY}&to=${DAY}`,
      ...['', '/top-genres', '/top-songs', '/genres', '/genres/dub', '/genres/dub/explain'].map(
        (of) => `days/${DAY}${of}`,
      ),
      `genres?from=${DAY}&to=${DAY}`,
      `genres/dub/days?from=${DAY}&to=${DAY}`,
      `top-genres?from=${DAY}&to=${DAY}`,
      'runs',
      ...['', '/files', '/events'].map((of) => `runs/${runId}${of}`),
      'dead-letters',
      'freshness',
    ])
      await get(route);
    const answer = await fetch(`${pipeline.apiUrl()}/v1/backfills`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ from: DAY, to: DAY }),
    });
    expect(answer.status).toBe(202);
    await until('it is asked for', async () => (await newest()).startsWith('backfill'));
    await ended(await newest());
  }

  it.each(PRINCIPALS)('%s: every call that it makes', (principal) => {
    const made = [...(needs.get(principal)?.values() ?? [])];
    expect(made.length).toBeGreaterThan(5);
    const refused = made.filter((need) => !PERMISSIONS[principal].some((permission) => allows(permission, need)));
    expect([...new Set(refused.map(({ action, on }) => `${action} on ${on}`))].slice(0, 20)).toEqual([]);
  });

  it.each(PRINCIPALS)('%s: no call that it does not make', (principal) => {
    const made = [...(needs.get(principal)?.values() ?? [])];
    const unused = PERMISSIONS[principal].flatMap(({ actions, on }) =>
      actions
        .filter((action) => RARE[action] === undefined)
        .flatMap((action) =>
          on
            .filter((target) => !made.some((need) => need.action === action && isOn(target, need)))
            .map((target) => `${action} on ${JSON.stringify(target)}`),
        ),
    );
    expect(unused).toEqual([]);
  });

  function allows({ actions, on }: Permission, need: IamNeed): boolean {
    return actions.includes(need.action) && on.some((target) => isOn(target, need));
  }

  function isOn(target: Target, { action, on }: IamNeed): boolean {
    const { config } = pipeline;
    const buckets: Record<Bucket, string> = {
      source: config.sourceBucket,
      intermediate: config.intermediateBucket,
      lake: config.lakeBucket,
      archive: config.archiveBucket,
    };
    switch (target.kind) {
      case 'bucket':
        return on === buckets[target.bucket];
      case 'objects':
        return on.startsWith(`${buckets[target.bucket]}/${target.below}`);
      case 'table':
        return on === TABLE_NAMES[target.table];
      case 'index':
        return on.startsWith(`${TABLE_NAMES[target.table]}/`);
      case 'queue':
        return action.startsWith('sqs:');
      case 'glue job':
        return action.startsWith('glue:');
      case 'glue logs':
        return false;
    }
  }
});
