import { QueryCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import type { Stage } from '@music/events';
import { type Backlog, type WorkState, backlogOf } from '../backlog';
import type { WorkItem } from '../work-item';
import { type Key, type RunsTable, isConditionFailure } from './runs-table';

const workKey = (stage: Stage, id: string): Key => ({ pk: `work#${stage}`, sk: id });

/** More pieces than this are not counted: whoever asks how much there is knows by then that it is much. */
const COUNTED = 500;

/** What stages have accepted and not finished, and who works on it. */
export class WorkStore {
  constructor(private readonly table: RunsTable) {}

  /**
   * Remembers work, and, where a lease is named, claims it in the same step. Gives the item, or undefined where it was
   * remembered already: then nothing changes.
   */
  async offer(
    stage: Stage,
    item: Pick<WorkItem, 'id' | 'topic' | 'message' | 'headers'>,
    lease?: { readonly owner: string; readonly until: number },
  ): Promise<WorkItem | undefined> {
    const fresh: WorkItem = {
      ...item,
      attempts: 0,
      notBefore: 0,
      progressAt: Date.now(),
      ...(lease === undefined
        ? { claims: 0, leaseUntil: 0 }
        : { claims: 1, leaseUntil: lease.until, leaseOwner: lease.owner }),
    };
    return (await this.table.putNew({ ...workKey(stage, item.id), ...fresh })) ? fresh : undefined;
  }

  list(stage: Stage): Promise<WorkItem[]> {
    return this.table.list<WorkItem>(`work#${stage}`);
  }

  /** One Query of one page, eventually consistent: cheap to ask, and good for looking at, not for deciding by. */
  async backlog(stage: Stage, now = Date.now()): Promise<Backlog> {
    const { Items = [], LastEvaluatedKey } = await this.table.dynamo.send(
      new QueryCommand({
        TableName: this.table.name,
        KeyConditionExpression: 'pk = :pk',
        ExpressionAttributeValues: { ':pk': `work#${stage}` },
        ProjectionExpression: 'notBefore, leaseUntil, progressAt',
        Limit: COUNTED,
      }),
    );
    return backlogOf(Items as WorkState[], now, LastEvaluatedKey !== undefined);
  }

  /** Gives the item as it is under the new lease, or undefined where another holds it, it is not due, or it is done. */
  async claim(stage: Stage, id: string, owner: string, now: number, leaseMs: number): Promise<WorkItem | undefined> {
    try {
      const { Attributes } = await this.table.dynamo.send(
        new UpdateCommand({
          TableName: this.table.name,
          Key: { ...workKey(stage, id) },
          ReturnValues: 'ALL_NEW',
          UpdateExpression: 'SET leaseOwner = :owner, leaseUntil = :until ADD claims :one',
          ConditionExpression: 'attribute_exists(pk) AND leaseUntil < :now AND notBefore <= :now',
          ExpressionAttributeValues: { ':owner': owner, ':until': now + leaseMs, ':now': now, ':one': 1 },
        }),
      );
      return Attributes as WorkItem;
    } catch (error) {
      if (isConditionFailure(error)) return undefined;
      throw error;
    }
  }

  /** Gives false where the lease was lost. Tells, too, when the work last got on. */
  renew(stage: Stage, id: string, owner: string, until: number, progressAt: number): Promise<boolean> {
    return this.table.update(workKey(stage, id), { leaseUntil: until, progressAt }, { leaseOwner: owner });
  }

  /** Gives the lease back, to be worked on again from `notBefore` (epoch ms). */
  release(
    stage: Stage,
    id: string,
    owner: string,
    next: Pick<WorkItem, 'notBefore' | 'attempts' | 'claims' | 'lastError' | 'progressAt'>,
  ): Promise<boolean> {
    return this.table.update(workKey(stage, id), { ...next, leaseUntil: 0 }, { leaseOwner: owner });
  }

  finish(stage: Stage, id: string, owner: string): Promise<boolean> {
    return this.table.delete(workKey(stage, id), {
      ConditionExpression: 'leaseOwner = :owner',
      ExpressionAttributeValues: { ':owner': owner },
    });
  }
}
