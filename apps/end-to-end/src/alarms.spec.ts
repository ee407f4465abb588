import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { BatchCombined, STAGES, envelope, toJson } from '@music/events';
import { Prometheus, until, workspaceRoot } from '@music/local-stack';
import { LocalPipeline, type Service, musicKpis, musicKpisPrints } from '@music/local-pipeline';
import { parse, stringify } from 'yaml';

const MONITORING = path.join(workspaceRoot(), 'k8s/components/monitoring');
const HEADER = 'user_id,track_id,listen_time\n';
/** Each delivery has as many listens as the one before, or is held. */
const CHECKS = `
checks:
  - { check: volume, level: hold, against: last_days, last: 1, least: 1, below: 0.5, above: 5 }
`;
const HOUR_MS = 3_600_000;
/** What happened within the hour, or minutes, whatever was done about it. */
const LASTING = ['MusicDeadLetters{stage=archiver}', 'MusicForeignMessages', 'MusicArrivalsServedLate'];

interface Rule {
  readonly alert?: string;
  readonly expr: string;
  readonly for?: string;
}
interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

// The alarms and the dashboard as they are applied to a cluster, asked of a real Prometheus. An alarm rings here at
// once, not after the time for which it has to be so (alerts.test.yaml has that); what is hours ago is shifted in the
// table.
describe('alarms ring, and end once their runbook was followed:', () => {
  let dir: string;
  let pipeline: LocalPipeline;
  let prometheus: Prometheus;
  let day = 0;

  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'alarms-spec-'));
    await writeFile(path.join(dir, 'checks.yaml'), CHECKS);
    pipeline = await LocalPipeline.start({
      api: true,
      arrivals: 'sqs',
      env: { SENSOR_QUIET_SECONDS: '3', CHECKS_FILE: path.join(dir, 'checks.yaml'), STALL_MINUTES: '0.05' },
    });
    prometheus = await Prometheus.start(path.join(dir, 'prometheus'), await rulesThatRingAtOnce());
    await scrapeAll();
    await until('Prometheus knows every service', async () => (await prometheus.query('music_ready')).length === 6);
    await pipeline.load(path.join(workspaceRoot(), 'samples'));
    await completed('arrival');
  });
  afterAll(async () => {
    await prometheus?.stop();
    await pipeline?.stop();
    await rm(dir, { recursive: true });
  });

  async function rulesThatRingAtOnce(): Promise<string> {
    const { spec } = parse(await readFile(path.join(MONITORING, 'alerts.yaml'), 'utf8')) as {
      spec: { groups: { name: string; rules: Rule[] }[] };
    };
    const groups = spec.groups.map(({ name, rules }) => ({
      name,
      rules: rules.map(({ for: _, expr, ...rule }) => ({
        ...rule,
        expr: expr.replaceAll('hour() >= 6', 'hour() >= 0').replaceAll('le="300"', 'le="2"'),
      })),
    }));
    return stringify({ groups });
  }
  const services: readonly Service[] = [...STAGES, 'api'];
  const scrapeAll = () =>
    prometheus.scrape(
      services.flatMap((service) =>
        pipeline.children(service).map((child) => `127.0.0.1:${pipeline.portsOf(child).metrics}`),
      ),
    );
  async function replaced(service: Service, settings: Readonly<Record<string, string>> = {}): Promise<void> {
    await pipeline.replaceService(service, settings);
    await scrapeAll();
  }
  /** Waits until exactly these alarms ring, each as `Name` or `Name{label=value}`, besides those that are let be. */
  async function rings(expected: readonly string[], lets: readonly string[] = []): Promise<void> {
    let last: string[] = [];
    try {
      await until('the alarms that are expected ring, and no others', async () => {
        last = (await prometheus.firing()).map(({ name, labels }) => {
          const { severity: _, ...others } = labels;
          const text = Object.entries(others).map(([label, value]) => `${label}=${value}`);
          return text.length === 0 ? name : `${name}{${text.join(',')}}`;
        });
        const told = last.filter((each) => expected.includes(each) || !lets.includes(each)).sort();
        return JSON.stringify(told) === JSON.stringify([...expected].sort());
      });
    } catch (error) {
      throw new Error(`expected ${expected.join(', ')}; rang: ${last.join(', ')}`, { cause: error });
    }
  }
  const newest = () => pipeline.stores.runs.listRuns(50);
  /** Waits for a run of this kind that has completed, and no run that has not ended. */
  async function completed(kind: string): Promise<void> {
    await until(`a run ${kind} completes`, async () => {
      const runs = await newest();
      return (
        runs.some(({ runId, state }) => runId.startsWith(kind) && state === 'completed') &&
        runs.every(({ state }) => ['completed', 'skipped', 'rejected'].includes(state))
      );
    });
  }
  /** Listens of a day of its own, as a file that asks for a run. */
  async function deliver(listens: number): Promise<void> {
    const date = new Date(Date.UTC(2024, 0, (day += 1))).toISOString().slice(0, 10);
    const rows = Array.from({ length: listens }, (_, n) => `u${n},t1,${date} 10:00:00\n`);
    await pipeline.putTexts({ [`streams/${date}.csv`]: HEADER + rows.join('') });
  }
  /** Puts something of the table so many hours back. */
  const shift = (pk: string, sk: string, attribute: string, hours: number) =>
    change(pk, sk, attribute, new Date(Date.now() - hours * HOUR_MS).toISOString());
  async function change(pk: string, sk: string, attribute: string, value: string | number): Promise<void> {
    await pipeline.stores.dynamo.send(
      new UpdateCommand({
        TableName: pipeline.config.runsTable,
        Key: { pk, sk },
        UpdateExpression: 'SET #a = :v',
        ExpressionAttributeNames: { '#a': attribute },
        ExpressionAttributeValues: { ':v': value },
      }),
    );
  }
  /** A piece of work that was accepted so many hours ago, of a run that has completed: whoever looks at it ends it. */
  async function leaveWork(stage: 'validator', hours: number): Promise<void> {
    const run = (await newest()).find(({ state }) => state === 'completed');
    if (run?.manifest === undefined) throw new Error('no run has completed');
    const { runId, manifest } = run;
    const event = envelope(BatchCombined, 'combiner', { runId, batch: 0, manifest, evidence: manifest });
    const { topic } = event;
    await pipeline.stores.runs.work.offer(stage, { id: event.id, topic, message: toJson(event), headers: {} });
    await change(`work#${stage}`, event.id, 'progressAt', Date.now() - hours * HOUR_MS);
  }
  const kpis = (...args: string[]) => musicKpisPrints(pipeline, ...args);

  it('every panel of the dashboard has data after a run, and nothing rings', async () => {
    const { panels } = JSON.parse(await readFile(path.join(MONITORING, 'dashboard.json'), 'utf8')) as {
      panels: Panel[];
    };
    const queries = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const));
    expect(queries.length).toBeGreaterThan(10);
    const empty = async () => {
      await fetch(`${pipeline.apiUrl()}/v1/days`);
      const results = await Promise.all(
        queries.map(async ([title, expr]) => {
          const samples = await prometheus.query(expr);
          return samples.some(({ value }) => Number.isFinite(value)) ? [] : [`${title}: ${expr}`];
        }),
      );
      return results.flat();
    };
    let without: string[] = [];
    await until('every panel has data', async () => (without = await empty()).length === 0).catch(() => undefined);
    expect(without).toEqual([]);
    await rings([], ['MusicArrivalsServedLate']); // later than 2 s, here
  });

  it('a failed run, a dead letter, no run for 26 hours, a late daily run, foreign messages, files served late', async () => {
    await replaced('archiver', { ARCHIVE_BUCKET: 'gone', WORK_ATTEMPTS: '1' });
    await deliver(1);
    await pipeline.notify('this is none of S3');
    await until('the run fails', async () => (await newest()).some(({ state }) => state === 'failed'));
    await shift('pipeline', 'set-up', 'at', 30);
    for (const { runId, state } of await newest())
      if (state === 'completed') await shift(`run#${runId}`, 'run', 'requestedAt', 30);
    await rings([
      'MusicRunNotSuccessful{kind=arrival,state=failed}',
      'MusicNoCompletedRun',
      'MusicDailyRunLate',
      ...LASTING,
    ]);

    expect((await musicKpis(pipeline, 'replay', '--list')).out).toContain('NoSuchBucket');
    await replaced('archiver');
    await kpis('replay');
    await completed('arrival');
    expect((await musicKpis(pipeline, 'run', '--scheduled', '--now', '--wait')).out).toContain('skipped');
    await rings(LASTING.slice(0, 2), LASTING); // for an hour
  });

  it('work that gets nowhere and work that waits, a run that stays open, a service that is not ready or gone', async () => {
    await replaced('combiner', { AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1', WORK_ATTEMPTS: '100' });
    await deliver(1);
    const open = await until('a run is sensed', async () => (await newest()).find(({ state }) => state === 'sensed'));
    await shift(`run#${open.runId}`, 'run', 'requestedAt', 7);
    await replaced('validator', { SWEEP_SECONDS: '300' });
    await leaveWork('validator', 1);
    await pipeline.stack?.child('sqs').stop(500);
    const rung = ['MusicRunOpenForLong', 'MusicServiceNotReady{stage=sensor}', 'MusicWorkWaits{stage=validator}'];
    await rings(['MusicWorkStalled{stage=combiner}', ...rung], LASTING);
    await Promise.all(pipeline.children('combiner').map((child) => child.stop()));
    await scrapeAll();
    await rings(['MusicServiceGone{stage=combiner}', ...rung], LASTING);

    const told = await kpis('runs');
    expect(told).toContain('validator'); // what waits, and for which stage
    expect((await musicKpis(pipeline, 'status', open.runId)).out).toContain('combiner');
    await pipeline.stack?.startServer('sqs');
    await replaced('validator');
    await replaced('combiner');
    await completed('arrival');
    await rings([], LASTING);
  });

  it('a run that checks hold back', async () => {
    await deliver(100);
    await rings(['MusicRunHeld'], LASTING);
    const held = (await newest()).find(({ state }) => state === 'held');
    expect(await kpis('runs')).toContain(held?.runId);
    await kpis('release', held?.runId ?? '', '--wait');
    await rings([], LASTING);
  });
});
