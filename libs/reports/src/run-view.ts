import { totalOf } from '@music/contracts';
import { type RerunStage, type RunKind, STAGES, runKind } from '@music/events';
import {
  AT_REST,
  type Ask,
  type Batch,
  type ErasureRequest,
  type Finding,
  type Run,
  endOf,
  rerunStages,
} from '@music/runs';
import type { Stores } from '@music/service';
import { type RunProgress, runProgress } from './run-progress';
import {
  type JobReport,
  type StageReport,
  jobReport,
  publishedDates,
  secondsBetween,
  stageReport,
  stalledStages,
} from './run-report';

/** A run as one row of a list. */
export interface RunRow {
  readonly run_id: string;
  /** What asked for it. */
  readonly kind: RunKind;
  readonly logical_date: string;
  readonly state: Run['state'];
  readonly requested_at: string;
  readonly requested_by?: string;
  /** When its last stage so far ended. */
  readonly ended_at?: string;
  /** From the request to `ended_at`. */
  readonly seconds?: number;
  readonly rows_read?: number;
  readonly rows_kept?: number;
  readonly rows_rejected?: number;
  readonly files_archived?: number;
  readonly files_rejected?: number;
  /** How many it published. */
  readonly days?: number;
  readonly version?: number;
  readonly engine?: string;
  /** The first one. */
  readonly reason?: string;
}

export function runRow(run: Run): RunRow {
  const endedAt = endOf(run);
  return {
    run_id: run.runId,
    kind: runKind(run.runId),
    logical_date: run.logicalDate,
    state: run.state,
    requested_at: run.requestedAt,
    requested_by: run.requestedBy,
    ended_at: endedAt,
    seconds: endedAt === undefined ? undefined : secondsBetween(run.requestedAt, endedAt),
    rows_read: run.rows?.read,
    rows_kept: run.rows?.kept,
    rows_rejected: run.rows === undefined ? undefined : totalOf(run.rows.rejected),
    files_archived: run.archivedFiles,
    files_rejected: run.rejectedFiles,
    days: run.days,
    version: run.version,
    engine: run.job?.engine,
    reason: run.reasons?.[0],
  };
}

/** When a run last moved, as far as its item tells. ISO 8601, UTC. */
export function lastChangeOf(run: Run): string {
  const times = Object.values(run.stages).flatMap(({ startedAt = '', endedAt = '' }) => [startedAt, endedAt]);
  return [run.requestedAt, ...times].sort().at(-1) ?? run.requestedAt;
}

export interface BatchReport {
  readonly batch: number;
  readonly state: Batch['state'];
  readonly files_passed?: number;
  readonly files_rejected?: number;
  readonly rows_read?: number;
}

/** All of a run but its files, of which there may be many. */
export interface RunView extends RunRow {
  readonly reasons: readonly string[];
  readonly rejected_rows: Readonly<Record<string, number>>;
  readonly notes: Run['notes'];
  readonly job?: JobReport;
  /** The days that it published. */
  readonly dates: readonly string[];
  readonly backfill?: Run['backfill'];
  readonly standing?: Run['standing'];
  /** Listens that it takes out of the lake for good. */
  readonly erasure?: Pick<ErasureRequest, 'what' | 'users' | 'archive' | 'before'>;
  /** What checks found in its numbers. */
  readonly findings: readonly Finding[];
  /** Of a run that was held: what became of it. */
  readonly decision?: Run['decision'];
  readonly stages: readonly StageReport[];
  /** The first 1,000. */
  readonly batches: readonly BatchReport[];
  readonly batch_count: number;
  readonly progress?: RunProgress;
  /** Stages whose work on this run, which has not ended, gets nowhere. */
  readonly stalled?: readonly { readonly stage: string; readonly since: string }[];
  /** Where it can be begun again. */
  readonly rerun_stages: readonly RerunStage[];
  /** What was asked of it once it had ended. */
  readonly asks: readonly Ask[];
}

const erasureOf = ({ what, users, archive, before }: ErasureRequest) => ({ what, users, archive, before });

const BATCHES_SHOWN = 1_000;

/** Undefined where there is no such run. With `stallMs` it also tells what got nowhere for so long. */
export async function runView(
  stores: Pick<Stores, 'runs' | 'objects'>,
  runId: string,
  stallMs?: number,
): Promise<RunView | undefined> {
  const { runs } = stores;
  const run = await runs.findRun(runId);
  if (run === undefined) return undefined;
  const under = !AT_REST.has(run.state);
  const [batches, asks, dates, progress, stalled] = await Promise.all([
    runs.batches.list(runId),
    runs.asks.list(runId),
    publishedDates(stores, run),
    runProgress({ runs }, run),
    stallMs === undefined || !under ? undefined : stalledStages(runs, runId, stallMs),
  ]);
  return {
    ...runRow(run),
    reasons: run.reasons ?? [],
    rejected_rows: run.rows?.rejected ?? {},
    notes: run.notes,
    job: jobReport(run),
    dates,
    backfill: run.backfill,
    standing: run.standing,
    erasure: run.erasure === undefined ? undefined : erasureOf(run.erasure),
    findings: run.checks?.findings ?? [],
    decision: run.decision,
    stages: STAGES.map((stage) => stageReport(stage, run)),
    batches: batches.slice(0, BATCHES_SHOWN).map((batch) => ({
      batch: batch.batch,
      state: batch.state,
      files_passed: batch.passedFiles,
      files_rejected: batch.rejectedFiles,
      rows_read: batch.rows?.read,
    })),
    batch_count: batches.length,
    progress,
    stalled,
    rerun_stages: rerunStages(run, batches),
    asks: asks.map(({ id, what, by, at, fromStage, replayed, refused }) => ({
      id,
      what,
      by,
      at,
      fromStage,
      replayed,
      refused,
    })),
  };
}
