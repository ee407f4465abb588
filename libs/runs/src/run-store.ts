import { TransactionCanceledException } from '@aws-sdk/client-dynamodb';
import {
  BatchGetCommand,
  type BatchGetCommandOutput,
  DeleteCommand,
  type DynamoDBDocumentClient,
  GetCommand,
  paginateQuery,
  PutCommand,
  QueryCommand,
  TransactWriteCommand,
  type TransactWriteCommandInput,
  UpdateCommand,
} from '@aws-sdk/lib-dynamodb';
import type { Stage } from '@music/events';
import type { LedgerEntry } from './file-ledger';
import type { OutboxMessage, OwedMessage } from './outbox-message';
import { type Batch, type BatchState, type Run, type RunState, TERMINAL, TRANSITIONS } from './run';
import type { WorkItem } from './work-item';

interface StateUpdate {
  readonly UpdateExpression: string;
  readonly ExpressionAttributeNames: Record<string, string>;
  readonly ExpressionAttributeValues: Record<string, unknown>;
}
type Write = NonNullable<TransactWriteCommandInput['TransactItems']>[number];

const runKey = (runId: string) => ({ pk: `run#${runId}`, sk: 'run' });
const batchKey = (runId: string, batch: number) => ({ pk: `run#${runId}`, sk: `batch#${String(batch).padStart(5, '0')}` });
const fileKey = (key: string, version: string) => ({ pk: `file#${key}`, sk: version });
const turnKey = (name: string, slot: number) => ({ pk: `turn#${name}`, sk: String(slot) });
const workKey = (stage: Stage, id: string) => ({ pk: `work#${stage}`, sk: id });

/** The turn to write the lake, of which there is one. Its number is the version of what its run publishes. */
export const LAKE_TURN = 'lake';

/** A slot that a run has to itself, and how the run's taking of it is numbered. */
interface Turn {
  readonly holder: string;
  readonly number: number;
}

/** Where a run is that has, or is to have, its turn: another turn, with another version, is another place. */
export interface RunInTurn {
  readonly state: RunState;
  readonly version: number | undefined;
}

/** What a stage may change of a run besides its state. */
export type RunChanges = Partial<Omit<Run, 'runId' | 'state' | 'stages'>>;

/** The one truth about where runs stand: the table `pipeline_runs`. Every change names the state it expects. */
export class RunStore {
  /** Told of every state that a run moved to through this store, for metrics. */
  onTransition: (state: RunState) => void = () => undefined;

  constructor(
    private readonly dynamo: DynamoDBDocumentClient,
    private readonly table: string,
  ) {}

  // ---- runs

  /** Makes a run, unless there is one of this id. Gives whether it was made. */
  async createRun(run: Pick<Run, 'runId' | 'logicalDate' | 'immediately' | 'force' | 'backfill'>, now: Date): Promise<boolean> {
    const item = { ...runKey(run.runId), ...run, state: 'pending', requestedAt: now.toISOString(), stages: {}, list: 'run' };
    return this.ifCondition(
      this.dynamo.send(new PutCommand({ TableName: this.table, Item: item, ConditionExpression: 'attribute_not_exists(pk)' })),
    );
  }

  async findRun(runId: string): Promise<Run | undefined> {
    const { Item } = await this.dynamo.send(new GetCommand({ TableName: this.table, Key: runKey(runId), ConsistentRead: true }));
    return Item as Run | undefined;
  }

  /** Newest first. */
  async listRuns(limit: number): Promise<Run[]> {
    const { Items } = await this.dynamo.send(
      new QueryCommand({
        TableName: this.table,
        IndexName: 'runs_by_time',
        KeyConditionExpression: '#list = :run',
        ExpressionAttributeNames: { '#list': 'list' },
        ExpressionAttributeValues: { ':run': 'run' },
        ScanIndexForward: false,
        Limit: limit,
      }),
    );
    return (Items ?? []) as Run[];
  }

