import type { RowCounts } from '@music/contracts';
import type { ObjectRef, Stage } from '@music/events';
import type { StandingChange } from './standing';

/**
 * Where a run stands. The last four end it; `failed` can be resumed by replaying its dead letter. `held`: checks hold
 * its numbers back, and it works on nothing until somebody decides.
 */
export const RUN_STATES = [
  'pending',
  'frozen',
  'sensed',
  'validated',
  'held',
  'published',
  'completed',
  'rejected',
  'skipped',
  'failed',
] as const;
export type RunState = (typeof RUN_STATES)[number];

export const TERMINAL: ReadonlySet<RunState> = new Set<RunState>(['completed', 'rejected', 'skipped', 'failed']);

/** Of runs that work on nothing: others need not wait for them. */
export const AT_REST: ReadonlySet<RunState> = new Set<RunState>([...TERMINAL, 'held']);

/**
 * Which state may follow which. `failed` may follow every state that does not end a run, and goes back to where it came
 * from.
 */
export const TRANSITIONS: Record<RunState, readonly RunState[]> = {
  pending: ['frozen', 'skipped', 'failed'],
  frozen: ['sensed', 'failed'],
  sensed: ['validated', 'rejected', 'failed'],
  validated: ['held', 'published', 'failed'],
  held: ['validated', 'rejected'],
  published: ['completed', 'failed'],
  completed: [],
  rejected: [],
  skipped: [],
  failed: ['pending', 'frozen', 'sensed', 'validated', 'published'],
};

export interface RowTotals {
  /** Rows of the files that passed: kept + all rejected. */
  readonly read: number;
  /** Distinct listens that were new to the lake. */
  readonly kept: number;
  readonly rejected: RowCounts;
}

export interface StageTimes {
  readonly startedAt?: string;
  readonly endedAt?: string;
}

/** The KPI job of a run. */
export interface JobInfo {
  readonly engine: string;
  /** What it works on: a KpiJob. There once the run's listens are in the lake. */
  readonly input?: ObjectRef;
  /** Absent while the engine takes no job. */
  readonly jobRunId?: string;
  /** Why the engine takes no job now. */
  readonly waiting?: string;
  /** Where its logs are, for a person. */
  readonly logs?: string;
  /** Where the job left its summary; it stays in the lake bucket. */
  readonly summary?: ObjectRef;
  readonly seconds?: number;
  /** When it was seen to have ended well. */
  readonly endedAt?: string;
  readonly message?: string;
}

/** What the KPI job and validation noticed that is no reason to reject anything. */
export interface RunNotes {
  /** Listens of tracks that songs does not have; kept under genre `Unknown` unless the setting rejects them. */
  readonly unknownTrackListens?: number;
  /** Listens of users that users does not have. */
  readonly unknownUserListens?: number;
  /** Songs whose duration is missing or unreadable, so 0. */
  readonly unreadableDurations?: number;
  /** Rows of the catalogue. */
  readonly songRows?: number;
}

/** What a check found in a run's numbers. */
export interface Finding {
  readonly check: string;
  readonly level: 'warn' | 'hold';
  /** The day it is about, YYYY-MM-DD; absent: the whole run. */
  readonly date?: string;
  /** For a person, with the numbers. */
  readonly text: string;
}

/** A finding in a line. */
export const describeFinding = ({ check, level, date, text }: Finding): string =>
  `${level}: ${check}${date === undefined ? '' : ` of ${date}`}: ${text}`;

/** What the checks of a run's numbers found, in the turn of that number. */
export interface Checks {
  readonly version: number;
  readonly findings: readonly Finding[];
}

/** What somebody decided about a run that was held. */
export interface Decision {
  readonly what: 'release' | 'discard';
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly by?: string;
  readonly reason?: string;
}

/** Days of the lake, both inclusive, YYYY-MM-DD. */
export interface Backfill {
  readonly from: string;
  readonly to: string;
}

/** Deliveries that a run takes back or gives back. */
export interface StandingRequest {
  readonly change: StandingChange;
  readonly reason: string;
  /** Which: those of a key, of one version of it where that is named, or those that a run took or changed. */
  readonly key?: string;
  readonly version?: string;
  readonly ofRun?: string;
  /** How many there are; known once the manifest is frozen. */
  readonly deliveries?: number;
}

/** Listens that leave the lake for good. */
export interface ErasureRequest {
  readonly what: 'forget' | 'expire';
  /** Of users who are to be forgotten: how many, where the hashes of their ids are, and what becomes of archived files. */
  readonly users?: number;
  readonly hashes?: ObjectRef;
  readonly archive?: 'keep' | 'delete';
  /** Of days: the first that stays, YYYY-MM-DD. */
  readonly before?: string;
  /** What came of it. */
  readonly report?: ObjectRef;
}

export interface Run {
  readonly runId: string;
  readonly logicalDate: string;
  readonly state: RunState;
  readonly requestedAt: string;
  /** Who asked for it, where that is known. */
  readonly requestedBy?: string;
  readonly immediately: boolean;
  /** Takes files that earlier runs took or rejected, too. */
  readonly force?: boolean;
  /** Days that are computed again from the lake, without stream files. */
  readonly backfill?: Backfill;
  /** Deliveries that it takes back or gives back: on request, without stream files; or because it replaces them. */
  readonly standing?: StandingRequest;
  /** Listens that it takes out of the lake for good. */
  readonly erasure?: ErasureRequest;
  readonly manifest?: ObjectRef;
  readonly batches?: number;
  readonly rows?: RowTotals;
  readonly notes?: RunNotes;
  readonly job?: JobInfo;
  readonly checks?: Checks;
  /** Of a run that was held: what became of it. */
  readonly decision?: Decision;
  /** How many days it published; its job's result names them. */
  readonly days?: number;
  /** Of the published items. */
  readonly version?: number;
  /** Why it was skipped, rejected or failed. */
  readonly reasons?: readonly string[];
  readonly failedFrom?: RunState;
  readonly failedStage?: Stage;
  /** Files that were archived. */
  readonly archivedFiles?: number;
  /** Files that validation rejected. */
  readonly rejectedFiles?: number;
  readonly stages: Partial<Record<Stage, StageTimes>>;
}

/** Whether a run takes stream files. Others work on what the lake has. */
export const takesFiles = ({ backfill, standing, erasure }: Pick<Run, 'backfill' | 'standing' | 'erasure'>): boolean =>
  backfill === undefined && erasure === undefined && (standing === undefined || standing.change === 'replace');

export type BatchState = 'sensed' | 'combined' | 'judged';

export interface Batch {
  readonly runId: string;
  readonly batch: number;
  readonly state: BatchState;
  readonly evidence?: ObjectRef;
  readonly verdict?: ObjectRef;
  readonly passedFiles?: number;
  readonly rejectedFiles?: number;
  readonly rows?: { readonly read: number; readonly rejected: RowCounts };
  /** What is wrong with songs or users; the same in every batch. */
  readonly unusable?: readonly string[];
}

/** When the last stage so far ended. */
export function endOf({ stages }: Run): string | undefined {
  const ends = Object.values(stages).flatMap(({ endedAt }) => (endedAt === undefined ? [] : [endedAt]));
  return ends.sort().at(-1);
}
