import type { WorkItem } from './work-item';

/** What a stage has accepted and not finished, on all its replicas. */
export interface Backlog {
  /** Due, and nobody works on it. */
  readonly waiting: number;
  readonly running: number;
  /** Put off: it failed and is tried again later, or waits for something. */
  readonly delayed: number;
  /** Since when the piece waits that has waited longest; epoch milliseconds. */
  readonly waitingSince?: number;
  /** Whether there is more than was counted. */
  readonly isMore: boolean;
}

/** What of a piece of work tells its state. */
export type WorkState = Pick<WorkItem, 'notBefore' | 'leaseUntil' | 'progressAt'>;

/** Sorts pieces of work by what they do at an instant (epoch milliseconds). Pure. */
export function backlogOf(items: readonly WorkState[], now: number, isMore = false): Backlog {
  const counts = { waiting: 0, running: 0, delayed: 0 };
  let waitingSince: number | undefined;
  for (const { notBefore, leaseUntil, progressAt = 0 } of items) {
    const state = leaseUntil >= now ? 'running' : notBefore > now ? 'delayed' : 'waiting';
    counts[state] += 1;
    // Since it was accepted, or became due, or was left by who worked on it, whichever was last.
    if (state === 'waiting')
      waitingSince = Math.min(waitingSince ?? Infinity, Math.max(progressAt, notBefore, leaseUntil));
  }
  return { ...counts, ...(waitingSince === undefined ? {} : { waitingSince }), isMore };
}

/** How long the piece waits that has waited longest; 0 where none does. Seconds. */
export const waitingSeconds = ({ waitingSince }: Backlog, now: number): number =>
  waitingSince === undefined ? 0 : Math.max(0, now - waitingSince) / 1_000;