  /**
   * Moves a run on, together with the messages that the stage owes for it. Gives false, and changes nothing, where the
   * run is no longer where it was, `from`.
   */
  async transition(
    runId: string,
    from: RunState | RunInTurn,
    to: RunState,
    stage: Stage,
    changes: RunChanges = {},
    owes: readonly OutboxMessage[] = [],
    now = new Date(),
  ): Promise<boolean> {
    const expected = typeof from === 'string' ? { state: from } : from;
    if (!TRANSITIONS[expected.state].includes(to)) throw new RangeError(`a run that is ${expected.state} does not become ${to}`);
    const update = this.updateWhere(runKey(runId), { ...changes, state: to }, expected);
    await this.startStage(runId, stage, now);
    const moved = await this.transact([
      { Update: to === 'frozen' ? update : endingStage(update, stage, now) }, // the sensor goes on with what it froze
      ...this.owing(stage, owes, now),
    ]);
    if (moved) this.onTransition(to);
    return moved;
  }

  /** Notes when a stage first worked on a run. */
  async startStage(runId: string, stage: Stage, now = new Date()): Promise<void> {
    await this.ifCondition(
      this.dynamo.send(
        new UpdateCommand({
          TableName: this.table,
          Key: runKey(runId),
          UpdateExpression: 'SET stages.#stage = :times',
          ConditionExpression: 'attribute_exists(pk) AND attribute_not_exists(stages.#stage)',
          ExpressionAttributeNames: { '#stage': stage },
          ExpressionAttributeValues: { ':times': { startedAt: now.toISOString() } },
        }),
      ),
    );
  }

  /** Notes when a stage that works on batches last ended one. */
  async endStage(runId: string, stage: Stage, now = new Date()): Promise<void> {
    await this.ifCondition(
      this.dynamo.send(
        new UpdateCommand({
          TableName: this.table,
          Key: runKey(runId),
          UpdateExpression: 'SET stages.#stage.endedAt = :now',
          ConditionExpression: 'attribute_exists(stages.#stage)',
          ExpressionAttributeNames: { '#stage': stage },
          ExpressionAttributeValues: { ':now': now.toISOString() },
        }),
      ),
    );
  }

  /** Changes what is known of a run in its turn, without moving it on. Gives false where it is no longer there. */
  async updateRun(runId: string, at: RunInTurn, changes: RunChanges): Promise<boolean> {
    return this.ifCondition(this.dynamo.send(new UpdateCommand(this.updateWhere(runKey(runId), changes, at))));
  }

  /**
   * Puts a run that has ended back to the state before a stage, together with the messages that start it, and forgets what
   * that stage and those after it left. A run that is to compute its KPIs again does so in a new turn: no job of the last one
   * is adopted, and no number is published under its version. Gives false where the run has changed meanwhile.
   */
  async reopen(
    runId: string,
    from: RunState,
    to: RunState,
    stages: readonly Stage[],
    stage: Stage,
    owes: readonly OutboxMessage[],
  ): Promise<boolean> {
    const computes = to !== 'published';
    const forgotten = ['reasons', 'failedFrom', 'failedStage', ...(computes ? ['job', 'version', 'days', 'notes'] : [])];
    const turn = computes ? await this.findTurn(LAKE_TURN, 1) : undefined;
    const letGo = turn?.holder === runId ? [{ Delete: { TableName: this.table, Key: turnKey(LAKE_TURN, 1), ...unchangedTurn(turn) } }] : [];
    return this.transact([
      {
        Update: {
          TableName: this.table,
          Key: runKey(runId),
          UpdateExpression: `SET #state = :to REMOVE ${[...forgotten.map((_, i) => `#r${i}`), ...stages.map((_, i) => `stages.#s${i}`)].join(', ')}`,
          ConditionExpression: '#state = :from',
          ExpressionAttributeNames: {
            '#state': 'state',
            ...Object.fromEntries(forgotten.map((name, i) => [`#r${i}`, name])),
            ...Object.fromEntries(stages.map((name, i) => [`#s${i}`, name])),
          },
          ExpressionAttributeValues: { ':from': from, ':to': to },
        },
      },
      ...letGo,
      ...this.owing(stage, owes, new Date()),
    ]);
  }

