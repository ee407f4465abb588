import {
  type CreateTableCommandInput,
  CreateTableCommand,
  DescribeTableCommand,
  type DynamoDBClient,
  ResourceInUseException,
  ResourceNotFoundException,
  UpdateTableCommand,
  waitUntilTableExists,
} from '@aws-sdk/client-dynamodb';

/**
 * `pipeline_runs`, one table for all that runs know. Items by `pk` / `sk`:
 *
 * | pk | sk | what |
 * | --- | --- | --- |
 * | `run#<run_id>` | `run` | the run |
 * | `run#<run_id>` | `batch#<n>` | a batch |
 * | `run#<run_id>` | `progress#<stage>#<part>` | how far a piece of its work is |
 * | `run#<run_id>` | `ask#<id>` | what somebody asked of it once it had ended |
 * | `file#<key>` | `<version>` | the ledger entry of a file version |
 * | `standing` | `<sha256>` of key and version | a delivery that was taken back, whether it stands now, and who changed it |
 * | `erased` | `user#<hash>`, `before` | users who are forgotten; the day before which listens have left the lake |
 * | `content#<sha256>` | `first` | the first file that had this content |
 * | `work#<stage>` | `<event id>` | work that a stage has accepted, with its lease |
 * | `outbox#<stage>` | `<time>#<event id>` | a message that a stage owes to a topic |
 * | `replayed#<dead-letter topic>` | `<partition>/<offset>` | a dead letter that was put back |
 * | `turn#<name>` | `<slot>` | which run's turn it is |
 * | `arrivals`, `expiry` | `last` | the run that sensors last asked for by themselves |
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

/** How long a table or an index may take to become active: an index is filled from what its table holds. Seconds. */
const MAX_WAIT = { table: 120, index: 3_600 };

/**
 * Creates a table unless it is there, and each of its indexes that a table of before lacks; waits until they can be
 * used. Gives the names of what was created.
 */
export async function ensureTable(dynamo: DynamoDBClient, input: CreateTableCommandInput): Promise<string[]> {
  const { TableName = '' } = input;
  // Looked for first: who may not create tables may call for set-up, too, where they are there.
  if (await isThere(dynamo, TableName)) return ensureIndexes(dynamo, input);
  try {
    await dynamo.send(new CreateTableCommand(input));
  } catch (error) {
    if (error instanceof ResourceInUseException) return ensureIndexes(dynamo, input); // another set-up was faster
    throw error;
  }
  await waitUntilTableExists(
    { client: dynamo, maxWaitTime: MAX_WAIT.table, minDelay: 0.1, maxDelay: 2 },
    { TableName },
  );
  return [TableName];
}

async function isThere(dynamo: DynamoDBClient, TableName: string): Promise<boolean> {
  try {
    await dynamo.send(new DescribeTableCommand({ TableName }));
    return true;
  } catch (error) {
    if (error instanceof ResourceNotFoundException) return false;
    throw error;
  }
}

async function ensureIndexes(dynamo: DynamoDBClient, input: CreateTableCommandInput): Promise<string[]> {
  const { TableName = '', AttributeDefinitions, GlobalSecondaryIndexes = [] } = input;
  const created: string[] = [];
  for (const index of GlobalSecondaryIndexes) {
    if ((await statusOf(dynamo, TableName, index.IndexName)) === undefined) {
      try {
        await dynamo.send(
          new UpdateTableCommand({ TableName, AttributeDefinitions, GlobalSecondaryIndexUpdates: [{ Create: index }] }),
        );
        created.push(`${TableName}/${index.IndexName}`);
      } catch (error) {
        if (!(error instanceof ResourceInUseException)) throw error; // another set-up is creating it
      }
    }
    const deadline = Date.now() + MAX_WAIT.index * 1_000;
    while ((await statusOf(dynamo, TableName, index.IndexName)) !== 'ACTIVE') {
      if (Date.now() > deadline) throw new Error(`index ${index.IndexName} of ${TableName} is still being filled`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  return created;
}

async function statusOf(dynamo: DynamoDBClient, TableName: string, index = ''): Promise<string | undefined> {
  const { Table } = await dynamo.send(new DescribeTableCommand({ TableName }));
  return Table?.GlobalSecondaryIndexes?.find(({ IndexName }) => IndexName === index)?.IndexStatus;
}
