import { setTimeout as pause } from 'node:timers/promises';
import { LastingError, describeError } from '@music/errors';
import { KpisPublished, type ObjectRef, RunHeld, type RunValidated, dateIn, envelope, runKind } from '@music/events';
import {
  type JobRunner,
  type JobStatus,
  type KpiJob,
  type KpiJobSummary,
  readResult,
  resultObjects,
} from '@music/job-runners';
import type { LeftOutDelivery, Provenance } from '@music/kpis';
import { TurnIsOver, compactDays, finishCompactions, placeListens, writeCurrentTables } from '@music/lake';
import {
  type BatchVerdict,
  type Checks,
  type JobInfo,
  LAKE_TURN,
  type Manifest,
  type RowTotals,
  type Run,
  type Work,
  type WorkOutcome,
  describeFinding,
  messageOf,
  takesFiles,
} from '@music/runs';
import { StagePerformer, StageRuntime } from '@music/service';
import { mapLimited } from '@music/storage';
import { Injectable } from '@nestjs/common';
import type { Counter } from 'prom-client';
import { ulid } from 'ulid';
import type { CheckOf } from './checks/check-list';
import { checkRun } from './checks/check-run';
import { type ErasureTools, dropForgotten, eraseListens } from './erase-listens';
import { GlueTriggerConfig } from './glue-trigger.config';
import { openJobRunner } from './open-job-runner';
import { finalRows, notesOf, songsVersion } from './run-outcome';
import { changeDeliveries } from './standing-deliveries';

const TURN_POLL_MS = 1_000;
/** While a job runs, its run is looked at so often: whether it has its turn still. */
const RUN_UNSEEN_MS = 5_000;
const PUBLISHED_AT_ONCE = 8;
const VERDICTS_READ_AT_ONCE = 8;
/** A run's item, and its events, tell no more. */
const FINDINGS_KEPT = 50;

/** Thrown when a KPI job ended badly and would end badly again. */
export class KpiJobFailed extends LastingError {}

/** Thrown when a day has a version that is above those which the table of runs knows of. It is mended when it is thrown. */
class VersionsAreBehind extends Error {
  override readonly name = 'VersionsAreBehind';
}

/**
 * Places a run's listens in the lake, has its KPIs computed and publishes them. One run at a time writes the lake. What
 * the job works on is remembered before it starts, its id before anything waits for it, and the version before the
 * first item is written; days are published as they are computed.
 */
@Injectable()
export class ComputeKpis extends StagePerformer {
  private readonly runner: Promise<JobRunner>;
  private readonly checks: readonly CheckOf[];
  private readonly findings: Counter<'check' | 'level'>;
  /** How many steps a running job had done at the last look, by its id. */
  private readonly steps = new Map<string, number>();
  /** Which objects of a job's result this process has published, by the job's id. */
  private readonly published = new Map<string, Set<string>>();

  constructor(
    private readonly runtime: StageRuntime,
    private readonly config: GlueTriggerConfig,
  ) {
    super();
    this.runner = openJobRunner(config, runtime.stores.objects, runtime.scratch);
    this.checks = config.checks;
    this.findings = runtime.metrics.counter(
      'music_check_findings_total',
      'What checks found in runs, by check and level',
      { check: [], level: [] },
    );
    for (const { name: check, level } of this.checks) this.findings.inc({ check, level }, 0);
  }

