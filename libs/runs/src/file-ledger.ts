import type { FileReason, RowCounts } from '@music/contracts';

/**
 * `taken`: a run works on it. `passed`: its rows count. `rejected`: it is in quarantine. `changed`: it was replaced or
 * removed before it was read, so the run left it. `archived`: it passed and is in the archive.
 */
export type FileState = 'taken' | 'passed' | 'rejected' | 'changed' | 'archived';

/** One version of one stream file: which run took it, and what became of it. */
export interface LedgerEntry {
  readonly key: string;
  readonly version: string;
  readonly runId: string;
  /** Runs that took it before this one. */
  readonly takenBefore?: readonly string[];
  readonly state: FileState;
  readonly sha256?: string;
  /** What it is, for a person: `CSV, delimiter ;`, `JSON lines, gzip`. */
  readonly form?: string;
  readonly reason?: FileReason;
  readonly detail?: string;
  /** Set where the same content was taken before: that file's key and run. */
  readonly copyOf?: string;
  readonly rows?: { readonly read: number; readonly rejected: RowCounts };
  /** Where the archive or the quarantine has it. */
  readonly movedTo?: string;
}
