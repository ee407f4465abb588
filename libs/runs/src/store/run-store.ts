import { type DynamoDBDocumentClient, QueryCommand } from '@aws-sdk/lib-dynamodb';
import type { RunKind, Stage } from '@music/events';
import type { OutboxMessage } from '../outbox-message';
import { type Run, type RunState, TRANSITIONS } from '../run';
import { type Ask, AskStore } from './ask-store';
import { AskedRunStore } from './asked-run-store';
import { BatchStore } from './batch-store';
import { ErasureStore } from './erasure-store';
import { FileLedgerStore } from './file-ledger-store';
import { OutboxStore } from './outbox-store';
import { ProgressStore } from './progress-store';
import { type Key, RunsTable, type Write, isInvalid } from './runs-table';
import { StandingStore } from './standing-store';
import { LAKE_TURN, TurnStore } from './turn-store';
import { WorkStore } from './work-store';

const runKey = (runId: string): Key => ({ pk: `run#${runId}`, sk: 'run' });

const SET_UP_KEY: Key = { pk: 'pipeline', sk: 'set-up' };

/** A place in the list of runs. */
export type RunPlace = Pick<Run, 'runId' | 'requestedAt'>;

export interface RunsAsked {
  readonly limit: number;
  readonly from?: string;
  readonly to?: string;
  readonly after?: RunPlace;
  readonly where?: { readonly state?: RunState; readonly kind?: RunKind };
}

export interface RunsPage {
  readonly runs: readonly Run[];
  readonly next?: RunPlace;
}

interface StateUpdate {
  readonly UpdateExpression: string;
  readonly ExpressionAttributeNames: Record<string, string>;
  readonly ExpressionAttributeValues: Record<string, unknown>;
}

/** Where a run is that has, or is to have, its turn: another turn, with another version, is another place. */
export interface RunInTurn {
  readonly state: RunState;
  readonly version: number | undefined;
}

/** What a stage may change of a run besides its state. */
export type RunChanges = Partial<Omit<Run, 'runId' | 'state' | 'stages'>>;

/**
 * The one truth about where runs stand: the table `pipeline_runs`, a store a concern. Every change names the state it
 * expects.
 */
export class RunStore {
  /** Told of every state that a run moved to through this store, for metrics. */
  onTransition: (state: RunState, runId: string) => void = () => undefined;

  readonly batches: BatchStore;
  readonly files: FileLedgerStore;
  readonly work: WorkStore;
  readonly outbox: OutboxStore;
  readonly turns: TurnStore;
  readonly progress: ProgressStore;
  readonly arrivals: AskedRunStore;
  readonly expiry: AskedRunStore;
  readonly asks: AskStore;
  readonly standing: StandingStore;
  readonly erasures: ErasureStore;
  private readonly table: RunsTable;

  constructor(dynamo: DynamoDBDocumentClient, table: string) {
    this.table = new RunsTable(dynamo, table);
    this.batches = new BatchStore(this.table);
    this.files = new FileLedgerStore(this.table);
    this.work = new WorkStore(this.table);
    this.outbox = new OutboxStore(this.table);
    this.arrivals = new AskedRunStore(this.table, 'arrivals');
    this.expiry = new AskedRunStore(this.table, 'expiry');
    this.asks = new AskStore(this.table);
    this.standing = new StandingStore(this.table);
    this.erasures = new ErasureStore(this.table);
    this.progress = new ProgressStore(this.table);
    this.turns = new TurnStore(this.table, {
      findRun: (runId) => this.findRun(runId),
      stillIn: (run) => this.stillIn(run),
    });
  }

  /** Makes a run, unless there is one of this id. Gives whether it was made. */
  createRun(
    run: Pick<
      Run,
      'runId' | 'logicalDate' | 'immediately' | 'force' | 'backfill' | 'standing' | 'erasure' | 'requestedBy'
    >,
    now: Date,
  ): Promise<boolean> {
    return this.table.putNew({
      ...runKey(run.runId),
      ...run,
      state: 'pending',
      requestedAt: now.toISOString(),
      stages: {},
      list: 'run',
    });
  }

  /** Notes when the pipeline was set up, once. */
  async noteSetUp(now = new Date()): Promise<void> {
    await this.table.putNew({ ...SET_UP_KEY, at: now.toISOString() });
  }