  async perform(work: Work): Promise<WorkOutcome> {
    const { runs } = this.runtime.stores;
    const { runId } = work.event.data as RunValidated;
    const found = await runs.findRun(runId);
    if (found?.state !== 'validated') return 'done';
    const turn = await runs.turns.take(LAKE_TURN, 1, runId);
    if (turn === undefined) return { again: TURN_POLL_MS };
    const [run] = await Promise.all([this.beginTurn(found, turn), runs.startStage(runId, 'glue-trigger')]);
    if (run === undefined) return { again: TURN_POLL_MS };
    const { job, input } = await this.jobOf(run, turn, work);
    const summaryRef = run.job?.summary ?? (await this.finishJob(run, job, input, work));
    if ('again' in summaryRef) return summaryRef;
    const [summary, computed] = await Promise.all([
      this.runtime.stores.objects.readJson<KpiJobSummary>(summaryRef),
      runs.findRun(runId),
    ]);
    if (computed?.version !== turn) return { again: TURN_POLL_MS };
    const checks = isChecked(computed) ? await this.check(computed, job, summary) : { version: turn, findings: [] };
    if (checks === undefined) return { again: TURN_POLL_MS };
    if (checks.findings.some(({ level }) => level === 'hold')) await this.hold(computed, turn, checks, work);
    else await this.publish(computed, job, summaryRef, summary, checks, work);
    await runs.turns.giveBack(LAKE_TURN, 1, runId, turn);
    return 'done';
  }

  override async close(): Promise<void> {
    await (await this.runner).close();
  }

  /**
   * The turn's number is the version of what the run publishes. In a new turn, others may have written the lake since
   * an earlier job of this run: what that one computed is forgotten, so that it cannot be published over theirs. From
   * then on every change of the run is bound to the turn, so that a replica that was away for long cannot bring in what
   * it has from an earlier one. Gives undefined where the run has changed meanwhile.
   */
  private async beginTurn(run: Run, turn: number): Promise<Run | undefined> {
    if (run.version === turn) return run;
    await finishCompactions(this.runtime.stores.objects, this.config.lakeBucket);
    const changes = { version: turn, job: { engine: (await this.runner).engine } };
    const begun = await this.runtime.stores.runs.updateRun(
      run.runId,
      { state: 'validated', version: run.version },
      changes,
    );
    return begun ? { ...run, ...changes } : undefined;
  }

  /**
   * Starts or adopts the job, and gives its summary once it has one. Where the run has changed meanwhile, or the job
   * goes on for long, the run is to be looked at again.
   */
  private async finishJob(
    run: Run,
    job: KpiJob,
    input: ObjectRef,
    work: Work,
  ): Promise<ObjectRef | Exclude<WorkOutcome, 'done'>> {
    const runner = await this.runner;
    const waitMs = this.config.jobPollSeconds * 1_000;
    const later = { again: waitMs };
    const note = (info: Omit<JobInfo, 'engine' | 'input'>) =>
      this.runtime.stores.runs.updateRun(
        run.runId,
        { state: 'validated', version: job.version },
        { job: { engine: runner.engine, input, ...info } },
      );
    // Another engine's job is not looked for: the setting was changed while it ran, and its result would be the same.
    let jobRunId = run.job?.engine === runner.engine && run.job.message === undefined ? run.job.jobRunId : undefined;
    let status: JobStatus = jobRunId === undefined ? { state: 'lost' } : await runner.poll(job, jobRunId, waitMs);
    if (jobRunId === undefined || status.state === 'lost') {
      const started = await runner.start(job);
      if ('busy' in started) {
        await note({ waiting: started.busy });
        return later;
      }
      jobRunId = started.jobRunId;
      await note({ jobRunId });
      status = await runner.poll(job, jobRunId, waitMs);
    }
    // Looking at the job costs less than looking at its run.
    const runSeenAt = Date.now();
    let { logs } = run.job ?? {};
    while (status.state === 'running') {
      if (status.logs !== undefined && status.logs !== logs) await note({ jobRunId, logs: status.logs });
      ({ logs } = status);
      // Where a check may hold the run, nothing of it is published before all of it is seen.
      if (status.ready !== undefined && !this.mayHold(run))
        await this.publishDays(job, status.ready, provenanceOf(job, status.ready, jobRunId), work);
      if (status.daysDone !== undefined) work.progress({ done: status.daysDone, of: job.dates.length, unit: 'days' });
      const next = this.whileItRuns(jobRunId, status);
      if (Date.now() + next.again - runSeenAt >= RUN_UNSEEN_MS) return next;
      if (!next.unchanged) work.progress();
      await pause(next.again, undefined, { signal: work.signal });
      status = await runner.poll(job, jobRunId, waitMs);
    }
    switch (status.state) {
      case 'lost':
        return later; // it is started again at the next look
      case 'succeeded': {
        this.steps.delete(jobRunId);
        const endedAt = new Date().toISOString();
        return (await note({ jobRunId, summary: status.summary, logs: status.logs, endedAt })) ? status.summary : later;
      }
      case 'failed':
        this.steps.delete(jobRunId);
        this.published.delete(jobRunId);
        if (!(await note({ jobRunId, message: status.message, logs: status.logs }))) return later;
        if (status.lasting) throw new KpiJobFailed(`KPI job ${jobRunId}: ${status.message}`);
        throw new Error(`KPI job ${jobRunId}: ${status.message}`);
    }
  }