  // ---- batches

  /** Puts a batch back to a state, and forgets what later ones left. */
  async resetBatch(runId: string, batch: number, to: 'sensed' | 'combined'): Promise<void> {
    const forgotten = [...(to === 'sensed' ? ['evidence'] : []), 'verdict', 'passedFiles', 'rejectedFiles', 'rows', 'unusable'];
    await this.dynamo.send(
      new UpdateCommand({
        TableName: this.table,
        Key: batchKey(runId, batch),
        UpdateExpression: `SET #state = :to REMOVE ${forgotten.map((_, i) => `#r${i}`).join(', ')}`,
        ConditionExpression: 'attribute_exists(pk)',
        ExpressionAttributeNames: { '#state': 'state', ...Object.fromEntries(forgotten.map((name, i) => [`#r${i}`, name])) },
        ExpressionAttributeValues: { ':to': to },
      }),
    );
  }

  /** Makes a batch together with the messages that the stage owes for it, unless it is there. */
  async createBatch(runId: string, batch: number, stage: Stage, owes: readonly OutboxMessage[]): Promise<boolean> {
    return this.transact([
      {
        Put: {
          TableName: this.table,
          Item: { ...batchKey(runId, batch), runId, batch, state: 'sensed' },
          ConditionExpression: 'attribute_not_exists(pk)',
        },
      },
      ...this.owing(stage, owes, new Date()),
    ]);
  }

  async findBatch(runId: string, batch: number): Promise<Batch | undefined> {
    const { Item } = await this.dynamo.send(new GetCommand({ TableName: this.table, Key: batchKey(runId, batch), ConsistentRead: true }));
    return Item as Batch | undefined;
  }

  async listBatches(runId: string): Promise<Batch[]> {
    return this.queryAll<Batch>({
      KeyConditionExpression: 'pk = :pk AND begins_with(sk, :sk)',
      ExpressionAttributeValues: { ':pk': `run#${runId}`, ':sk': 'batch#' },
      ConsistentRead: true,
    });
  }

  async moveBatch(
    runId: string,
    batch: number,
    from: BatchState,
    to: BatchState,
    changes: Partial<Batch>,
    stage: Stage,
    owes: readonly OutboxMessage[] = [],
  ): Promise<boolean> {
    return this.transact([
      { Update: this.updateWhere(batchKey(runId, batch), { ...changes, state: to }, { state: from }) },
      ...this.owing(stage, owes, new Date()),
    ]);
  }

  // ---- the file ledger

  /** The entries of these file versions; those that no run took are absent. */
  async findFiles(files: readonly { key: string; version: string }[]): Promise<Map<string, LedgerEntry>> {
    const found = new Map<string, LedgerEntry>();
    for (let i = 0; i < files.length; i += 100) {
      let keys: Record<string, unknown>[] | undefined = files.slice(i, i + 100).map(({ key, version }) => fileKey(key, version));
      while (keys !== undefined && keys.length > 0) {
        const got: BatchGetCommandOutput = await this.dynamo.send(
          new BatchGetCommand({ RequestItems: { [this.table]: { Keys: keys, ConsistentRead: true } } }),
        );
        for (const item of (got.Responses?.[this.table] ?? []) as LedgerEntry[]) found.set(`${item.key}\n${item.version}`, item);
        keys = got.UnprocessedKeys?.[this.table]?.Keys;
      }
    }
    return found;
  }

  /** Takes a file version for a run, if it is as free as when it was looked up. `holder` is the run that took it before. */
  async takeFile(entry: Pick<LedgerEntry, 'key' | 'version' | 'runId'>, holder: string | undefined): Promise<boolean> {
    return this.ifCondition(
      this.dynamo.send(
        new PutCommand({
          TableName: this.table,
          Item: { ...fileKey(entry.key, entry.version), ...entry, state: 'taken' },
          ConditionExpression: 'attribute_not_exists(pk) OR runId = :me OR runId = :holder',
          ExpressionAttributeValues: { ':me': entry.runId, ':holder': holder ?? entry.runId },
        }),
      ),
    );
  }

