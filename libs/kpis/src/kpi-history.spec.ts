import { CreateTableCommand } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, PutCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { LocalStack, localDynamoDB } from '@music/local-stack';
import { type DayKpis, KpiHistory, KpiTable, kpiTable } from './index';

const GENRES = ['pop', 'rock', 'jazz', 'dub', 'folk', '#1 hits'];
const dayOf = (date: string, first = 100): DayKpis => {
  const genres = GENRES.map((genre, i) => ({
    genre,
    listen_count: first - i,
    unique_listeners: 1,
    total_listening_ms: 1,
  }));
  return {
    date,
    listen_count: 1,
    unique_listeners: 1,
    genres,
    top_genres: genres.slice(0, 5).map(({ genre, listen_count }, i) => ({ rank: i + 1, genre, listen_count })),
    top_songs: [],
  };
};
const from = (version: number) => ({
  run_id: 'r',
  version,
  computed_at: '2024-06-26T00:00:00Z',
  engine: 'duckdb',
  job_run_id: 'j',
  sql_version: 's',
  songs_version: 'x',
});

describe('music_kpis_table over time', () => {
  let stack: LocalStack;
  let TableName: string;
  let dynamo: DynamoDBDocumentClient;
  let kpis: KpiTable;
  let history: KpiHistory;
  const calls: string[] = [];

  beforeAll(async () => {
    stack = await LocalStack.start(['dynamodb'], { shared: true });
    TableName = stack.named('kpis');
    const client = localDynamoDB(stack.env);
    client.middlewareStack.add(
      (next, { commandName }) =>
        (args) => {
          calls.push(String(commandName));
          return next(args);
        },
      { step: 'initialize' },
    );
    dynamo = DynamoDBDocumentClient.from(client);
    await client.send(new CreateTableCommand(kpiTable(TableName)));
    kpis = new KpiTable(dynamo, TableName);
    history = new KpiHistory(dynamo, TableName, kpis);
    for (const [i, date] of ['2024-06-24', '2024-06-25', '2024-06-27'].entries())
      await kpis.publish(dayOf(date), from(i + 1));
    // Claimed for its first publishing, and not published.
    await dynamo.send(
      new UpdateCommand({
        TableName,
        Key: { date: '2024-06-28', kpi: 'day' },
        UpdateExpression: 'SET claimed_by_version = :v',
        ExpressionAttributeValues: { ':v': 9 },
      }),
    );
  });
  afterAll(() => stack.stop());
  beforeEach(() => calls.splice(0));

  it('gives published days in one Query', async () => {
    expect((await history.days('2024-06-25', '2024-12-31')).map(({ date, version }) => [date, version])).toEqual([
      ['2024-06-25', 2],
      ['2024-06-27', 3],
    ]);
    expect(calls).toEqual(['QueryCommand']);
  });

  it('gives the newest, not what is only claimed', async () => {
    expect((await history.newestDays(2)).map(({ date }) => date)).toEqual(['2024-06-27', '2024-06-25']);
  });

  it('gives a genre over time in one Query, also one whose name is escaped', async () => {
    for (const genre of ['rock', '#1 hits'])
      expect(
        (await history.genreDays(genre, '2024-06-01', '2024-06-26')).map(({ date, genre: of }) => [date, of]),
      ).toEqual([
        ['2024-06-24', genre],
        ['2024-06-25', genre],
      ]);
    expect(calls).toEqual(['QueryCommand', 'QueryCommand']);
  });

  it('gives the first genres over time in one Query a rank', async () => {
    const found = await history.topGenres('2024-06-24', '2024-06-25', 2);
    expect(found.map(({ date, rank, genre }) => [date, rank, genre])).toEqual([
      ['2024-06-24', 1, 'pop'],
      ['2024-06-24', 2, 'rock'],
      ['2024-06-25', 1, 'pop'],
      ['2024-06-25', 2, 'rock'],
    ]);
    expect(calls).toEqual(['QueryCommand', 'QueryCommand']);
  });

  it('never gives a day of two versions: it waits for the table to be of one', async () => {
    const rank = (n: number, version: number) => ({
      date: '2024-06-27',
      kpi: `top-genre#${n}`,
      rank: n,
      genre: `g${n}`,
      listen_count: 1,
      version,
    });
    await dynamo.send(new PutCommand({ TableName, Item: rank(1, 4) }));
    const reading = history.topGenres('2024-06-27', '2024-06-27', 2);
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const n of [2, 3, 4, 5]) await dynamo.send(new PutCommand({ TableName, Item: rank(n, 4) }));
    expect((await reading).map(({ rank: of, version }) => [of, version])).toEqual([
      [1, 4],
      [2, 4],
    ]);
  });
});
