import { RunRequested, RunSkipped, StreamsSensed, envelope } from '@music/events';
import { NoSuchDelivery, findDeliveries, findReplaced, lakeDates } from '@music/lake';
import {
  type Backfill,
  type Claim,
  type Manifest,
  type ErasureRequest,
  type ManifestFile,
  type Run,
  type SourceObject,
  type StandingRequest,
  type Work,
  type WorkOutcome,
  claimKey,
  manifestKey,
  messageOf,
  takesFiles,
  versionOf,
} from '@music/runs';
import { StagePerformer, StageRuntime } from '@music/service';
import { type FoundObject, type StoredObject, mapLimited } from '@music/storage';
import { Injectable } from '@nestjs/common';
import { Arrivals } from './arrivals';
import { AsksAgain } from './asks-again';
import { planBatches, planRun } from './plan-run';
import { SensorConfig } from './sensor.config';
import { SourceFiles } from './source-files';

const CALLS_AT_ONCE = 32;

/** What a run works on besides songs and users. */
type Input = Pick<Manifest, 'streams' | 'left' | 'dates' | 'changed'>;

/**
 * Waits for a run's files and freezes its manifest. Each step is safe to repeat: files are taken for the run, the
 * manifest is written, the run is frozen with it, each batch is made together with its event, and the run is sensed.
 */
@Injectable()
export class SenseStreams extends StagePerformer {
  constructor(
    private readonly runtime: StageRuntime,
    private readonly config: SensorConfig,
    private readonly source: SourceFiles,
    private readonly arrivals: Arrivals,
    private readonly asks: AsksAgain,
  ) {
    super();
  }

  override get problems(): readonly string[] {
    return this.arrivals.problems;
  }

  override async close(): Promise<void> {
    await this.arrivals.close();
  }

  async perform(work: Work): Promise<WorkOutcome> {
    if (work.event.topic !== RunRequested.topic) return this.asks.carryOut(work);
    const { runs } = this.runtime.stores;
    const { runId } = work.event.data;
    const run = await runs.findRun(runId);
    if (run === undefined) throw new Error(`run ${runId} is not there yet`);
    if (run.state === 'pending') return this.sense(run, work);
    if (run.state === 'frozen') return this.announce(run, work);
    return 'done';
  }

  private async sense(run: Run, work: Work): Promise<WorkOutcome> {
    const { runs } = this.runtime.stores;
    const { pollSeconds, quietSeconds, deadlineSeconds, arrivals, arrivalMaxWaitSeconds } = this.config;
    const again = { again: pollSeconds * 1_000 };
    const [objects] = await Promise.all([
      takesFiles(run) ? this.source.list('streams/') : [],
      runs.startStage(run.runId, 'sensor'),
    ]);
    if (run.backfill !== undefined) return this.senseBackfill(run, run.backfill, work, again);
    if (run.erasure !== undefined) return this.senseErasure(run, run.erasure, work, again);
    if (!takesFiles(run) && run.standing !== undefined) return this.senseStanding(run, run.standing, work, again);
    const claims = await this.source.claims(objects, run.force === true);
    const plan = planRun({
      runId: run.runId,
      now: new Date(),
      quietMs: quietSeconds * 1_000,
      patienceMs: arrivals === 'off' ? Infinity : arrivalMaxWaitSeconds * 1_000,
      leave: this.source.leave,
      objects,
      claimOf: (object) => claims.get(claimKey(object)),
      deadline: new Date(Date.parse(run.requestedAt) + (run.immediately ? 0 : deadlineSeconds * 1_000)),
    });
    if (plan.decision === 'wait') return again;
    if (plan.decision === 'skip') {
      return this.skip(run, plan.why, plan.left, work);
    }
    // Somebody else's turn: another run takes these files, and what is left then decides.
    const [isOurTurn, tables, hasVersions] = await Promise.all([
      this.isTurnOf(run),
      this.tables(),
      this.runtime.stores.objects.hasVersions(this.config.sourceBucket),
    ]);
    if (!isOurTurn) return run.immediately ? { again: Math.min(again.again, 1_000) } : again;
    const { taken, vanished } = await this.take(run, plan.files, claims, hasVersions);
    if (taken.length === 0) return again;
    const left = [...plan.left, ...vanished];
    const changed = await this.replaced(taken);
    if (changed === undefined) return this.freeze(run, { streams: taken, left }, tables, work);
    const standing = { change: 'replace' as const, reason: 'a new version came', deliveries: changed.length };
    return this.freeze(run, { streams: taken, left, changed }, tables, work, { standing });
  }