  /** When the pipeline was set up, ISO 8601, UTC; undefined where nothing has noted it. */
  async setUpAt(): Promise<string | undefined> {
    return (await this.table.get<{ readonly at: string }>(SET_UP_KEY))?.at;
  }

  findRun(runId: string): Promise<Run | undefined> {
    return this.table.get<Run>(runKey(runId));
  }

  /** Newest first. */
  async listRuns(limit: number): Promise<Run[]> {
    return [...(await this.pageOfRuns({ limit })).runs];
  }

  /**
   * Looks at up to `limit` runs, newest first, of those that were asked for within a time (ISO 8601, UTC, both
   * inclusive), from after a place on; gives those that fit `where`, and the place to go on from, where there is one.
   */
  async pageOfRuns({ limit, from = '0', to = '9', after, where = {} }: RunsAsked): Promise<RunsPage> {
    const { state, kind } = where;
    const filters = [
      ...(state === undefined ? [] : ['#state = :state']),
      ...(kind === undefined ? [] : ['begins_with(runId, :kind)']),
    ];
    const { Items, LastEvaluatedKey } = await this.table.dynamo.send(
      new QueryCommand({
        TableName: this.table.name,
        IndexName: 'runs_by_time',
        KeyConditionExpression: '#list = :run AND requestedAt BETWEEN :from AND :to',
        ...(filters.length === 0 ? {} : { FilterExpression: filters.join(' AND ') }),
        ExpressionAttributeNames: { '#list': 'list', ...(state === undefined ? {} : { '#state': 'state' }) },
        ExpressionAttributeValues: {
          ':run': 'run',
          ':from': from,
          ':to': to,
          ...(state === undefined ? {} : { ':state': state }),
          ...(kind === undefined ? {} : { ':kind': `${kind}__` }),
        },
        ScanIndexForward: false,
        Limit: limit,
        ExclusiveStartKey:
          after === undefined ? undefined : { ...runKey(after.runId), list: 'run', requestedAt: after.requestedAt },
      }),
    );
    const last = LastEvaluatedKey as { pk: string; requestedAt: string } | undefined;
    return {
      runs: (Items ?? []) as Run[],
      next: last === undefined ? undefined : { runId: last.pk.slice('run#'.length), requestedAt: last.requestedAt },
    };
  }

  /**
   * Moves a run on, together with the messages that the stage owes for it, and with what else is to be written then.
   * Gives false, and changes nothing, where the run is no longer where it was, `from`.
   */
  async transition(
    runId: string,
    from: RunState | RunInTurn,
    to: RunState,
    stage: Stage,
    changes: RunChanges = {},
    owes: readonly OutboxMessage[] = [],
    besides: readonly Write[] = [],
  ): Promise<boolean> {
    const now = new Date();
    const expected = typeof from === 'string' ? { state: from } : from;
    if (!TRANSITIONS[expected.state].includes(to))
      throw new RangeError(`a run that is ${expected.state} does not become ${to}`);
    const update = this.table.updateWhere(runKey(runId), { ...changes, state: to }, expected);
    const writes = [
      { Update: to === 'frozen' ? update : endingStage(update, stage, now) }, // the sensor goes on with what it froze
      ...besides,
      ...this.table.owing(stage, owes, now),
    ];
    const moved = await this.table.transact(writes).catch(async (error: unknown) => {
      if (!isInvalid(error)) throw error;
      await this.startStage(runId, stage, now); // a stage that never worked on the run has no end to be noted
      return this.table.transact(writes);
    });
    if (moved) this.onTransition(to, runId);
    return moved;
  }

  /** Notes when a stage first worked on a run. */
  async startStage(runId: string, stage: Stage, now = new Date()): Promise<void> {
    await this.table.change({
      Key: { ...runKey(runId) },
      UpdateExpression: 'SET stages.#stage = :times',
      ConditionExpression: 'attribute_exists(pk) AND attribute_not_exists(stages.#stage)',
      ExpressionAttributeNames: { '#stage': stage },
      ExpressionAttributeValues: { ':times': { startedAt: now.toISOString() } },
    });
  }

  /** Notes when a stage that works on batches last ended one. */
  async endStage(runId: string, stage: Stage, now = new Date()): Promise<void> {
    await this.table.change({
      Key: { ...runKey(runId) },
      UpdateExpression: 'SET stages.#stage.endedAt = :now',
      ConditionExpression: 'attribute_exists(stages.#stage)',
      ExpressionAttributeNames: { '#stage': stage },
      ExpressionAttributeValues: { ':now': now.toISOString() },
    });
  }

