import type { LedgerEntry } from './file-ledger';

/** A version of a stream file that runs took, and the number it has in the manifest of each of them. */
export interface Delivery {
  readonly key: string;
  readonly version: string;
  readonly takenBy: readonly { readonly runId: string; readonly file: number }[];
}

/** `replace`: a newer version of the key came, with `SAME_NAME=replace`. */
export const STANDING_CHANGES = ['retract', 'restore', 'replace'] as const;
export type StandingChange = (typeof STANDING_CHANGES)[number];

/** A delivery that a run changes, as its manifest names it. */
export interface ChangedDelivery extends Delivery {
  /** The number of the file of this run that replaces it; it does so only where that file passes. */
  readonly replacedBy?: number;
}

/** Who changed whether a delivery stands, when and why. */
export interface StandingNote {
  readonly change: StandingChange | 'discard' | 'undone';
  readonly runId: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly reason: string;
  readonly by?: string;
}

/** A delivery that was taken back at least once. Those without such a record stand. */
export interface Standing extends Delivery {
  readonly stands: boolean;
  /** The days it has listens on, as far as it was in the lake then; YYYY-MM-DD. */
  readonly dates: readonly string[];
  /** The turn to write the lake in which it was changed last. */
  readonly turn: number;
  /** The newest last; no more than 20. */
  readonly notes: readonly StandingNote[];
}

/** What a delivery is found by. */
export const deliveryKey = ({ key, version }: Pick<Delivery, 'key' | 'version'>): string => `${key}\n${version}`;

/** The deliveries that do not stand, by run: the numbers of its files, or all of them. */
export type LeftOut = Readonly<Record<string, readonly number[] | 'all'>>;

export function leftOutOf(standings: readonly Standing[], heldRuns: readonly string[]): LeftOut {
  const leftOut: Record<string, number[] | 'all'> = {};
  for (const { stands, takenBy } of standings) {
    if (stands) continue;
    for (const { runId, file } of takenBy) {
      const files = (leftOut[runId] ??= []);
      if (files !== 'all' && !files.includes(file)) files.push(file);
    }
  }
  for (const runId of heldRuns) leftOut[runId] = 'all';
  return leftOut;
}

/** Whether listens of a file may be in the lake, or may get there. */
export const mayCount = ({ state }: Pick<LedgerEntry, 'state'>): boolean => state !== 'rejected' && state !== 'changed';
