import type { SourceObject } from '@music/runs';

export interface Arriving {
  readonly now: Date;
  /** Files that no run has taken, those that still change as well. */
  readonly files: readonly SourceObject[];
  /** A file has arrived when it has not changed for so many milliseconds. */
  readonly quietMs: number;
  /** A file that has arrived waits no longer than so many milliseconds for others that keep coming. */
  readonly maxWaitMs: number;
  /** So many milliseconds lie between two requests. */
  readonly minIntervalMs: number;
  readonly lastAskedAt: Date | undefined;
}

export type ArrivalPlan =
  | { readonly ask: true; readonly files: number }
  /** `lookInMs`: when to look again at the latest; undefined: when something else arrives. */
  | { readonly ask: false; readonly lookInMs?: number };

/**
 * Whether files that arrived are to ask for a run now. They do once all of them are quiet, so that one delivery is one
 * run, but not later than `maxWaitMs` after the first, and not sooner than `minIntervalMs` after the last request. Pure.
 */
export function planArrival(arriving: Arriving): ArrivalPlan {
  const { files, quietMs, maxWaitMs, minIntervalMs, lastAskedAt } = arriving;
  if (files.length === 0) return { ask: false };
  const now = arriving.now.getTime();
  // By S3's clock, which may be ahead of ours: what changed in our future changed just now.
  const changed = files.map(({ lastModified }) => Math.min(lastModified.getTime(), now)).sort((a, b) => a - b);
  const [first = now] = changed;
  const arrived = changed.filter((at) => now - at >= quietMs).length;
  if (arrived === 0) return { ask: false, lookInMs: first + quietMs - now };
  const quietAt = (changed.at(-1) ?? now) + quietMs;
  const latest = first + maxWaitMs;
  const due = Math.max(Math.min(quietAt, latest), (lastAskedAt?.getTime() ?? -Infinity) + minIntervalMs);
  return due <= now ? { ask: true, files: arrived } : { ask: false, lookInMs: due - now };
}
