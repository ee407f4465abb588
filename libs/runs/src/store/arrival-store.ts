import type { OutboxMessage } from '../outbox-message';
import type { Key, RunsTable } from './runs-table';

const KEY: Key = { pk: 'arrivals', sk: 'last' };

/** The run that files which arrived last asked for, and when. */
export interface AskedRun {
  readonly runId: string;
  /** ISO 8601, UTC. */
  readonly askedAt: string;
}

/** Which run was last asked for by files that arrived: one for each arrival, however many sensors see it. */
export class ArrivalStore {
  constructor(private readonly table: RunsTable) {}

  last(): Promise<AskedRun | undefined> {
    return this.table.get<AskedRun>(KEY);
  }

  /**
   * Asks for a run: the sensor owes its request in the same step. Gives false, and asks for nothing, where another
   * sensor asked since `last`.
   */
  ask(next: AskedRun, last: AskedRun | undefined, request: OutboxMessage): Promise<boolean> {
    return this.table.transact([
      {
        Put: {
          TableName: this.table.name,
          Item: { ...KEY, ...next },
          ...(last === undefined
            ? { ConditionExpression: 'attribute_not_exists(pk)' }
            : { ConditionExpression: 'runId = :last', ExpressionAttributeValues: { ':last': last.runId } }),
        },
      },
      ...this.table.owing('sensor', [request], new Date(next.askedAt)),
    ]);
  }
}
