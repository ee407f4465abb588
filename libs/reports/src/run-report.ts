import type { RowCounts } from '@music/contracts';
import { FILE_REASONS } from '@music/contracts';
import { type RunKind, STAGES, type Stage, fromJson, runKind } from '@music/events';
import type { KpiJobSummary } from '@music/job-runners';
import {
  endOf,
  LEFT_REASONS,
  AT_REST,
  type Finding,
  type LeftObject,
  type LedgerEntry,
  type Manifest,
  type ManifestFile,
  type Run,
  type StandingNote,
  deliveryKey,
  versionOf,
} from '@music/runs';
import type { Stores } from '@music/service';
import { readOnce } from './read-once';
import { describeRetraction, retractions } from './retractions';
import { type RunProgress, runProgress } from './run-progress';

/** What became of one object below `streams/`. */
export interface FileReport {
  readonly key: string;
  /**
   * `left`: not taken. `taken`, `passed`: under way. `archived`: it counts and is in the archive. `rejected`: it is in
   * quarantine. `changed`: it was replaced while the run worked. `released`: the run did not end well; a later one
   * takes it.
   */
  readonly state: 'left' | 'taken' | 'passed' | 'archived' | 'rejected' | 'changed' | 'released';
  readonly reason?: string;
  readonly detail?: string;
  readonly what_to_do?: string;
  /** What it is: `CSV`, `JSON lines, gzip`. */
  readonly form?: string;
  readonly copy_of?: string;
  /** Who took it back, so that its listens do not count for it. */
  readonly retracted?: string;
  readonly moved_to?: string;
  readonly rows?: { readonly read: number; readonly rejected: RowCounts };
}

export interface StageReport {
  readonly stage: Stage;
  readonly started_at?: string;
  readonly ended_at?: string;
  readonly seconds?: number;
}

/** The KPI job of a run, without where its input and its result are. */
export type JobReport = Omit<NonNullable<Run['job']>, 'summary' | 'input'>;

/** All that a run can tell, for programs. */
export interface RunReport {
  readonly run_id: string;
  /** What asked for it. */
  readonly kind: RunKind;
  readonly logical_date: string;
  readonly state: Run['state'];
  readonly requested_at: string;
  /** Who asked, where that is known. */
  readonly requested_by?: string;
  /** From the request to the end of the last stage so far. */
  readonly seconds?: number;
  readonly reasons: readonly string[];
  readonly files: readonly FileReport[];
  readonly rows: { readonly read: number; readonly kept: number; readonly rejected: RowCounts };
  readonly notes: Run['notes'];
  readonly job?: JobReport;
  readonly days: readonly string[];
  readonly version?: number;
  /** What it takes back or gives back of what others delivered. */
  readonly standing?: Run['standing'];
  /** Listens that it takes out of the lake for good. */
  readonly erasure?: Run['erasure'];
  /** What checks found in its numbers. */
  readonly findings: readonly Finding[];
  /** Of a run that was held: what became of it. */
  readonly decision?: Run['decision'];
  readonly stages: readonly StageReport[];
  /** How far the stage is that works on it. */
  readonly progress?: RunProgress;
  /** Stages whose work on this run, which has not ended, gets nowhere. */
  readonly stalled?: readonly { readonly stage: Stage; readonly since: string }[];
}

/**
 * What happened in a run, read from `pipeline_runs` and the run's manifest. Undefined where there is no such run. With
 * `stallMs` it also tells what got nowhere for so long.
 */
