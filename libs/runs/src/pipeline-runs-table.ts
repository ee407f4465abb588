import {
  type CreateTableCommandInput,
  CreateTableCommand,
  type DynamoDBClient,
  ResourceInUseException,
  waitUntilTableExists,
} from '@aws-sdk/client-dynamodb';

/**
 * `pipeline_runs`, one table for all that runs know. Items by `pk` / `sk`:
 *
 * | pk | sk | what |
 * | --- | --- | --- |
 * | `run#<run_id>` | `run` | the run |
 * | `run#<run_id>` | `batch#<n>` | a batch |
 * | `file#<key>` | `<version>` | the ledger entry of a file version |
 * | `content#<sha256>` | `first` | the first file that had this content |
 * | `work#<stage>` | `<event id>` | work that a stage has accepted, with its lease |
 * | `outbox#<stage>` | `<time>#<event id>` | a message that a stage owes to a topic |
 * | `replayed#<dead-letter topic>` | `<partition>/<offset>` | a dead letter that was put back |
 * | `turn#<name>` | `<slot>` | which run's turn it is |
 * | `counter#<name>` | `counter` | an ascending number |
 *
 * Index `runs_by_time` (`list`, `requestedAt`) lists runs. Nothing that decides anything reads it, since an index lags
 * behind.
 */
export function pipelineRunsTable(name: string): CreateTableCommandInput {
  return {
    TableName: name,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: ['pk', 'sk', 'list', 'requestedAt'].map((AttributeName) => ({
      AttributeName,
      AttributeType: 'S' as const,
    })),
    KeySchema: [
      { AttributeName: 'pk', KeyType: 'HASH' },
      { AttributeName: 'sk', KeyType: 'RANGE' },
    ],
    GlobalSecondaryIndexes: [
      {
        IndexName: 'runs_by_time',
        KeySchema: [
          { AttributeName: 'list', KeyType: 'HASH' },
          { AttributeName: 'requestedAt', KeyType: 'RANGE' },
        ],
        Projection: { ProjectionType: 'ALL' },
      },
    ],
  };
}

/** Creates a table unless it is there. Gives whether it was created. */
export async function ensureTable(dynamo: DynamoDBClient, input: CreateTableCommandInput): Promise<boolean> {
  try {
    await dynamo.send(new CreateTableCommand(input));
  } catch (error) {
    if (error instanceof ResourceInUseException) return false;
    throw error;
  }
  await waitUntilTableExists(
    { client: dynamo, maxWaitTime: 120, minDelay: 0.1, maxDelay: 2 },
    { TableName: input.TableName },
  );
  return true;
}
