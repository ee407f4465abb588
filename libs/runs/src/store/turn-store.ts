import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { AT_REST, type Run } from '../run';
import type { Condition, Key, RunsTable, Write } from './runs-table';

const turnKey = (name: string, slot: number): Key => ({ pk: `turn#${name}`, sk: String(slot) });

const counterKey = (counter: string): Key => ({ pk: `counter#${counter}`, sk: 'counter' });
const turnCounter = (name: string) => `turn-${name}`;

/** The turn to write the lake, of which there is one. Its number is the version of what its run publishes. */
export const LAKE_TURN = 'lake';

/** A slot that a run has to itself, and how the run's taking of it is numbered. */
interface Turn {
  readonly holder: string;
  readonly number: number;
}

/** Turns that runs have one after the other, and counters. */
export class TurnStore {
  constructor(
    private readonly table: RunsTable,
    private readonly runs: {
      findRun(runId: string): Promise<Run | undefined>;
      /** The write that fails where a run is no longer in the state in which it was found. */
      stillIn(run: Run): Write;
    },
  ) {}

  /**
   * Takes one of the turns of a kind for a run, or keeps the one it has. A turn stays with its run until it is given
   * back, or the run has ended or is held. Gives the turn's number, or undefined where all are taken: the same number as long as
   * the run keeps it, a higher one with each new turn. So a run that finds another number than before knows that others
   * had theirs meanwhile.
   */
  async take(name: string, slots: number, runId: string): Promise<number | undefined> {
    for (let slot = 1; slot <= slots; slot += 1) {
      const turn = await this.find(name, slot);
      if (turn?.holder === runId) return turn.number;
      const holder = turn === undefined ? undefined : await this.runs.findRun(turn.holder);
      if (holder !== undefined && !AT_REST.has(holder.state)) continue;
      const number = await this.nextNumber(turnCounter(name));
      const taken = await this.table.transact([
        {
          Put: {
            TableName: this.table.name,
            Item: { ...turnKey(name, slot), holder: runId, number },
            ...unchanged(turn),
          },
        },
        // A holder that has ended may be replayed at this moment: then the turn is still its own.
        ...(holder === undefined ? [] : [this.runs.stillIn(holder)]),
      ]);
      if (taken) return number;
    }
    return undefined;
  }

  /** Ends a run's turn of that number; a later one of the same run goes on. */
  async giveBack(name: string, slots: number, runId: string, number: number): Promise<void> {
    for (let slot = 1; slot <= slots; slot += 1)
      await this.table.delete(turnKey(name, slot), unchanged({ holder: runId, number }));
  }

  /** The writes that end the turn of a run, whatever its number, where it has one now. */
  async lettingGo(name: string, slot: number, runId: string): Promise<Write[]> {
    const turn = await this.find(name, slot);
    if (turn?.holder !== runId) return [];
    return [{ Delete: { TableName: this.table.name, Key: { ...turnKey(name, slot) }, ...unchanged(turn) } }];
  }

  /** Has the numbers of later turns be above this one. */
  async numberAbove(name: string, number: number): Promise<void> {
    await this.table.change({
      Key: { ...counterKey(turnCounter(name)) },
      UpdateExpression: 'SET #value = :number',
      ConditionExpression: 'attribute_not_exists(#value) OR #value < :number',
      ExpressionAttributeNames: { '#value': 'value' },
      ExpressionAttributeValues: { ':number': number },
    });
  }

  /** The next number of a counter, from 1. Numbers may be left out, never given twice. */
  async nextNumber(counter: string): Promise<number> {
    const { Attributes } = await this.table.dynamo.send(
      new UpdateCommand({
        TableName: this.table.name,
        Key: { ...counterKey(counter) },
        UpdateExpression: 'ADD #value :one',
        ExpressionAttributeNames: { '#value': 'value' },
        ExpressionAttributeValues: { ':one': 1 },
        ReturnValues: 'UPDATED_NEW',
      }),
    );
    return Number(Attributes?.['value']);
  }

  private find(name: string, slot: number): Promise<Turn | undefined> {
    return this.table.get<Turn>(turnKey(name, slot));
  }
}

/** That a turn is as it was read. */
function unchanged(turn: Turn | undefined): Condition {
  if (turn === undefined) return { ConditionExpression: 'attribute_not_exists(pk)' };
  return {
    ConditionExpression: 'holder = :holder AND #number = :number',
    ExpressionAttributeNames: { '#number': 'number' },
    ExpressionAttributeValues: { ':holder': turn.holder, ':number': turn.number },
  };
}
