import type { Stage } from '@music/events';
import type { RunsTable } from './runs-table';

/** How far a piece of work is. */
export interface Progress {
  readonly done: number;
  readonly of: number;
  readonly unit: 'bytes' | 'days' | 'files';
}

/** As it was last told. */
export interface ToldProgress extends Progress {
  readonly stage: Stage;
  /** ISO 8601, UTC: when the work was begun, and when this was told. */
  readonly startedAt: string;
  readonly at: string;
}

/** How far the pieces of a run's work are, for people: nothing depends on it. */
export class ProgressStore {
  constructor(private readonly table: RunsTable) {}

  /** `part`: the piece of work, of which a stage may have several at once. */
  async tell(runId: string, part: string, progress: ToldProgress): Promise<void> {
    const key = { pk: `run#${runId}`, sk: `progress#${progress.stage}#${part}` };
    await this.table.replace({ ...key, ...progress });
  }

  list(runId: string, stage: Stage): Promise<ToldProgress[]> {
    return this.table.list<ToldProgress>(`run#${runId}`, `progress#${stage}#`);
  }
}
