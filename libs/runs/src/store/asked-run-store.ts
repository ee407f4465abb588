import type { OutboxMessage } from '../outbox-message';
import type { Key, RunsTable } from './runs-table';

/** The run that was last asked for, and when. */
export interface AskedRun {
  readonly runId: string;
  /** ISO 8601, UTC. */
  readonly askedAt: string;
}

/**
 * Which run the sensors last asked for by themselves, for one reason: one run for each occasion, however many sensors
 * see it.
 */
export class AskedRunStore {
  private readonly key: Key;

  constructor(
    private readonly table: RunsTable,
    reason: 'arrivals' | 'expiry',
  ) {
    this.key = { pk: reason, sk: 'last' };
  }

  last(): Promise<AskedRun | undefined> {
    return this.table.get<AskedRun>(this.key);
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
          Item: { ...this.key, ...next },
          ...(last === undefined
            ? { ConditionExpression: 'attribute_not_exists(pk)' }
            : { ConditionExpression: 'runId = :last', ExpressionAttributeValues: { ':last': last.runId } }),
        },
      },
      ...this.table.owing('sensor', [request], new Date(next.askedAt)),
    ]);
  }
}