  /** Changes what is known of a run in its turn, without moving it on. Gives false where it is no longer there. */
  updateRun(runId: string, at: RunInTurn, changes: RunChanges): Promise<boolean> {
    return this.table.update(runKey(runId), changes, at);
  }

  /**
   * Puts a run that has ended back to the state before a stage, together with the messages that start it, and forgets
   * what that stage and those after it left. A run that is to compute its KPIs again does so in a new turn: no job of
   * the last one is adopted, and no number is published under its version. `ask`: what led to it, which does so once.
   * Gives false where the run has changed meanwhile, or it was asked before.
   */
  async reopen(
    runId: string,
    from: RunState,
    to: RunState,
    stages: readonly Stage[],
    stage: Stage,
    owes: readonly OutboxMessage[],
    ask?: Ask,
  ): Promise<boolean> {
    const computes = to !== 'published';
    const forgotten = [
      'reasons',
      'failedFrom',
      'failedStage',
      ...(computes ? ['job', 'version', 'days', 'notes'] : []),
    ];
    const removed = [...forgotten.map((_, i) => `#r${i}`), ...stages.map((_, i) => `stages.#s${i}`)];
    return this.table.transact([
      {
        Update: {
          TableName: this.table.name,
          Key: { ...runKey(runId) },
          UpdateExpression: `SET #state = :to REMOVE ${removed.join(', ')}`,
          ConditionExpression: '#state = :from',
          ExpressionAttributeNames: {
            '#state': 'state',
            ...Object.fromEntries(forgotten.map((name, i) => [`#r${i}`, name])),
            ...Object.fromEntries(stages.map((name, i) => [`#s${i}`, name])),
          },
          ExpressionAttributeValues: { ':from': from, ':to': to },
        },
      },
      ...(computes ? await this.turns.lettingGo(LAKE_TURN, 1, runId) : []),
      ...(ask === undefined ? [] : [this.asks.noting(runId, ask)]),
      ...this.table.owing(stage, owes, new Date()),
    ]);
  }

  /**
   * Holds a run in its turn, with the message that says so: from then on no delivery of it counts for others, and they
   * need not wait for it. Gives false where the run is no longer there.
   */
  hold(runId: string, at: RunInTurn, stage: Stage, changes: RunChanges, owes: OutboxMessage): Promise<boolean> {
    return this.moveHeld(runId, at, 'held', stage, changes, owes, [this.standing.holding(runId)]);
  }

  /**
   * Has a run that was held computed and published in a new turn. Until then no delivery of it counts for others. Gives
   * false where it is not held any more.
   */
  async letHeldGoOn(runId: string, changes: RunChanges, owes: OutboxMessage): Promise<boolean> {
    const run = await this.findRun(runId);
    return this.moveHeld(runId, { state: 'held', version: run?.version }, 'validated', 'glue-trigger', changes, owes, [
      ...(await this.turns.lettingGo(LAKE_TURN, 1, runId)),
    ]);
  }

  /** Ends a run that was held and delivered nothing. Gives false where it is not held any more. */
  async endHeld(runId: string, changes: RunChanges, owes: OutboxMessage): Promise<boolean> {
    const run = await this.findRun(runId);
    return this.moveHeld(runId, { state: 'held', version: run?.version }, 'rejected', 'glue-trigger', changes, owes, [
      this.standing.lettingGo(runId),
    ]);
  }

  private async moveHeld(
    runId: string,
    from: RunInTurn,
    to: RunState,
    stage: Stage,
    changes: RunChanges,
    owes: OutboxMessage,
    writes: readonly Write[],
  ): Promise<boolean> {
    const now = new Date();
    const update = this.table.updateWhere(runKey(runId), { ...changes, state: to }, from);
    const moved = await this.table.transact([
      { Update: endingStage(update, stage, now) },
      ...writes,
      ...this.table.owing(stage, [owes], now),
    ]);
    if (moved) this.onTransition(to, runId);
    return moved;
  }

  private stillIn({ runId, state }: Run): Write {
    return {
      ConditionCheck: {
        TableName: this.table.name,
        Key: { ...runKey(runId) },
        ConditionExpression: '#state = :state',
        ExpressionAttributeNames: { '#state': 'state' },
        ExpressionAttributeValues: { ':state': state },
      },
    };
  }
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