  /** An engine that tells its steps has got on where it has done more of them. */
  private whileItRuns(
    jobRunId: string,
    { waited, steps }: Extract<JobStatus, { state: 'running' }>,
  ): { readonly again: number; readonly unchanged: boolean } {
    const unchanged = steps !== undefined && this.steps.get(jobRunId) === steps;
    if (steps !== undefined) this.steps.set(jobRunId, steps);
    return { again: waited === true ? 0 : this.config.jobPollSeconds * 1_000, unchanged };
  }

  /**
   * Keeps the lake's days from falling into many small objects. The run has its numbers by now: what fails here is
   * tried again with the next run.
   */
  private async compact({ days }: KpiJobSummary, work: Work): Promise<void> {
    const { lakeBucket, lakeMaxObjects, duckdbLimits } = this.config;
    try {
      const dates = days.map(({ date }) => date);
      const { objects } = this.runtime.stores;
      const compacted = await compactDays(
        objects,
        lakeBucket,
        dates,
        lakeMaxObjects,
        this.runtime.scratch,
        duckdbLimits,
        work.signal,
      );
      if (compacted.length > 0) work.log.info({ dates: compacted }, 'lake days compacted');
    } catch (error) {
      work.log.warn({ error: describeError(error) }, 'could not compact the lake');
    }
  }

  /** For who reads the lake by SQL; the next run does it where this one cannot. */
  private async tellCurrentTables(job: KpiJob, work: Work): Promise<void> {
    try {
      await writeCurrentTables(this.runtime.stores.objects, this.config.lakeBucket, job);
    } catch (error) {
      work.log.warn({ error: describeError(error) }, 'could not copy the current songs and users');
    }
  }

  private mayHold(run: Run): boolean {
    return isChecked(run) && this.checks.some(({ level }) => level === 'hold');
  }

  /**
   * What the checks find in a run's numbers: once a turn, so that two replicas come to one end. Gives undefined where
   * the run has changed meanwhile.
   */
  private async check(run: Run, job: KpiJob, summary: KpiJobSummary): Promise<Checks | undefined> {
    const { runs, kpis, objects } = this.runtime.stores;
    if (run.checks?.version === job.version) return run.checks;
    const { kpiTimeZone, duckdbLimits, unknownTracks } = this.config;
    const rows = finalRows(run.rows ?? { read: 0, kept: 0, rejected: {} }, summary, unknownTracks === 'keep');
    const findings = await checkRun(
      this.checks,
      { summary, rows, today: dateIn(kpiTimeZone, new Date()) },
      {
        kpis,
        objects,
        scratch: this.runtime.scratch,
        limits: duckdbLimits,
      },
    );
    const checks: Checks = { version: job.version, findings: findings.slice(0, FINDINGS_KEPT) };
    if (!(await runs.updateRun(run.runId, { state: 'validated', version: job.version }, { checks }))) return undefined;
    for (const { check, level } of findings) this.findings.inc({ check, level });
    return checks;
  }