  /** Writes what became of a file, as long as it is this run's. */
  async updateFile(key: string, version: string, runId: string, changes: Partial<LedgerEntry>): Promise<boolean> {
    return this.ifCondition(this.dynamo.send(new UpdateCommand(this.updateWhere(fileKey(key, version), changes, { runId }))));
  }

  /** Remembers content by its hash. Gives the file that had it first, as `key (run_id)`, where that is another one. */
  async noteContent(sha256: string, file: { key: string; version: string; runId: string }): Promise<string | undefined> {
    const item = { pk: `content#${sha256}`, sk: 'first', key: file.key, version: file.version, runId: file.runId };
    if (
      await this.ifCondition(
        this.dynamo.send(new PutCommand({ TableName: this.table, Item: item, ConditionExpression: 'attribute_not_exists(pk)' })),
      )
    )
      return undefined;
    const { Item } = await this.dynamo.send(
      new GetCommand({ TableName: this.table, Key: { pk: item.pk, sk: item.sk }, ConsistentRead: true }),
    );
    const same = Item === undefined || (Item['key'] === file.key && Item['version'] === file.version);
    return same ? undefined : `${Item['key']} (${Item['runId']})`;
  }

  // ---- accepted work

  /** Remembers work, unless it is remembered already. */
  async offerWork(stage: Stage, item: Pick<WorkItem, 'id' | 'topic' | 'message' | 'headers'>): Promise<void> {
    await this.ifCondition(
      this.dynamo.send(
        new PutCommand({
          TableName: this.table,
          Item: { ...workKey(stage, item.id), ...item, attempts: 0, claims: 0, notBefore: 0, leaseUntil: 0 },
          ConditionExpression: 'attribute_not_exists(pk)',
        }),
      ),
    );
  }

  async listWork(stage: Stage): Promise<WorkItem[]> {
    return this.queryAll<WorkItem>({
      KeyConditionExpression: 'pk = :pk',
      ExpressionAttributeValues: { ':pk': `work#${stage}` },
      ConsistentRead: true,
    });
  }

