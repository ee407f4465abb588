import type { Stage } from '@music/events';
import { type Backlog, type RunStore, waitingSeconds } from '@music/runs';
import type { Metrics } from './metrics';

/** Two numbers of one scrape are of one look. Milliseconds. */
const ONE_LOOK_MS = 1_000;

/** What waits for a stage, of all its replicas: each tells the same, so it is not to be added up over them. */
export function watchBacklog(metrics: Metrics, stage: Stage, runs: RunStore): void {
  let asked = { at: 0, backlog: undefined as Promise<Backlog> | undefined };
  const backlog = (): Promise<Backlog> => {
    if (asked.backlog === undefined || Date.now() - asked.at > ONE_LOOK_MS)
      asked = { at: Date.now(), backlog: runs.work.backlog(stage) };
    return asked.backlog as Promise<Backlog>;
  };
  metrics.gauge(
    'music_work',
    'Pieces of work of the stage, on all replicas alike: waiting, running, delayed (tried again later)',
    ['state'],
    async () => {
      const { waiting, running, delayed } = await backlog();
      return Object.entries({ waiting, running, delayed }).map(([state, n]) => [{ state }, n]);
    },
  );
  metrics.gauge(
    'music_work_oldest_waiting_seconds',
    'Seconds that the piece of work waits that has waited longest, on all replicas alike; 0: none waits',
    [],
    async () => [[{}, waitingSeconds(await backlog(), Date.now())]],
  );
}