  /** A backfill takes no stream files: it names the lake's days, and the songs and users as they are now. */
  private async senseBackfill(run: Run, { from, to }: Backfill, work: Work, again: WorkOutcome): Promise<WorkOutcome> {
    const dates = await lakeDates(this.runtime.stores.objects, this.config.lakeBucket, from, to);
    if (dates.length === 0) return this.skip(run, `the lake has no listens from ${from} to ${to}`, [], work);
    if (!(await this.isTurnOf(run))) return again;
    return this.freeze(run, { streams: [], left: [], dates }, await this.tables(), work);
  }

  /** Names the deliveries that are to be taken back or given back, and the songs and users as they are now. */
  private async senseStanding(run: Run, asked: StandingRequest, work: Work, again: WorkOutcome): Promise<WorkOutcome> {
    const [isOurTurn, tables] = await Promise.all([this.isTurnOf(run), this.tables()]);
    if (!isOurTurn) return again;
    try {
      const changed = await findDeliveries(this.runtime.stores, asked);
      const standing = { ...asked, deliveries: changed.length };
      return await this.freeze(run, { streams: [], left: [], changed }, tables, work, { standing });
    } catch (error) {
      if (error instanceof NoSuchDelivery) return this.skip(run, error.message, [], work);
      throw error;
    }
  }

  /** From now on nobody combines listens of users who are forgotten; what is there of them the glue-trigger takes out. */
  private async senseErasure(
    run: Run,
    { hashes }: ErasureRequest,
    work: Work,
    again: WorkOutcome,
  ): Promise<WorkOutcome> {
    if (!(await this.isTurnOf(run))) return again;
    const { objects, runs } = this.runtime.stores;
    if (hashes !== undefined)
      await runs.erasures.forget((await objects.readJson<{ hashes: string[] }>(hashes)).hashes, run.runId);
    return this.freeze(run, { streams: [], left: [] }, await this.tables(), work);
  }

  private async skip(run: Run, why: string, left: Manifest['left'], work: Work): Promise<WorkOutcome> {
    const manifest = await this.write(this.manifest(run, { streams: [], left }, [], []));
    const skipped = messageOf(envelope(RunSkipped, 'sensor', { runId: run.runId, reason: why }), work);
    const { runs } = this.runtime.stores;
    if (await runs.transition(run.runId, 'pending', 'skipped', 'sensor', { reasons: [why], manifest }, [skipped]))
      work.log.info({ why }, 'skipped');
    return 'done';
  }

  /** The files of songs and of users as they are now. */
  private async tables(): Promise<readonly [songs: FoundObject[], users: FoundObject[]]> {
    const [songs, users] = await Promise.all([this.source.list('songs/'), this.source.list('users/')]);
    return [songs.filter(this.source.isData), users.filter(this.source.isData)];
  }

  private async freeze(
    run: Run,
    input: Input,
    [songs, users]: Awaited<ReturnType<SenseStreams['tables']>>,
    work: Work,
    more: Pick<Run, 'standing'> = {},
  ): Promise<WorkOutcome> {
    const { runs } = this.runtime.stores;
    const manifest = this.manifest(run, input, songs, users);
    const { batches, left } = manifest;
    const changes = { ...more, manifest: await this.write(manifest), batches };
    if (!(await runs.transition(run.runId, 'pending', 'frozen', 'sensor', changes))) return 'done';
    work.log.info(
      {
        files: input.streams.length,
        days: input.dates?.length,
        changed: input.changed?.length,
        batches,
        left: left.length,
      },
      'manifest frozen',
    );
    return this.announce({ ...run, ...changes }, work);
  }

  private async isTurnOf(run: Run): Promise<boolean> {
    if (!(await this.isFirst(run))) return false;
    return (await this.runtime.stores.runs.turns.take('run', this.config.maxActiveRuns, run.runId)) !== undefined;
  }

