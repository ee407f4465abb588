import { type RunsTable, type Write } from './runs-table';

const PARTITION = 'erased';
const USER = 'user#';
const BEFORE = 'before';
const HASHES_A_TRANSACTION = 100;

/** What is not to come back: users who are forgotten, by the hashes of their ids, and days whose listens have left. */
export interface ErasedState {
  readonly hashes: readonly string[];
  /** Listens of days before it have left the lake, YYYY-MM-DD. */
  readonly before?: string;
}

export class ErasureStore {
  constructor(private readonly table: RunsTable) {}

  async state(): Promise<ErasedState> {
    const items = await this.table.list<{ sk: string; date?: string }>(PARTITION);
    const before = items.find(({ sk }) => sk === BEFORE)?.date;
    return {
      hashes: items.filter(({ sk }) => sk.startsWith(USER)).map(({ sk }) => sk.slice(USER.length)),
      ...(before === undefined ? {} : { before }),
    };
  }

  /** From now on listens of these users are rejected. Safe to repeat. */
  async forget(hashes: readonly string[], runId: string, now = new Date()): Promise<void> {
    for (let i = 0; i < hashes.length; i += HASHES_A_TRANSACTION)
      await this.table.transact(
        hashes.slice(i, i + HASHES_A_TRANSACTION).map((hash): Write => ({
          Put: {
            TableName: this.table.name,
            Item: { pk: PARTITION, sk: `${USER}${hash}`, runId, at: now.toISOString() },
          },
        })),
      );
  }

  /** From now on listens of days before this one are rejected. A day that has been passed stays so. */
  async keepFrom(date: string): Promise<void> {
    await this.table.put(
      { pk: PARTITION, sk: BEFORE, date },
      {
        ConditionExpression: 'attribute_not_exists(pk) OR #date < :date',
        ExpressionAttributeNames: { '#date': 'date' },
        ExpressionAttributeValues: { ':date': date },
      },
    );
  }
}
