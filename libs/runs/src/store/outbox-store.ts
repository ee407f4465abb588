import { DeleteCommand, PutCommand, QueryCommand } from '@aws-sdk/lib-dynamodb';
import type { Stage } from '@music/events';
import type { OutboxMessage, OwedMessage } from '../outbox-message';
import { type RunsTable, outboxOf } from './runs-table';

/** DynamoDB takes 100 writes; some are left for the change that messages go with. */
export const MESSAGES_A_TRANSACTION = 90;
const MESSAGES_A_PAGE = 200;

/** What stages owe to topics, and which dead letters were put back. */
export class OutboxStore {
  constructor(private readonly table: RunsTable) {}

  /** Owes messages that go with no other change; more than one transaction holds, by several of them. */
  async owe(stage: Stage, messages: readonly OutboxMessage[]): Promise<void> {
    for (let i = 0; i < messages.length; i += MESSAGES_A_TRANSACTION)
      await this.table.transact(this.table.owing(stage, messages.slice(i, i + MESSAGES_A_TRANSACTION), new Date()));
  }

  /**
   * Has `tell` called with what a stage comes to owe through this store, as soon as it stands in the table; who was told
   * before is so no longer.
   */
  onOwed(stage: Stage, tell: (owed: readonly OwedMessage[]) => void): void {
    this.table.onTransacted = (writes) => {
      const owed = writes.flatMap(({ Put }) =>
        Put?.Item?.['pk'] === outboxOf(stage) ? [Put.Item as OwedMessage] : [],
      );
      if (owed.length > 0) tell(owed);
    };
  }

  /** The oldest that a stage owes, oldest first, and whether there may be more. */
  async page(stage: Stage): Promise<{ readonly owed: OwedMessage[]; readonly more: boolean }> {
    const { Items, LastEvaluatedKey } = await this.table.dynamo.send(
      new QueryCommand({
        TableName: this.table.name,
        KeyConditionExpression: 'pk = :pk',
        ExpressionAttributeValues: { ':pk': outboxOf(stage) },
        ConsistentRead: true,
        Limit: MESSAGES_A_PAGE,
      }),
    );
    return { owed: (Items ?? []) as OwedMessage[], more: LastEvaluatedKey !== undefined };
  }

  async strike(stage: Stage, owed: readonly OwedMessage[]): Promise<void> {
    const { dynamo, name } = this.table;
    await Promise.all(
      owed.map(({ sk }) => dynamo.send(new DeleteCommand({ TableName: name, Key: { pk: outboxOf(stage), sk } }))),
    );
  }

  async isReplayed(topic: string, place: string): Promise<boolean> {
    return (await this.table.get({ pk: `replayed#${topic}`, sk: place })) !== undefined;
  }

  async markReplayed(topic: string, place: string, at: Date): Promise<void> {
    const Item = { pk: `replayed#${topic}`, sk: place, at: at.toISOString() };
    await this.table.dynamo.send(new PutCommand({ TableName: this.table.name, Item }));
  }
}