  /**
   * Makes the batches of a frozen manifest, each with the event it owes. The last one is made together with the run's
   * state, so that no run can be judged to the end before it is sensed.
   */
  private async announce(run: Run, work: Work): Promise<WorkOutcome> {
    const { runs } = this.runtime.stores;
    const { runId, manifest, batches } = run;
    if (manifest === undefined || batches === undefined) throw new Error(`run ${runId} is frozen without a manifest`);
    const announcement = (batch: number) =>
      messageOf(envelope(StreamsSensed, 'sensor', { runId, batch, manifest }), work);
    const last = batches - 1;
    await mapLimited(
      Array.from({ length: last }, (_, batch) => batch),
      CALLS_AT_ONCE,
      (batch) => runs.batches.create(runId, batch, 'sensor', [announcement(batch)]),
    );
    const lastBatch = runs.batches.making(runId, last);
    await runs.transition(runId, 'frozen', 'sensed', 'sensor', {}, [announcement(last)], [lastBatch]);
    return 'done';
  }

  /** Takes the files for the run, with the version each has now. Those that changed since they were listed are left. */
  private async take(
    run: Run,
    files: readonly SourceObject[],
    claims: ReadonlyMap<string, Claim>,
    hasVersions: boolean,
  ) {
    const { objects, runs } = this.runtime.stores;
    const results = await mapLimited(files, CALLS_AT_ONCE, async (listed) => {
      // A listing does not tell versions.
      const found: StoredObject | undefined = hasVersions ? await objects.head(listed.bucket, listed.key) : listed;
      if (found === undefined || found.etag !== listed.etag) return undefined;
      const { bucket, key, etag, size, versionId } = found;
      if (
        !(await runs.files.take(
          { key, version: versionOf(listed), runId: run.runId },
          claims.get(claimKey(listed))?.takenBy,
        ))
      )
        return undefined;
      return {
        bucket,
        key,
        etag,
        size,
        ...(versionId === undefined ? {} : { versionId }),
        lastModified: listed.lastModified.toISOString(),
      };
    });
    const there = results.filter((each) => each !== undefined);
    const batches = planBatches(
      there.map(({ size }) => size),
      this.config.batchMb * 2 ** 20,
    );
    const taken: ManifestFile[] = there.map((each, file) => ({ ...each, file, batch: batches[file] ?? 0 }));
    const vanished = files
      .filter((_, i) => results[i] === undefined)
      .map(({ key }) => ({ key, reason: 'vanished' as const }));
    return { taken, vanished };
  }

  /** The deliveries that files of the run take the place of, where names are of one file. */
  private async replaced(taken: readonly ManifestFile[]): Promise<Manifest['changed']> {
    if (this.config.sameName !== 'replace') return undefined;
    const files = taken.map((file) => ({ key: file.key, version: versionOf(file), file: file.file }));
    const changed = await findReplaced(this.runtime.stores, files);
    return changed.length === 0 ? undefined : changed;
  }

  /** Pending runs go by logical date, then by when they were asked for. */
  private async isFirst(run: Run): Promise<boolean> {
    const order = ({ logicalDate, requestedAt }: Run) => `${logicalDate} ${requestedAt}`;
    const pending = await this.source.pendingRuns(run.runId);
    return pending.every((other) => order(other) >= order(run));
  }

  private manifest(run: Run, input: Input, songs: readonly FoundObject[], users: readonly FoundObject[]): Manifest {
    const { streams, dates, changed } = input;
    const ref = ({ bucket, key, etag, size }: FoundObject) => ({ bucket, key, etag, size });
    return {
      runId: run.runId,
      logicalDate: run.logicalDate,
      frozenAt: new Date().toISOString(),
      batches: (streams.at(-1)?.batch ?? 0) + 1, // songs and users are combined with the first
      streams,
      songs: songs.map(ref),
      users: users.map(ref),
      left: input.left,
      dates,
      changed,
    };
  }

  private async write(manifest: Manifest) {
    // Once: a second sensor at the same run must not write over what the run may name already.
    return this.runtime.stores.objects.putJsonOnce(this.config.lakeBucket, manifestKey(manifest), manifest);
  }
}
