import { PATIENCE_MS } from '@music/local-stack';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describeError } from '@music/errors';
import { type ErasureReport, erasureReportKey } from '@music/erasure';
import { STAGES, STAGE_EVENTS, type Stage, fromJson } from '@music/events';
import { LocalPipeline, type LocalPipelineOptions, dayAfter, laterSamples } from '@music/local-pipeline';
import { readTopics } from '@music/messaging';
import { dayReport, requestRun, runReport, waitForRun } from '@music/reports';
import { FaultProxies, type Gate, type Verdict } from '@music/testing';

/** Days: far enough in the past that hundreds of deliveries do not come to listens of times to come, which are rejected. */
const FIRST_SHIFT = -7_000;
const DAYS_APART = 3;
export const SAMPLE_DAYS = ['2026-03-01', '2026-03-02'] as const;

/** The samples, delivered once more on days of their own. */
export interface Delivery {
  readonly shift: number;
  readonly runId: string;
}

interface RunOptions {
  readonly timeoutMs?: number;
  /** What sets the run going; a delivery, where it is not given. */
  readonly start?: () => Promise<Delivery>;
}

/** Fast to find out that a replica is gone; to look for what is left more often costs more than it saves. */
const QUICK = { LEASE_SECONDS: '2', KAFKA_SESSION_SECONDS: '2', SWEEP_SECONDS: '1', RETRY_DELAYS_SECONDS: '1,1' };

/** A pipeline behind proxies, and what can be seen of it from outside. */
export class FaultyPipeline {
  private deliveries = 0;
  private readonly restarts: Promise<unknown>[] = [];

  private constructor(
    readonly pipeline: LocalPipeline,
    readonly proxies: FaultProxies,
    private readonly dir: string,
  ) {}

