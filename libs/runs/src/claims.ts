import type { FileState, LedgerEntry } from './file-ledger';
import { versionOf } from './manifest';
import { type Run, TERMINAL } from './run';
import type { RunStore } from './store/run-store';

/** An object of the source bucket, as a listing shows it. */
export interface SourceObject {
  readonly bucket: string;
  readonly key: string;
  readonly etag: string;
  readonly size: number;
  readonly lastModified: Date;
}

/** Who took a version of a file before, and what became of it. */
export interface Claim {
  readonly runId: string;
  /** All runs that took it, that one last. */
  readonly takenBy: readonly string[];
  readonly state: FileState;
  /** Whether that run ended without using the file, so that another may take it. */
  readonly free: boolean;
  /** Whether that run failed, and may be told to go on. */
  readonly failed: boolean;
  readonly reason?: string;
}

/** What an object's claim is found by. */
export const claimKey = ({ key, etag }: Pick<SourceObject, 'key' | 'etag'>): string => `${key}\n${etag}`;

/** Who took these versions of the files before. With `force` whatever a run that has ended took is free. */
export async function findClaims(
  runs: RunStore,
  objects: readonly SourceObject[],
  { force }: { readonly force: boolean },
): Promise<Map<string, Claim>> {
  const versioned = objects.map((object) => ({ object, key: object.key, version: versionOf(object) }));
  const entries = await runs.files.find(versioned);
  const states = new Map<string, Promise<Run | undefined>>();
  const claims = new Map<string, Claim>();
  for (const { object, key, version } of versioned) {
    const entry = entries.get(`${key}\n${version}`);
    if (entry === undefined) continue;
    if (!states.has(entry.runId)) states.set(entry.runId, runs.findRun(entry.runId));
    const holder = await states.get(entry.runId);
    const ended = holder === undefined || TERMINAL.has(holder.state);
    // Still taken by a run that completed: a second sensor took it for a manifest that the run did not get.
    const unused = entry.state === 'taken' || (entry.state === 'passed' && holder?.state !== 'completed');
    const free = entry.state === 'changed' || (ended && (force || unused));
    claims.set(claimKey(object), {
      runId: entry.runId,
      takenBy: takersOf(entry),
      state: entry.state,
      free,
      failed: holder?.state === 'failed',
      reason: entry.reason,
    });
  }
  return claims;
}

/** The runs that took a version of a file, the last one last. */
export const takersOf = ({ takenBefore = [], runId }: Pick<LedgerEntry, 'takenBefore' | 'runId'>): string[] => [
  ...takenBefore,
  runId,
];