export async function runReport(
  { runs, objects }: Pick<Stores, 'runs' | 'objects'>,
  runId: string,
  stallMs?: number,
): Promise<RunReport | undefined> {
  const run = await runs.findRun(runId);
  if (run === undefined) return undefined;
  const manifest = run.manifest === undefined ? undefined : await objects.readJson<Manifest>(run.manifest);
  const [entryOf, retracted] = await Promise.all([runs.files.ofFiles(manifest?.streams ?? []), retractions({ runs })]);
  const endedAt = endOf(run);
  return {
    run_id: runId,
    kind: runKind(runId),
    logical_date: run.logicalDate,
    state: run.state,
    requested_at: run.requestedAt,
    requested_by: run.requestedBy,
    reasons: run.reasons ?? [],
    seconds: endedAt === undefined ? undefined : secondsBetween(run.requestedAt, endedAt),
    files: [
      ...(manifest?.streams ?? []).map((file) => fileReport(file, run, entryOf(file), retracted)),
      ...(manifest?.left ?? []).map(leftReport),
    ],
    rows: run.rows ?? { read: 0, kept: 0, rejected: {} },
    notes: run.notes,
    job: jobReport(run),
    days: await publishedDates({ objects }, run),
    version: run.version,
    standing: run.standing,
    erasure: run.erasure,
    findings: run.checks?.findings ?? [],
    decision: run.decision,
    stages: STAGES.map((stage) => stageReport(stage, run)),
    progress: await runProgress({ runs }, run),
    stalled: stallMs === undefined || AT_REST.has(run.state) ? undefined : await stalledStages(runs, runId, stallMs),
  };
}

export function jobReport({ job }: Run): JobReport | undefined {
  return job === undefined ? undefined : (({ summary: _, input: __, ...rest }) => rest)(job);
}

/** The days that a run published, by its job's summary. */
export async function publishedDates({ objects }: Pick<Stores, 'objects'>, run: Run): Promise<string[]> {
  const summary = run.state === 'published' || run.state === 'completed' ? run.job?.summary : undefined;
  if (summary === undefined) return [];
  return (await readOnce<KpiJobSummary>(objects, summary)).days.map(({ date }) => date);
}

export async function stalledStages(
  runs: Stores['runs'],
  runId: string,
  stallMs: number,
): Promise<NonNullable<RunReport['stalled']>> {
  const stalled = [];
  for (const stage of STAGES) {
    const times = (await runs.work.list(stage))
      .filter(({ message }) => fromJson(message).data.runId === runId)
      .map(({ progressAt = Infinity }) => progressAt);
    const oldest = Math.min(...times);
    if (Date.now() - oldest > stallMs) stalled.push({ stage, since: new Date(oldest).toISOString() });
  }
  return stalled;
}

/** An object that a run did not take. */
export function leftReport({ key, reason, detail }: LeftObject): FileReport {
  return { key, state: 'left', reason, detail: detail ?? LEFT_REASONS[reason] };
}

/** What became of a stream file of a run, by its entry in the ledger. */
export function fileReport(
  file: ManifestFile,
  run: Run,
  entry: LedgerEntry | undefined,
  retracted: ReadonlyMap<string, StandingNote>,
): FileReport {
  const note = retracted.get(deliveryKey({ key: file.key, version: versionOf(file) }));
  const unused = run.state === 'rejected' || run.state === 'failed';
  const foreign = entry === undefined || entry.runId !== run.runId;
  if (foreign || (unused && (entry.state === 'taken' || entry.state === 'passed'))) {
    return {
      key: file.key,
      state: 'released',
      detail:
        foreign && entry !== undefined ? `${entry.runId} took it` : 'it stays where it is and a later run takes it',
      rows: entry?.rows,
    };
  }
  return {
    key: file.key,
    state: entry.state,
    reason: entry.reason,
    detail: entry.detail,
    what_to_do: entry.reason === undefined ? undefined : FILE_REASONS[entry.reason],
    form: entry.form,
    copy_of: entry.copyOf,
    retracted: note === undefined ? undefined : describeRetraction(note),
    moved_to: entry.movedTo,
    rows: entry.rows,
  };
}

export function stageReport(stage: Stage, run: Run): StageReport {
  const { startedAt, endedAt } = run.stages[stage] ?? {};
  return {
    stage,
    started_at: startedAt,
    ended_at: endedAt,
    seconds: startedAt !== undefined && endedAt !== undefined ? secondsBetween(startedAt, endedAt) : undefined,
  };
}

export function secondsBetween(from: string, to: string): number {
  return Math.max(0, (Date.parse(to) - Date.parse(from)) / 1_000);
}
