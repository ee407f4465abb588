import type { ObjectRef } from '@music/events';
import type { DayKpis } from '@music/kpis';
import type { LeftOut } from '@music/runs';
import type { ObjectStore } from '@music/storage';
import { ulid } from 'ulid';

/**
 * What a KPI job works on: days of the lake, where the run's own listens have been placed before it starts. A job
 * writes nothing but its result, so it can be done again, or twice at once, at any time.
 */
export interface KpiJob {
  readonly runId: string;
  /** Of what the run publishes: its turn to write the lake. A job of another turn is another job, and not adopted. */
  readonly version: number;
  /** The days whose KPIs are computed, ascending, YYYY-MM-DD. */
  readonly dates: readonly string[];
  /** Parquet objects of the catalogue and of the users. */
  readonly songs: readonly ObjectRef[];
  readonly users: readonly ObjectRef[];
  readonly lakeBucket: string;
  /** Where the days' KPIs go until they are published; the prefix ends with `/`. */
  readonly resultBucket: string;
  readonly resultPrefix: string;
  readonly keepUnknownTracks: boolean;
  /** Deliveries whose listens do not count. Absent: a job of an earlier release, which counts all. */
  readonly leftOut?: LeftOut;
}

/**
 * What a KPI job leaves in the lake bucket, see `newSummaryKey`; it names the object of each day, which may have other
 * days besides.
 */
export interface KpiJobSummary {
  readonly runId: string;
  readonly engine: string;
  /** Of the models that ran, see MODELS_VERSION. */
  readonly sqlVersion: string;
  readonly days: readonly { readonly date: string; readonly kpis: ObjectRef }[];
  /** Rows of the run that passed validation, repetitions included. */
  readonly runRows: number;
  readonly newListens: number;
  readonly unknownTrackListens: number;
  readonly unknownUserListens: number;
  readonly unreadableDurations: number;
  /** Rows of the catalogue. Absent where a job of an earlier release was adopted. */
  readonly songRows?: number;
  readonly seconds: number;
}

export type JobStart =
  | { readonly jobRunId: string }
  /** The engine takes no job now: ask again later. */
  | { readonly busy: string };

export type JobStatus =
  /**
   * `waited`: the engine has waited for its end, and can be asked again at once. `steps`: how many it has done, where
   * it can tell. `ready`: what it has computed so far; whoever computes it again in the same turn comes to the same
   * numbers.
   */
  | {
      readonly state: 'running';
      readonly waited?: boolean;
      readonly steps?: number;
      /** Days that are computed, also in part. */
      readonly daysDone?: number;
      readonly ready?: Pick<KpiJobSummary, 'days' | 'engine' | 'sqlVersion'>;
      readonly logs?: string;
    }
  | { readonly state: 'succeeded'; readonly summary: ObjectRef; readonly logs?: string }
  | { readonly state: 'failed'; readonly message: string; readonly lasting: boolean; readonly logs?: string }
  /** Nobody knows this job any more: the process that did it is gone. It may be started again. */
  | { readonly state: 'lost' };

/** An engine that runs KPI jobs. Running one twice gives the same lake and the same result. */
export interface JobRunner {
  readonly engine: string;
  /** Starts the run's job, or adopts the one that is under way or was done. Gives the job's id. */
  start(job: KpiJob): Promise<JobStart>;
  /** How the job stands; where the engine can tell at once, this waits up to `waitMs` for its end. */
  poll(job: KpiJob, jobRunId: string, waitMs: number): Promise<JobStatus>;
  /** Ends what can be ended when the service stops. A job that lives elsewhere goes on and is adopted again. */
  close(): Promise<void>;
}

/** A new one each time: two replicas that work on one run, when a lease was lost, must not write over each other's. */
export const newSummaryKey = (runId: string): string => `runs/${runId}/summary-${ulid()}.json`;

/** The objects of a job's result, each once. */
export function resultObjects({ days }: Pick<KpiJobSummary, 'days'>): ObjectRef[] {
  return [...new Map(days.map(({ kpis }) => [kpis.key, kpis])).values()];
}

/** The days in an object of a job's result: DuckDB leaves lists of days, Spark one day an object. */
export async function readResult(store: ObjectStore, object: ObjectRef): Promise<DayKpis[]> {
  const kpis = await store.readJson<DayKpis | DayKpis[]>(object);
  return Array.isArray(kpis) ? kpis : [kpis];
}