  /** Gives the item as it is under the new lease, or undefined where another holds it, it is not due, or it is done. */
  async claimWork(stage: Stage, id: string, owner: string, now: number, leaseMs: number): Promise<WorkItem | undefined> {
    try {
      const { Attributes } = await this.dynamo.send(
        new UpdateCommand({
          TableName: this.table,
          Key: workKey(stage, id),
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

  /** Gives false where the lease was lost. */
  async renewWork(stage: Stage, id: string, owner: string, until: number): Promise<boolean> {
    return this.ifCondition(
      this.dynamo.send(new UpdateCommand(this.updateWhere(workKey(stage, id), { leaseUntil: until }, { leaseOwner: owner }))),
    );
  }

  /** Gives the lease back, to be worked on again from `notBefore` (epoch ms). */
  async releaseWork(
    stage: Stage,
    id: string,
    owner: string,
    next: { notBefore: number; attempts: number; claims: number; lastError?: string },
  ): Promise<boolean> {
    return this.ifCondition(
      this.dynamo.send(new UpdateCommand(this.updateWhere(workKey(stage, id), { ...next, leaseUntil: 0 }, { leaseOwner: owner }))),
    );
  }

  async finishWork(stage: Stage, id: string, owner: string): Promise<boolean> {
    return this.ifCondition(
      this.dynamo.send(
        new DeleteCommand({
          TableName: this.table,
          Key: workKey(stage, id),
          ConditionExpression: 'leaseOwner = :owner',
          ExpressionAttributeValues: { ':owner': owner },
        }),
      ),
    );
  }

  // ---- the outbox

  /** Owes messages that go with no other change. */
  async owe(stage: Stage, messages: readonly OutboxMessage[]): Promise<void> {
    await this.transact(this.owing(stage, messages, new Date()));
  }

  /** What a stage owes, oldest first. */
  async listOwed(stage: Stage, limit = 200): Promise<OwedMessage[]> {
    const { Items } = await this.dynamo.send(
      new QueryCommand({
        TableName: this.table,
        KeyConditionExpression: 'pk = :pk',
        ExpressionAttributeValues: { ':pk': `outbox#${stage}` },
        ConsistentRead: true,
        Limit: limit,
      }),
    );
    return (Items ?? []) as OwedMessage[];
  }

  async strikeOwed(stage: Stage, owed: readonly OwedMessage[]): Promise<void> {
    await Promise.all(
      owed.map(({ sk }) => this.dynamo.send(new DeleteCommand({ TableName: this.table, Key: { pk: `outbox#${stage}`, sk } }))),
    );
  }

  // ---- replayed dead letters

  async isReplayed(topic: string, place: string): Promise<boolean> {
    const { Item } = await this.dynamo.send(
      new GetCommand({ TableName: this.table, Key: { pk: `replayed#${topic}`, sk: place }, ConsistentRead: true }),
    );
    return Item !== undefined;
  }

  async markReplayed(topic: string, place: string, at: Date): Promise<void> {
    await this.dynamo.send(new PutCommand({ TableName: this.table, Item: { pk: `replayed#${topic}`, sk: place, at: at.toISOString() } }));
  }

  // ---- turns and counters

  /**
   * Takes one of the turns of a kind for a run, or keeps the one it has. A turn stays with its run until it is given back or
   * the run has ended. Gives the turn's number, or undefined where all are taken: the same number as long as the run keeps
   * it, a higher one with each new turn. So a run that finds another number than before knows that others had theirs meanwhile.
   */
  async takeTurn(name: string, slots: number, runId: string): Promise<number | undefined> {
    for (let slot = 1; slot <= slots; slot += 1) {
      const turn = await this.findTurn(name, slot);
      if (turn?.holder === runId) return turn.number;
      const holder = turn === undefined ? undefined : await this.findRun(turn.holder);
      if (holder !== undefined && !TERMINAL.has(holder.state)) continue;
      const number = await this.nextNumber(`turn-${name}`);
      const taken = await this.transact([
        { Put: { TableName: this.table, Item: { ...turnKey(name, slot), holder: runId, number }, ...unchangedTurn(turn) } },
        // A holder that has ended may be replayed at this moment: then the turn is still its own.
        ...(holder === undefined ? [] : [this.stillIn(holder)]),
      ]);
      if (taken) return number;
    }
    return undefined;
  }

  /** Ends a run's turn of that number; a later one of the same run goes on. */
  async giveTurnBack(name: string, slots: number, runId: string, number: number): Promise<void> {
    for (let slot = 1; slot <= slots; slot += 1) {
      await this.ifCondition(
        this.dynamo.send(
          new DeleteCommand({
            TableName: this.table,
            Key: turnKey(name, slot),
            ...unchangedTurn({ holder: runId, number }),
          }),
        ),
      );
    }
  }

  private async findTurn(name: string, slot: number): Promise<Turn | undefined> {
    const { Item } = await this.dynamo.send(new GetCommand({ TableName: this.table, Key: turnKey(name, slot), ConsistentRead: true }));
    return Item as Turn | undefined;
  }

  /** The next number of a counter, from 1. Numbers may be left out, never given twice. */
  async nextNumber(counter: string): Promise<number> {
    const { Attributes } = await this.dynamo.send(
      new UpdateCommand({
        TableName: this.table,
        Key: { pk: `counter#${counter}`, sk: 'counter' },
        UpdateExpression: 'ADD #value :one',
        ExpressionAttributeNames: { '#value': 'value' },
        ExpressionAttributeValues: { ':one': 1 },
        ReturnValues: 'UPDATED_NEW',
      }),
    );
    return Number(Attributes?.['value']);
  }

  // ---- inside

  /** Sets every field that has a value, where attributes have the values that are expected; undefined: where they are not there. */
  private updateWhere(key: { pk: string; sk: string }, changes: object, expected: object) {
    const fields = Object.entries(changes).filter(([, value]) => value !== undefined);
    const names = Object.fromEntries(fields.map(([name], i) => [`#f${i}`, name]));
    const values = Object.fromEntries(fields.map(([, value], i) => [`:f${i}`, value]));
    const conditions: [string, unknown][] = Object.entries(expected);
    const expectedNames = Object.fromEntries(conditions.map(([name], i) => [`#e${i}`, name]));
    const expectedValues = Object.fromEntries(conditions.flatMap(([, value], i) => (value === undefined ? [] : [[`:e${i}`, value]])));
    return {
      TableName: this.table,
      Key: key,
      UpdateExpression: `SET ${fields.map((_, i) => `#f${i} = :f${i}`).join(', ')}`,
      ConditionExpression: conditions
        .map(([, value], i) => (value === undefined ? `attribute_not_exists(#e${i})` : `#e${i} = :e${i}`))
        .join(' AND '),
      ExpressionAttributeNames: { ...names, ...expectedNames },
      ExpressionAttributeValues: { ...values, ...expectedValues },
    };
  }

  private stillIn({ runId, state }: Run): Write {
    return {
      ConditionCheck: {
        TableName: this.table,
        Key: runKey(runId),
        ConditionExpression: '#state = :state',
        ExpressionAttributeNames: { '#state': 'state' },
        ExpressionAttributeValues: { ':state': state },
      },
    };
  }

  private owing(stage: Stage, messages: readonly OutboxMessage[], now: Date): Write[] {
    return messages.map((message) => ({
      Put: { TableName: this.table, Item: { pk: `outbox#${stage}`, sk: `${now.toISOString()}#${message.id}`, ...message } },
    }));
  }

  private async transact(writes: Write[]): Promise<boolean> {
    if (writes.length === 0) return true;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.dynamo.send(new TransactWriteCommand({ TransactItems: writes }));
        return true;
      } catch (error) {
        if (!(error instanceof TransactionCanceledException)) throw error;
        const codes = error.CancellationReasons?.map(({ Code }) => Code) ?? [];
        if (codes.includes('ConditionalCheckFailed')) return false;
        if (!codes.includes('TransactionConflict') || attempt === 5) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20 * attempt));
      }
    }
  }

  private async ifCondition(command: Promise<unknown>): Promise<boolean> {
    try {
      await command;
      return true;
    } catch (error) {
      if (isConditionFailure(error)) return false;
      throw error;
    }
  }

  private async queryAll<T>(query: object): Promise<T[]> {
    const items: T[] = [];
    for await (const page of paginateQuery({ client: this.dynamo }, { TableName: this.table, ...query }))
      items.push(...((page.Items ?? []) as T[]));
    return items;
  }
}

function isConditionFailure(error: unknown): boolean {
  return (error as Error).name === 'ConditionalCheckFailedException';
}

/** That a turn is as it was read. */
function unchangedTurn(turn: Turn | undefined) {
  if (turn === undefined) return { ConditionExpression: 'attribute_not_exists(pk)' };
  return {
    ConditionExpression: 'holder = :holder AND #number = :number',
    ExpressionAttributeNames: { '#number': 'number' },
    ExpressionAttributeValues: { ':holder': turn.holder, ':number': turn.number },
  };
}

/** Besides, notes when a stage ended. */
function endingStage<T extends StateUpdate>(update: T, stage: Stage, now: Date): T {
  return {
    ...update,
    UpdateExpression: `${update.UpdateExpression}, stages.#stage.endedAt = :now`,
    ExpressionAttributeNames: { ...update.ExpressionAttributeNames, '#stage': stage },
    ExpressionAttributeValues: { ...update.ExpressionAttributeValues, ':now': now.toISOString() },
  };
}
