/** What a run that forgets users did, and what it could not: without an id. */
export interface ErasureReport {
  readonly runId: string;
  readonly users: number;
  /** ISO 8601, UTC. */
  readonly at: string;
  /** Listens that left the lake. */
  readonly listens: number;
  /** The days that were computed again, ascending. */
  readonly dates: readonly string[];
  readonly objects: { readonly rewritten: readonly string[]; readonly deleted: readonly string[] };
  /** Archived files that hold listens of these users, by what the lake knew: they cannot be rewritten. */
  readonly archived: readonly ArchivedFile[];
  /** What else holds, or may hold, these users, and why it was left. */
  readonly left: readonly { readonly object: string; readonly why: string }[];
}

export interface ArchivedFile {
  /** s3://bucket/key. */
  readonly object: string;
  readonly key: string;
  readonly version: string;
  readonly deleted: boolean;
}

/** Where a run's report is in the lake bucket. */
export const erasureReportKey = (runId: string): string => `erasures/${runId}/report.json`;

/** Where the hashes are that a run is to forget. */
export const erasureHashesKey = (id: string): string => `erasures/hashes-${id}.json`;

/** What of a report is still there to be seen to. */
export const leftOf = ({ archived, left }: ErasureReport): number =>
  archived.filter(({ deleted }) => !deleted).length + left.length;
