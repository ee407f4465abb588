import { AT_REST, type RunStore } from '@music/runs';
import { type Metrics, oneLook } from './metrics';

const RUNS_LOOKED_AT = 100;

/** What only the table of runs can tell. One stage tells it, so that it is told once. */
export function watchRuns(metrics: Metrics, runs: RunStore): void {
  const newest = oneLook(() => runs.listRuns(RUNS_LOOKED_AT));
  metrics.gauge(
    'music_pending_run_age_seconds',
    'Seconds since the oldest run that has not ended was asked for; 0: there is none',
    [],
    async () => {
      const open = (await newest()).filter(({ state }) => !AT_REST.has(state));
      const oldest = Math.min(...open.map(({ requestedAt }) => Date.parse(requestedAt)));
      return [[{}, open.length === 0 ? 0 : (Date.now() - oldest) / 1_000]];
    },
  );
  metrics.gauge('music_runs_held', 'Runs that checks hold back, until somebody decides', [], async () => [
    [{}, (await runs.standing.list()).held.length],
  ]);
  metrics.gauge(
    'music_last_completed_run_timestamp_seconds',
    'When the newest run that completed was asked for',
    [],
    async () => {
      const completed = (await newest()).find(({ state }) => state === 'completed');
      return completed === undefined ? [] : [[{}, Date.parse(completed.requestedAt) / 1_000]];
    },
  );
}
