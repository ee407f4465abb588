import { createHash } from 'node:crypto';
import { type Delivery, type Standing, deliveryKey } from '../standing';
import type { Key, RunsTable, Write } from './runs-table';

const PARTITION = 'standing';
const HELD = 'held#';
/** Named by a hash: a key of S3 and a version are longer together than a sort key may be. */
const standingKey = (delivery: Pick<Delivery, 'key' | 'version'>): Key => ({
  pk: PARTITION,
  sk: createHash('sha256').update(deliveryKey(delivery)).digest('hex'),
});

/** Which deliveries were taken back, and which runs are held: what of the lake does not count. */
export class StandingStore {
  constructor(private readonly table: RunsTable) {}

  /** All deliveries that were ever taken back, and all runs that are held, of whose deliveries none counts meanwhile. */
  async list(): Promise<{ readonly standings: Standing[]; readonly held: string[] }> {
    const items = await this.table.list<Standing & { readonly sk: string; readonly runId?: string }>(PARTITION);
    return {
      standings: items.flatMap(({ sk, key, version, stands, takenBy, dates, turn, notes }) =>
        sk.startsWith(HELD) ? [] : [{ key, version, stands, takenBy, dates, turn, notes }],
      ),
      held: items.flatMap(({ sk, runId }) => (sk.startsWith(HELD) && runId !== undefined ? [runId] : [])),
    };
  }

  /** Writes whether a delivery stands, unless a later turn has. To be called by whoever has the turn to write the lake. */
  set(standing: Standing): Promise<boolean> {
    return this.table.put(
      { ...standingKey(standing), ...standing },
      {
        ConditionExpression: 'attribute_not_exists(turn) OR turn <= :turn',
        ExpressionAttributeValues: { ':turn': standing.turn },
      },
    );
  }

  /** The write by which no delivery of a run counts, to stand beside the change that holds it. */
  holding(runId: string): Write {
    return { Put: { TableName: this.table.name, Item: { pk: PARTITION, sk: `${HELD}${runId}`, runId } } };
  }

  /** They count again. */
  async letGo(runId: string): Promise<void> {
    await this.table.transact([this.lettingGo(runId)]);
  }

  /** The write of `letGo`, to stand beside the change that it belongs to. */
  lettingGo(runId: string): Write {
    return { Delete: { TableName: this.table.name, Key: { pk: PARTITION, sk: `${HELD}${runId}` } } };
  }
}
