import type { RerunStage } from '@music/events';
import { type Key, type RunsTable, type Write } from './runs-table';

/** Something that somebody asked of a run once it had ended. */
export interface Ask {
  readonly id: string;
  readonly what: 'rerun' | 'replay';
  readonly by: string;
  /** ISO 8601, UTC: when it was carried out. */
  readonly at: string;
  readonly fromStage?: RerunStage;
  /** How many dead letters were put back. */
  readonly replayed?: number;
  /** Why it was not carried out. */
  readonly refused?: string;
}

const askKey = (runId: string, id: string): Key => ({ pk: `run#${runId}`, sk: `ask#${id}` });

/** What was asked of runs that had ended: each id once. */
export class AskStore {
  constructor(private readonly table: RunsTable) {}

  find(runId: string, id: string): Promise<Ask | undefined> {
    return this.table.get<Ask>(askKey(runId, id));
  }

  list(runId: string): Promise<Ask[]> {
    return this.table.list<Ask>(`run#${runId}`, 'ask#');
  }

  /** Notes what was carried out, or refused. Gives false where that was noted before. */
  note(runId: string, ask: Ask): Promise<boolean> {
    return this.table.putNew({ ...askKey(runId, ask.id), ...ask });
  }

  /** The write of `note`, to stand beside the change that it belongs to. */
  noting(runId: string, ask: Ask): Write {
    return {
      Put: {
        TableName: this.table.name,
        Item: { ...askKey(runId, ask.id), ...ask },
        ConditionExpression: 'attribute_not_exists(pk)',
      },
    };
  }
}