  /** Keeps what was published as it was, and lets others go on, as if the run had delivered nothing yet. */
  private async hold(run: Run, turn: number, checks: Checks, work: Work): Promise<void> {
    const { runs } = this.runtime.stores;
    const { runId } = run;
    const isOurTurn = async () => (await runs.findRun(runId))?.version === turn;
    await changeDeliveries(this.runtime.stores, this.config.lakeBucket, { run, turn, isOurTurn, how: 'held' });
    const findings = checks.findings.map(describeFinding);
    const held = messageOf(envelope(RunHeld, 'glue-trigger', { runId, findings }), work);
    if (await runs.hold(runId, { state: 'validated', version: turn }, 'glue-trigger', {}, held))
      work.log.warn({ findings }, 'held');
  }

  private async publish(
    run: Run,
    job: KpiJob,
    summaryRef: ObjectRef,
    summary: KpiJobSummary,
    checks: Checks,
    work: Work,
  ): Promise<void> {
    const { runs } = this.runtime.stores;
    const { runId } = run;
    const { version } = job;
    work.log.info({ engine: summary.engine, seconds: summary.seconds }, 'KPIs are computed');
    const jobRunId = run.job?.jobRunId ?? '';
    // Before the run moves on: from then on the turn to write the lake may be another run's.
    const told = job.dates.length > 0 ? this.tellCurrentTables(job, work) : undefined;
    try {
      await this.publishDays(job, summary, provenanceOf(job, summary, jobRunId), work);
    } finally {
      await told;
    }
    this.published.delete(jobRunId);
    await this.compact(summary, work);
    const published = messageOf(
      envelope(KpisPublished, 'glue-trigger', {
        runId,
        summary: summaryRef,
        days: summary.days.length,
        version,
        ...(checks.findings.length === 0 ? {} : { warnings: checks.findings.map(describeFinding) }),
      }),
      work,
    );
    if (run.decision !== undefined) await runs.standing.letGo(runId);
    const changes = {
      days: summary.days.length,
      notes: notesOf(summary),
      rows: finalRows(run.rows ?? { read: 0, kept: 0, rejected: {} }, summary, job.keepUnknownTracks),
      job: { ...run.job, engine: summary.engine, seconds: summary.seconds },
    };
    if (
      await runs.transition(runId, { state: 'validated', version }, 'published', 'glue-trigger', changes, [published])
    )
      this.observe(run, changes.rows).catch((error: unknown) =>
        work.log.warn({ error: describeError(error) }, 'could not be counted for the metrics'),
      );
  }

  private async observe({ runId, manifest }: Run, { read, kept, rejected }: RowTotals): Promise<void> {
    const { metrics, stores } = this.runtime;
    for (const [outcome, n] of Object.entries({ read, kept, ...rejected })) metrics.rows.inc({ outcome }, n);
    const { streams } = manifest === undefined ? { streams: [] } : await stores.objects.readJson<Manifest>(manifest);
    const now = Date.now();
    const kind = runKind(runId);
    for (const { lastModified } of streams)
      metrics.served.observe({ kind }, Math.max(0, now - Date.parse(lastModified)) / 1_000);
  }

  /** Publishes what has been computed, but for what this process has published of it already. */
  private async publishDays(
    job: KpiJob,
    result: Pick<KpiJobSummary, 'days'>,
    provenance: Provenance,
    work: Work,
  ): Promise<void> {
    const { objects, kpis } = this.runtime.stores;
    const { version, job_run_id } = provenance;
    const published = this.published.get(job_run_id) ?? new Set();
    this.published.set(job_run_id, published);
    const waiting = resultObjects(result).filter(({ key }) => !published.has(key));
    if (waiting.length === 0) return;
    const leftOut = await this.leftOutByDay(job);
    await mapLimited(waiting, PUBLISHED_AT_ONCE, async (object) => {
      for (const day of await readResult(objects, object)) {
        work.signal.throwIfAborted();
        const outcome = await kpis.publish(day, provenance, leftOut.get(day.date));
        if (outcome === 'superseded') await this.checkVersion(job.runId, version, day.date);
        work.log.info({ date: day.date, version, outcome }, 'day published');
        work.progress();
      }
      published.add(object.key);
    });
  }

