import type { Stage } from '@music/events';
import { type RunStore, waitingSeconds } from '@music/runs';
import { type Metrics, oneLook } from './metrics';

/** What waits for a stage, of all its replicas: each tells the same, so it is not to be added up over them. */
export function watchBacklog(metrics: Metrics, stage: Stage, runs: RunStore): void {
  const backlog = oneLook(() => runs.work.backlog(stage));
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
