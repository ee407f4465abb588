import { STAGES, type Stage } from '@music/events';
import { waitingSeconds } from '@music/runs';
import type { Stores } from '@music/service';
import { number } from './text';

/** What a stage has accepted and not finished, on all its replicas. */
export interface BacklogRow {
  readonly stage: Stage;
  readonly waiting: number;
  readonly running: number;
  /** Put off: tried again later. */
  readonly delayed: number;
  readonly oldest_waiting_seconds: number;
  /** Whether there is more than was counted. */
  readonly is_more: boolean;
}

/** The stages that have something to do, in the order of the data's way. One bounded Query each. */
export async function backlogs({ runs }: Pick<Stores, 'runs'>): Promise<BacklogRow[]> {
  const now = Date.now();
  const all = await Promise.all(
    STAGES.map(async (stage): Promise<BacklogRow> => {
      const backlog = await runs.work.backlog(stage, now);
      const { waiting, running, delayed, isMore: is_more } = backlog;
      const oldest_waiting_seconds = Math.round(waitingSeconds(backlog, now));
      return { stage, waiting, running, delayed, oldest_waiting_seconds, is_more };
    }),
  );
  return all.filter(({ waiting, running, delayed }) => waiting + running + delayed > 0);
}

/** One line for people. */
export function describeBacklogs(rows: readonly BacklogRow[]): string {
  if (rows.length === 0) return 'work: nothing waits';
  return `work: ${rows
    .map(({ stage, waiting, running, delayed, oldest_waiting_seconds, is_more }) => {
      const parts = [
        ...(waiting > 0 ? [`${number(waiting)} waiting, the oldest for ${number(oldest_waiting_seconds)} s`] : []),
        ...(running > 0 ? [`${number(running)} running`] : []),
        ...(delayed > 0 ? [`${number(delayed)} tried again later`] : []),
        ...(is_more ? ['and more'] : []),
      ];
      return `${stage} ${parts.join(', ')}`;
    })
    .join('; ')}`;
}