  /**
   * A day that has a higher version is right where the run's turn is over. While it is not, the table of runs does not
   * know of versions that it gave: later turns are to be above them, and this one is to be had again.
   */
  private async checkVersion(runId: string, version: number, date: string): Promise<void> {
    const { runs, kpis } = this.runtime.stores;
    const run = await runs.findRun(runId);
    if (run?.state !== 'validated' || run.version !== version) return;
    const claimed = await kpis.claimedVersion(date);
    await runs.turns.numberAbove(LAKE_TURN, claimed);
    await runs.turns.giveBack(LAKE_TURN, 1, runId, version);
    throw new VersionsAreBehind(
      `${date} has numbers of version ${claimed}, and ${runId} has ${version}: the table of runs was lost or restored ` +
        'from a backup. It is computed once more, under a higher version',
    );
  }

  /** The deliveries that the days' items tell of, since their listens do not count. */
  private async leftOutByDay({ leftOut = {} }: KpiJob): Promise<ReadonlyMap<string, readonly LeftOutDelivery[]>> {
    const byDay = new Map<string, LeftOutDelivery[]>();
    if (Object.keys(leftOut).length === 0) return byDay;
    for (const { stands, key, version, dates, notes } of (await this.runtime.stores.runs.standing.list()).standings) {
      const note = notes.at(-1);
      if (stands || note === undefined) continue;
      const { change, runId: run_id, at, reason, by } = note;
      const delivery = { key, version, change, run_id, at, reason, ...(by === undefined ? {} : { by }) };
      for (const date of dates) byDay.set(date, [...(byDay.get(date) ?? []), delivery]);
    }
    return byDay;
  }

  /**
   * What the run's job works on, as it was when the job was first to be started in this turn; then the run's listens
   * are in the lake.
   */
  private async jobOf(run: Run, version: number, work: Work): Promise<{ job: KpiJob; input: ObjectRef }> {
    const { runs, objects } = this.runtime.stores;
    const known = run.job?.input;
    if (known !== undefined) return { job: await objects.readJson<KpiJob>(known), input: known };
    const { runId } = run;
    const erased: string[] = [];
    const { lakeBucket, intermediateBucket, duckdbLimits } = this.config;
    const isOurTurn = async () => (await runs.findRun(runId))?.version === version;
    const began = performance.now();
    if (run.erasure !== undefined) {
      const { dates, report } = await eraseListens(run, isOurTurn, work, this.erasureTools);
      const changes = { erasure: { ...run.erasure, report } };
      if (!(await runs.updateRun(runId, { state: 'validated', version }, changes)))
        throw new TurnIsOver(`${runId} has a new turn`);
      erased.push(...dates);
    }
    const [gone, verdicts] = await Promise.all([runs.erasures.state(), this.verdictsOf(runId)]);
    const all = verdicts.flatMap((verdict) => verdict.listens);
    const isOld = verdicts.some(({ forgotten = 0 }) => forgotten < gone.hashes.length);
    const listens = isOld && all.length > 0 ? await dropForgotten(run, all, gone.hashes, this.erasureTools) : all;
    const placing = { runId, listens, isOurTurn, signal: work.signal, keptFrom: gone.before };
    const placed = takesFiles(run)
      ? await placeListens(objects, lakeBucket, placing, this.runtime.scratch, duckdbLimits)
      : await this.datesToComputeAgain(run);
    const standing = await changeDeliveries(this.runtime.stores, lakeBucket, {
      run,
      turn: version,
      isOurTurn,
      how: run.decision?.what === 'discard' ? 'discarded' : 'done',
    });
    // Days whose listens have left the lake keep their numbers.
    const dates = [...new Set([...erased, ...placed, ...standing.dates])]
      .filter((date) => date >= (gone.before ?? ''))
      .sort();
    const current = (refs: readonly ObjectRef[]) => (gone.hashes.length === 0 ? refs : this.currentOf(refs));
    work.log.info(
      { days: dates.length, objects: listens.length, seconds: (performance.now() - began) / 1_000 },
      'listens are in the lake',
    );
    const job: KpiJob = {
      runId,
      version,
      dates,
      lakeBucket,
      resultBucket: intermediateBucket,
      resultPrefix: `runs/${runId}/result/`,
      songs: verdicts.flatMap(({ songs = [] }) => songs),
      users: await current(verdicts.flatMap(({ users = [] }) => users)),
      keepUnknownTracks: this.config.unknownTracks === 'keep',
      leftOut: standing.leftOut,
    };
    const input = await objects.putJson(intermediateBucket, `${job.resultPrefix}job-${ulid()}.json`, job);
    const changes = { job: { engine: (await this.runner).engine, ...run.job, input } };
    if (!(await runs.updateRun(runId, { state: 'validated', version }, changes)))
      throw new TurnIsOver(`${runId} has a new turn`);
    return { job, input };
  }