  static async start(options: LocalPipelineOptions = {}): Promise<FaultyPipeline> {
    let proxies: FaultProxies | undefined;
    const pipeline = await LocalPipeline.start({
      ...options,
      proxies: async (...between) => (proxies = await FaultProxies.start(...between)),
      env: { ...QUICK, ...options.env },
    });
    if (proxies === undefined) throw new Error('the pipeline was started without a stack of its own');
    return new FaultyPipeline(pipeline, proxies, await mkdtemp(path.join(tmpdir(), 'music-faults-')));
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.restarts);
    await this.pipeline.stop();
    await rm(this.dir, { recursive: true });
  }

  /** Puts the samples, on days that no run had yet, into the source bucket. Gives by how many days they are later. */
  async load(): Promise<number> {
    const shift = this.nextShift();
    await this.pipeline.load(await laterSamples(this.dir, shift));
    return shift;
  }

  /** By how many days the next delivery must be later to have days of its own. */
  nextShift(): number {
    this.deliveries += 1;
    return FIRST_SHIFT + (this.deliveries - 1) * DAYS_APART;
  }

  async request(shift: number): Promise<Delivery> {
    const { stores } = this.pipeline;
    return {
      shift,
      runId: await requestRun(stores, { logicalDate: dayAfter('2026-03-03', shift), immediately: true }),
    };
  }

  async deliver(): Promise<Delivery> {
    return this.request(await this.load());
  }

  /** What a delivery comes to when nobody disturbs it. */
  async undisturbed(timeoutMs?: number): Promise<unknown> {
    const delivery = await this.deliver();
    await this.settle(delivery, timeoutMs);
    return this.outcome(delivery);
  }

  /**
   * Waits until a run has ended, and until nobody has work for it or owes a message. Throws, telling where it stands,
   * after `timeoutMs`.
   */
  async settle({ runId }: Delivery, timeoutMs = PATIENCE_MS): Promise<void> {
    const { stores } = this.pipeline;
    const deadline = Date.now() + timeoutMs;
    const ended = await waitForRun(stores, runId, { timeoutMs });
    for (;;) {
      const open = [];
      for (const stage of STAGES) {
        for (const { id, attempts } of await stores.runs.work.list(stage))
          open.push(`${stage} has work ${id}, tried ${attempts} times`);
        for (const { topic } of (await stores.runs.outbox.page(stage)).owed) open.push(`${stage} owes ${topic}`);
      }
      if (ended !== undefined && open.length === 0) return;
      if (Date.now() > deadline) {
        const report = await runReport(stores, runId);
        throw new Error(
          `${runId} is ${report?.state ?? 'not there'} after ${timeoutMs / 1_000} s: ${[...(report?.reasons ?? []), ...open].join('; ')}`,
        );
      }
      await pause(100);
    }
  }

  /**
   * A run of the samples while a gate does what it likes. Throws what does not settle, with what `injected` tells by
   * then.
   */
  async runWith(
    gate: Gate,
    injected: () => string,
    { timeoutMs, start = () => this.deliver() }: RunOptions = {},
  ): Promise<Delivery> {
    const { proxies } = this;
    proxies.gate = gate;
    try {
      const delivery = await start();
      await this.settle(delivery, timeoutMs);
      return delivery;
    } catch (error) {
      throw new Error(`after ${injected()}: ${describeError(error)}`, { cause: error });
    } finally {
      proxies.gate = () => 'pass'; // before those that were killed are waited for
      await Promise.all(this.restarts.splice(0));
    }
  }

  /** Holds the first call of its kind until something is done. Resolves when that is done. */
  during(stage: Stage, call: string, act: () => Promise<unknown>): Promise<void> {
    return new Promise((resolve, reject) => {
      let reached = false;
      this.proxies.gate = async ({ caller, name }, phase): Promise<Verdict> => {
        if (reached || caller !== stage || phase !== 'before' || !name.startsWith(call)) return 'pass';
        reached = true;
        await act().then(() => resolve(), reject);
        return 'pass';
      };
    });
  }

  /** kill -9 for every replica of a stage, and a new one in its place. */
  kill(stage: Stage): void {
    for (const child of this.pipeline.children(stage)) child.kill('SIGKILL');
    this.restarts.push(this.pipeline.startService(stage));
  }

  /**
   * All that a run left behind, with the names of the run and its days taken out: the same for every run of the
   * samples.
   */
  async outcome({ runId, shift }: Delivery): Promise<unknown> {
    const { stores, config } = this.pipeline;
    const report = await runReport(stores, runId);
    const days = await Promise.all(SAMPLE_DAYS.map((day) => dayReport(stores.kpis, dayAfter(day, shift))));
    const keys = async (bucket: string, prefix: string) => {
      const found: string[] = [];
      for await (const { key, size } of stores.objects.list(bucket, prefix))
        if (key.includes(runId)) found.push(key.endsWith('.csv') ? `${key}: ${size} bytes` : key);
      return found;
    };
    const { lakeBucket } = config;
    const seen = {
      state: report?.state,
      rows: report?.rows,
      reasons: report?.reasons,
      notes: report?.notes,
      files: report?.files,
      days: days.map((day) => (day === undefined ? undefined : { ...day, version: 0, computed_at: '' })),
      standing: report?.standing,
      findings: report?.findings,
      decision: report?.decision === undefined ? undefined : { ...report.decision, at: '' },
      leftOut: await this.leftOut(runId, shift),
      erased: await this.erased(runId),
      archive: await keys(config.archiveBucket, 'streams/'),
      quarantine: await keys(lakeBucket, 'quarantine/'),
      // Folders, since Spark names its objects by chance.
      lake: (await keys(lakeBucket, 'listens/')).map((key) => key.replace(/[^/]+$/, '')),
      intermediate: await keys(config.intermediateBucket, ''),
      source: await this.sourceKeys(),
    };
    return JSON.parse(
      JSON.stringify(seen)
        .replaceAll(runId, 'RUN')
        // Instants, names and ETags that come about by chance.
        .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'INSTANT')
        .replaceAll(/[0-9A-HJKMNP-TV-Z]{26}/g, 'ULID')
        .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
        .replaceAll(/\b[0-9a-f]{32}\b/g, 'ETAG')
        .replaceAll(/20\d\d-\d\d-\d\d/g, (date) => dayAfter(date, -shift)),
    );
  }

  /** The deliveries of a delivery's days that do not count, and whether the run is held. */
  private async leftOut(runId: string, shift: number): Promise<unknown> {
    const { standings, held } = await this.pipeline.stores.runs.standing.list();
    const dates = SAMPLE_DAYS.map((day) => dayAfter(day, shift));
    const of = standings.filter((standing) => standing.dates.some((date) => dates.includes(date)));
    return {
      held: held.includes(runId),
      deliveries: of
        .map(({ key, stands, dates: on, takenBy, notes }) => ({
          key,
          stands,
          dates: on,
          takenBy: takenBy.map(({ file }) => file),
          notes: notes.map(({ change, reason, by }) => ({ change, reason, by })),
        }))
        .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    };
  }

  /** What a run that forgets users says that it did. */
  private async erased(runId: string): Promise<unknown> {
    const { objects } = this.pipeline.stores;
    const report = await objects.head(this.pipeline.config.lakeBucket, erasureReportKey(runId));
    if (report === undefined) return undefined;
    const { listens, dates, archived, left } = await objects.readJson<ErasureReport>(report);
    return { listens, dates, archived: archived.map(({ deleted }) => deleted), left: left.map(({ why }) => why) };
  }

  async sourceKeys(): Promise<string[]> {
    const found: string[] = [];
    for await (const { key } of this.pipeline.stores.objects.list(this.pipeline.config.sourceBucket, 'streams/'))
      found.push(key);
    return found;
  }

  /** The events of each run, as `type key`, repetitions left out. */
  async events(): Promise<Map<string, string[]>> {
    const seen = new Map<string, Set<string>>();
    await readTopics(
      this.pipeline.stores.kafka,
      STAGE_EVENTS.map(({ topic }) => topic),
      ({ topic, key, value }) => {
        const { runId } = fromJson(value).data;
        seen.set(runId, (seen.get(runId) ?? new Set()).add(`${topic} ${key.replace(runId, 'RUN')}`));
      },
    );
    return new Map([...seen].map(([runId, events]) => [runId, [...events].sort()]));
  }
}
