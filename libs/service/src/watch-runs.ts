import { RUN_KINDS, dateIn, runKind, scheduledRunId } from '@music/events';
import { AT_REST, type Run, type RunPlace, type RunStore, endOf } from '@music/runs';
import { type Metrics, oneLook } from './metrics';

const RUNS_LOOKED_AT = 100;

/** So many of the newest are looked at for one that completed; where it is none of these, something is wrong. */
const RUNS_SEARCHED = 1_000;

/** How long a run that did not succeed is told, whatever came after it. */
const TOLD_MS = 3_600_000;

const DAY_MS = 86_400_000;

/** What only the table of runs can tell. One stage tells it, so that it is told once. */
export function watchRuns(metrics: Metrics, runs: RunStore, timeZone: string): void {
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
    'music_runs_not_successful',
    'Runs that are failed or rejected, of the last hour, or with no later one that completed',
    ['state', 'kind'],
    async () => notSuccessful(await newest(), Date.now()),
  );
  metrics.gauge(
    'music_last_completed_run_timestamp_seconds',
    'When the newest run that completed was asked for; when the pipeline was set up, where none has',
    [],
    async () => [[{}, (await lastCompletedAt(runs, await newest())) / 1_000]],
  );
  metrics.gauge(
    'music_daily_run_end_timestamp_seconds',
    'When the newest daily run ended that completed or had nothing to take; when the pipeline was set up, where none did',
    [],
    async () => [[{}, (await dailyRunEndedAt(runs, timeZone)) / 1_000]],
  );
}

/**
 * How many of these runs, newest first, are failed or rejected, and either ended within the last hour or were asked for
 * after the newest that completed: by state and kind, those of which there is none as well.
 */
export function notSuccessful(
  runs: readonly Run[],
  now: number,
): [{ readonly state: string; readonly kind: string }, number][] {
  const completed = runs.findIndex(({ state }) => state === 'completed');
  const told = runs.filter((run, i) => {
    const endedAt = Date.parse(endOf(run) ?? run.requestedAt);
    return i < completed || completed === -1 || now - endedAt < TOLD_MS;
  });
  return ['failed', 'rejected'].flatMap((state) =>
    RUN_KINDS.map((kind): [{ state: string; kind: string }, number] => [
      { state, kind },
      told.filter((run) => run.state === state && runKind(run.runId) === kind).length,
    ]),
  );
}

/** When the newest run that completed was asked for, else when the pipeline was set up; 0: nobody knows. */
async function lastCompletedAt(runs: RunStore, newest: readonly Run[]): Promise<number> {
  const completed = newest.find(({ state }) => state === 'completed');
  if (completed !== undefined) return Date.parse(completed.requestedAt);
  let after: RunPlace | undefined = newest.at(-1);
  for (let looked = newest.length; after !== undefined && looked < RUNS_SEARCHED; looked += RUNS_LOOKED_AT) {
    const page = await runs.pageOfRuns({ limit: RUNS_LOOKED_AT, after, where: { state: 'completed' } });
    const [found] = page.runs;
    if (found !== undefined) return Date.parse(found.requestedAt);
    after = page.next;
  }
  return after === undefined ? setUpAt(runs) : 0;
}

/** When the newest of the last two daily runs ended that completed or had nothing to take, else of the set-up. */
async function dailyRunEndedAt(runs: RunStore, timeZone: string): Promise<number> {
  for (const days of [1, 2]) {
    const run = await runs.findRun(scheduledRunId(dateIn(timeZone, new Date(Date.now() - days * DAY_MS))));
    if (run !== undefined && ['completed', 'skipped'].includes(run.state))
      return Date.parse(endOf(run) ?? run.requestedAt);
  }
  return setUpAt(runs);
}

/** 0: nobody knows. */
async function setUpAt(runs: RunStore): Promise<number> {
  const at = await runs.setUpAt();
  return at === undefined ? 0 : Date.parse(at);
}
