import { TransactionCanceledException } from '@aws-sdk/client-dynamodb';
import {
  DeleteCommand,
  type DynamoDBDocumentClient,
  GetCommand,
  paginateQuery,
  PutCommand,
  TransactWriteCommand,
  type TransactWriteCommandInput,
  UpdateCommand,
  type UpdateCommandInput,
} from '@aws-sdk/lib-dynamodb';
import type { Stage } from '@music/events';
import type { OutboxMessage } from '../outbox-message';

export interface Key {
  readonly pk: string;
  readonly sk: string;
}
export type Write = NonNullable<TransactWriteCommandInput['TransactItems']>[number];

/** A condition, with the names and values that it speaks of. */
export interface Condition {
  readonly ConditionExpression: string;
  readonly ExpressionAttributeNames?: Record<string, string>;
  readonly ExpressionAttributeValues?: Record<string, unknown>;
}

/** The partition of what a stage owes. */
export const outboxOf = (stage: Stage): string => `outbox#${stage}`;

const CONFLICT_ATTEMPTS = 5;
const CONFLICT_MS = 20;

/**
 * The table `pipeline_runs`, as its stores use it: every write names what it expects, and gives false where that is not
 * so.
 */
export class RunsTable {
  /** Told of every transaction that took place. */
  onTransacted: (writes: readonly Write[]) => void = () => undefined;

  constructor(
    readonly dynamo: DynamoDBDocumentClient,
    readonly name: string,
  ) {}

  async get<T>(key: Key): Promise<T | undefined> {
    const { Item } = await this.dynamo.send(
      new GetCommand({ TableName: this.name, Key: { ...key }, ConsistentRead: true }),
    );
    return Item as T | undefined;
  }

  /** All items of a partition whose sort keys begin so, in their order. */
  async list<T>(pk: string, sk = ''): Promise<T[]> {
    const items: T[] = [];
    const query = {
      TableName: this.name,
      ConsistentRead: true,
      ...(sk === ''
        ? { KeyConditionExpression: 'pk = :pk', ExpressionAttributeValues: { ':pk': pk } }
        : {
            KeyConditionExpression: 'pk = :pk AND begins_with(sk, :sk)',
            ExpressionAttributeValues: { ':pk': pk, ':sk': sk },
          }),
    };
    for await (const page of paginateQuery({ client: this.dynamo }, query)) items.push(...((page.Items ?? []) as T[]));
    return items;
  }

  put(item: object, condition: Condition): Promise<boolean> {
    return this.ifCondition(
      this.dynamo.send(new PutCommand({ TableName: this.name, Item: { ...item }, ...condition })),
    );
  }

  /** Puts an item in the place of whatever is there: for what no decision depends on. */
  async replace(item: object): Promise<void> {
    await this.dynamo.send(new PutCommand({ TableName: this.name, Item: { ...item } }));
  }

  /** Like `put`, where there is no item of this key. */
  putNew(item: object): Promise<boolean> {
    return this.put(item, { ConditionExpression: 'attribute_not_exists(pk)' });
  }

  /** Sets every field that has a value, where attributes have the values that are expected; see `updateWhere`. */
  update(key: Key, changes: object, expected: object): Promise<boolean> {
    return this.change(this.updateWhere(key, changes, expected));
  }

  change(update: Omit<UpdateCommandInput, 'TableName'>): Promise<boolean> {
    return this.ifCondition(this.dynamo.send(new UpdateCommand({ TableName: this.name, ...update })));
  }

  delete(key: Key, condition: Condition): Promise<boolean> {
    return this.ifCondition(
      this.dynamo.send(new DeleteCommand({ TableName: this.name, Key: { ...key }, ...condition })),
    );
  }

  /** All of these writes, or, where a condition of one does not hold, none. */
  async transact(writes: readonly Write[]): Promise<boolean> {
    if (writes.length === 0) return true;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.dynamo.send(new TransactWriteCommand({ TransactItems: [...writes] }));
        this.onTransacted(writes);
        return true;
      } catch (error) {
        if (!(error instanceof TransactionCanceledException)) throw error;
        const codes = error.CancellationReasons?.map(({ Code }) => Code) ?? [];
        if (codes.includes('ConditionalCheckFailed')) return false;
        if (!codes.includes('TransactionConflict') || attempt === CONFLICT_ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, CONFLICT_MS * attempt));
      }
    }
  }

  /** The writes by which a stage owes messages, to stand beside the change that they belong to. */
  owing(stage: Stage, messages: readonly OutboxMessage[], now: Date): Write[] {
    return messages.map((message) => ({
      Put: {
        TableName: this.name,
        Item: { pk: outboxOf(stage), sk: `${now.toISOString()}#${message.id}`, ...message },
      },
    }));
  }

  /**
   * An update that sets every field that has a value, where attributes have the values that are expected; undefined:
   * where they are not there.
   */
  updateWhere(key: Key, changes: object, expected: object) {
    const fields = Object.entries(changes).filter(([, value]) => value !== undefined);
    const names = Object.fromEntries(fields.map(([name], i) => [`#f${i}`, name]));
    const values = Object.fromEntries(fields.map(([, value], i) => [`:f${i}`, value]));
    const conditions: [string, unknown][] = Object.entries(expected);
    const expectedNames = Object.fromEntries(conditions.map(([name], i) => [`#e${i}`, name]));
    const expectedValues = Object.fromEntries(
      conditions.flatMap(([, value], i) => (value === undefined ? [] : [[`:e${i}`, value]])),
    );
    return {
      TableName: this.name,
      Key: { ...key },
      UpdateExpression: `SET ${fields.map((_, i) => `#f${i} = :f${i}`).join(', ')}`,
      ConditionExpression: conditions
        .map(([, value], i) => (value === undefined ? `attribute_not_exists(#e${i})` : `#e${i} = :e${i}`))
        .join(' AND '),
      ExpressionAttributeNames: { ...names, ...expectedNames },
      ExpressionAttributeValues: { ...values, ...expectedValues },
    };
  }

  async ifCondition(command: Promise<unknown>): Promise<boolean> {
    try {
      await command;
      return true;
    } catch (error) {
      if (isConditionFailure(error)) return false;
      throw error;
    }
  }
}

export function isConditionFailure(error: unknown): boolean {
  return (error as Error).name === 'ConditionalCheckFailedException';
}

/** Whether a transaction was refused for a path that is not there: DynamoDB Local says so of the call, DynamoDB of a write. */
export function isInvalid(error: unknown): boolean {
  if (error instanceof TransactionCanceledException)
    return error.CancellationReasons?.some(({ Code }) => Code === 'ValidationError') === true;
  return (error as Error).name === 'ValidationException';
}
