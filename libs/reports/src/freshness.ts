import { leavesBy } from '@music/contracts';
import { dateIn } from '@music/events';
import { claimKey, findClaims, TERMINAL } from '@music/runs';
import type { Stores, StoresConfig } from '@music/service';
import type { FoundObject } from '@music/storage';
import { type BacklogRow, backlogs } from './backlogs';
import { type RunRow, runRow } from './run-view';

/** How far the numbers are, and what keeps them from being further. */
export interface Freshness {
  /** ISO 8601, UTC. */
  readonly now: string;
  readonly time_zone: string;
  readonly last_completed_run?: RunRow;
  /** The newest published day, and the newest that is over. */
  readonly newest_day?: FreshDay;
  readonly newest_complete_day?: FreshDay;
  readonly runs_under_way: number;
  /** Stream files that no run has taken, among the first 1,000 objects of the source bucket. */
  readonly files_waiting: number;
  /** Whether there are more objects than were looked at. */
  readonly more_files: boolean;
  /** What stages have accepted and not finished: those that have something to do. */
  readonly work: readonly BacklogRow[];
}

export interface FreshDay {
  readonly date: string;
  readonly version: number;
  readonly computed_at: string;
}

const RUNS_LOOKED_AT = 100;
const OBJECTS_LOOKED_AT = 1_000;
const DAYS_LOOKED_AT = 3;

export async function freshness(stores: Stores, config: StoresConfig, now = new Date()): Promise<Freshness> {
  const [runs, days, waiting, work] = await Promise.all([
    stores.runs.listRuns(RUNS_LOOKED_AT),
    stores.history.newestDays(DAYS_LOOKED_AT),
    filesWaiting(stores, config),
    backlogs(stores),
  ]);
  const completed = runs.find(({ state }) => state === 'completed');
  const today = dateIn(config.kpiTimeZone, now);
  const fresh = days.map(({ date, version, computed_at }) => ({ date, version, computed_at }));
  return {
    now: now.toISOString(),
    time_zone: config.kpiTimeZone,
    last_completed_run: completed === undefined ? undefined : runRow(completed),
    newest_day: fresh[0],
    newest_complete_day: fresh.find(({ date }) => date < today),
    runs_under_way: runs.filter(({ state }) => !TERMINAL.has(state)).length,
    files_waiting: waiting.count,
    more_files: waiting.more,
    work,
  };
}

async function filesWaiting(
  { objects, runs }: Stores,
  { sourceBucket, leaveNames }: StoresConfig,
): Promise<{ count: number; more: boolean }> {
  const leaves = leavesBy(leaveNames);
  const found: FoundObject[] = [];
  let more = false;
  for await (const object of objects.list(sourceBucket, 'streams/')) {
    more = found.length === OBJECTS_LOOKED_AT;
    if (more) break;
    found.push(object);
  }
  const data = found.filter(({ key, size }) => size > 0 && !key.endsWith('/') && leaves(key) === undefined);
  const claims = await findClaims(runs, data, { force: false });
  return { count: data.filter((object) => claims.get(claimKey(object))?.free ?? true).length, more };
}
