import { CreateTableCommand, type DynamoDBClient, PutItemCommand, QueryCommand } from '@aws-sdk/client-dynamodb';
import { LocalStack, localDynamoDB } from '@music/local-stack';
import { ensureTable, pipelineRunsTable } from './pipeline-runs-table';

describe('ensureTable', () => {
  let stack: LocalStack;
  let dynamo: DynamoDBClient;
  beforeAll(async () => {
    stack = await LocalStack.start(['dynamodb'], { shared: true });
    dynamo = localDynamoDB(stack.env);
  });
  afterAll(() => stack.stop());

  it('makes a table that is not there, once', async () => {
    const name = stack.named('new');
    expect(await ensureTable(dynamo, pipelineRunsTable(name))).toEqual([name]);
    expect(await ensureTable(dynamo, pipelineRunsTable(name))).toEqual([]);
  });

  it('adds an index to a table that was made without, filled with what it holds', async () => {
    const TableName = stack.named('old');
    const { GlobalSecondaryIndexes: _, ...without } = pipelineRunsTable(TableName);
    const AttributeDefinitions = without.AttributeDefinitions?.filter(({ AttributeName }) =>
      ['pk', 'sk'].includes(AttributeName ?? ''),
    );
    await dynamo.send(new CreateTableCommand({ ...without, AttributeDefinitions }));
    const Item = {
      pk: { S: 'run#r' },
      sk: { S: 'run' },
      list: { S: 'run' },
      requestedAt: { S: '2026-03-01T00:00:00Z' },
    };
    await dynamo.send(new PutItemCommand({ TableName, Item }));
    // Two set-ups at once: both have the index in the end, and no other. Where the two requests meet, DynamoDB Local
    // takes the second as well, and then both tell that they made it.
    const made = await Promise.all([
      ensureTable(dynamo, pipelineRunsTable(TableName)),
      ensureTable(dynamo, pipelineRunsTable(TableName)),
    ]);
    expect([...new Set(made.flat())]).toEqual([`${TableName}/runs_by_time`]);
    const { Items } = await dynamo.send(
      new QueryCommand({
        TableName,
        IndexName: 'runs_by_time',
        KeyConditionExpression: '#list = :run',
        ExpressionAttributeNames: { '#list': 'list' },
        ExpressionAttributeValues: { ':run': { S: 'run' } },
      }),
    );
    expect(Items).toEqual([Item]);
  });
});
