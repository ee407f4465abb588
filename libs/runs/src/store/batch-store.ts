import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { Stage } from '@music/events';
import type { OutboxMessage } from '../outbox-message';
import type { Batch, BatchState } from '../run';
import type { Key, RunsTable } from './runs-table';

const batchKey = (runId: string, batch: number): Key => ({
  pk: `run#${runId}`,
  sk: `batch#${String(batch).padStart(5, '0')}`,
});

/** The batches of runs. */
export class BatchStore {
  constructor(private readonly table: RunsTable) {}

  /** Makes a batch together with the messages that the stage owes for it, unless it is there. */
  create(runId: string, batch: number, stage: Stage, owes: readonly OutboxMessage[]): Promise<boolean> {
    const Put = { ...this.making(runId, batch).Put, ConditionExpression: 'attribute_not_exists(pk)' };
    return this.table.transact([{ Put }, ...this.table.owing(stage, owes, new Date())]);
  }

  /** The write that makes a batch, in the place of one that is there. */
  making(runId: string, batch: number) {
    const Item = { ...batchKey(runId, batch), runId, batch, state: 'sensed' };
    return { Put: { TableName: this.table.name, Item } };
  }

  find(runId: string, batch: number): Promise<Batch | undefined> {
    return this.table.get<Batch>(batchKey(runId, batch));
  }

  list(runId: string): Promise<Batch[]> {
    return this.table.list<Batch>(`run#${runId}`, 'batch#');
  }

  move(
    runId: string,
    batch: number,
    from: BatchState,
    to: BatchState,
    changes: Partial<Batch>,
    stage: Stage,
    owes: readonly OutboxMessage[] = [],
  ): Promise<boolean> {
    return this.table.transact([
      { Update: this.table.updateWhere(batchKey(runId, batch), { ...changes, state: to }, { state: from }) },
      ...this.table.owing(stage, owes, new Date()),
    ]);
  }

  /** Has a batch name other objects than before, of the same listens but for those that were erased. */
  refer(runId: string, batch: number, changes: Pick<Batch, 'evidence' | 'verdict'>): Promise<boolean> {
    return this.table.update(batchKey(runId, batch), changes, { batch });
  }

  /** Puts a batch back to a state, and forgets what later ones left. Throws where there is no such batch. */
  async reset(runId: string, batch: number, to: 'sensed' | 'combined'): Promise<void> {
    const forgotten = [
      ...(to === 'sensed' ? ['evidence'] : []),
      'verdict',
      'passedFiles',
      'rejectedFiles',
      'rows',
      'unusable',
    ];
    await this.table.dynamo.send(
      new UpdateCommand({
        TableName: this.table.name,
        Key: { ...batchKey(runId, batch) },
        UpdateExpression: `SET #state = :to REMOVE ${forgotten.map((_, i) => `#r${i}`).join(', ')}`,
        ConditionExpression: 'attribute_exists(pk)',
        ExpressionAttributeNames: {
          '#state': 'state',
          ...Object.fromEntries(forgotten.map((name, i) => [`#r${i}`, name])),
        },
        ExpressionAttributeValues: { ':to': to },
      }),
    );
  }
}