  private async verdictsOf(runId: string): Promise<BatchVerdict[]> {
    const { runs, objects } = this.runtime.stores;
    return mapLimited(await runs.batches.list(runId), VERDICTS_READ_AT_ONCE, ({ batch, verdict }) => {
      if (verdict === undefined) throw new Error(`batch ${batch} of ${runId} has no verdict`);
      return objects.readJson<BatchVerdict>(verdict);
    });
  }

  /** Objects as they are now: those of users are written anew when one is forgotten. */
  private async currentOf(refs: readonly ObjectRef[]): Promise<ObjectRef[]> {
    return mapLimited(refs, VERDICTS_READ_AT_ONCE, async (ref) => {
      const found = await this.runtime.stores.objects.head(ref.bucket, ref.key);
      return found === undefined ? ref : { ...ref, etag: found.etag, size: found.size };
    });
  }

  private get erasureTools(): ErasureTools {
    const { lakeBucket, intermediateBucket, erasureKeyFile, duckdbLimits: limits } = this.config;
    const { stores, scratch } = this.runtime;
    return { stores, lakeBucket, intermediateBucket, erasureKeyFile, scratch, limits };
  }

  /** Those of a backfill, which its manifest names. */
  private async datesToComputeAgain({ manifest, backfill }: Run): Promise<readonly string[]> {
    if (backfill === undefined || manifest === undefined) return [];
    return (await this.runtime.stores.objects.readJson<Manifest>(manifest)).dates ?? [];
  }
}

/** Not where somebody asked with those numbers in mind: who takes back, forgets, or decided about a run that was held. */
function isChecked({ standing, erasure, decision }: Run): boolean {
  const isAsked = erasure !== undefined || (standing !== undefined && standing.change !== 'replace');
  return !isAsked && decision === undefined;
}

/** Where numbers come from. */
function provenanceOf(
  job: KpiJob,
  { engine, sqlVersion, songRows }: Pick<KpiJobSummary, 'engine' | 'sqlVersion' | 'songRows'>,
  jobRunId: string,
): Provenance {
  return {
    run_id: job.runId,
    version: job.version,
    computed_at: new Date().toISOString(),
    engine,
    job_run_id: jobRunId,
    sql_version: sqlVersion,
    songs_version: songsVersion(job.songs),
    ...(songRows === undefined ? {} : { song_rows: songRows }),
  };
}
