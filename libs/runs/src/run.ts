import type { RowCounts } from '@music/contracts';
import type { ObjectRef, Stage } from '@music/events';
import type { StandingChange } from './standing';

/** Where a run stands. The last four end it; `failed` can be resumed by replaying its dead letter. */
export const RUN_STATES = [
  'pending',
  'frozen',
  'sensed',
  'validated',
  'published',
  'completed',
  'rejected',
  'skipped',
  'failed',
] as const;
export type RunState = (typeof RUN_STATES)[number];

export const TERMINAL: ReadonlySet<RunState> = new Set<RunState>(['completed', 'rejected', 'skipped', 'failed']);

/**
 * Which state may follow which. `failed` may follow every state that does not end a run, and goes back to where it came
 * from.
 */
export const TRANSITIONS: Record<RunState, readonly RunState[]> = {
  pending: ['frozen', 'skipped', 'failed'],
  frozen: ['sensed', 'failed'],
  sensed: ['validated', 'rejected', 'failed'],
  validated: ['published', 'failed'],
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
  readonly manifest?: ObjectRef;
  readonly batches?: number;
  readonly rows?: RowTotals;
  readonly notes?: RunNotes;
  readonly job?: JobInfo;
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
export const takesFiles = ({ backfill, standing }: Pick<Run, 'backfill' | 'standing'>): boolean =>
  backfill === undefined && (standing === undefined || standing.change === 'replace');

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
