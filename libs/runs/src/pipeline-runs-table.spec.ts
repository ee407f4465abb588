import { CreateTableCommand, type DynamoDBClient, PutItemCommand, QueryCommand } from '@aws-sdk/client-dynamodb';
import { LocalStack, localDynamoDB } from '@music/local-stack';
import { ensureTable, pipelineRunsTable } from './pipeline-runs-table';

describe('ensureTable', () => {
  let stack: LocalStack;
  let dynamo: DynamoDBClient;
  beforeAll(async () => {
    stack = await LocalStack.start(['dynamodb']);
    dynamo = localDynamoDB(stack.env);
  });
  afterAll(() => stack.stop());

  it('makes a table that is not there, once', async () => {
    expect(await ensureTable(dynamo, pipelineRunsTable('new'))).toEqual(['new']);
    expect(await ensureTable(dynamo, pipelineRunsTable('new'))).toEqual([]);
  });

  it('adds an index to a table that was made without, filled with what it holds', async () => {
    const { GlobalSecondaryIndexes: _, ...without } = pipelineRunsTable('old');
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
    await dynamo.send(new PutItemCommand({ TableName: 'old', Item }));
    // Two set-ups at once: both have the index in the end, and no other. Where the two requests meet, DynamoDB Local
    // takes the second as well, and then both tell that they made it.
    const made = await Promise.all([
      ensureTable(dynamo, pipelineRunsTable('old')),
      ensureTable(dynamo, pipelineRunsTable('old')),
    ]);
    expect([...new Set(made.flat())]).toEqual(['old/runs_by_time']);
    const { Items } = await dynamo.send(
      new QueryCommand({
        TableName: 'old',
        IndexName: 'runs_by_time',
        KeyConditionExpression: '#list = :run',
        ExpressionAttributeNames: { '#list': 'list' },
        ExpressionAttributeValues: { ':run': { S: 'run' } },
      }),
    );
    expect(Items).toEqual([Item]);
  });
});
