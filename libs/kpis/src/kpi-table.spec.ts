import { CreateTableCommand, TransactionCanceledException } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, PutCommand, QueryCommand } from '@aws-sdk/lib-dynamodb';
import { LocalStack, localDynamoDB } from '@music/local-stack';
import { type DayKpis, KpiTable, genreKey, keyPart, kpiTable, minutes, minutesPerListener } from './index';

const day = (genres: Record<string, number>, date = '2024-06-25'): DayKpis => {
  const all = Object.entries(genres).map(([genre, listen_count]) => ({
    genre,
    listen_count,
    unique_listeners: 1,
    total_listening_ms: listen_count * 60_000,
  }));
  return {
    date,
    listen_count: all.reduce((sum, { listen_count }) => sum + listen_count, 0),
    unique_listeners: 1,
    genres: all,
    top_genres: all.slice(0, 5).map(({ genre, listen_count }, i) => ({ rank: i + 1, genre, listen_count })),
    top_songs: all.flatMap(({ genre }) =>
      [1, 2, 3].map((rank) => ({ genre, rank, track_id: `t${rank}`, song: 's', artists: 'a', listen_count: 4 - rank })),
    ),
  };
};
const from = (version: number) => ({
  run_id: `r${version}`,
  version,
  computed_at: '2024-06-26T00:00:00Z',
  engine: 'duckdb',
  job_run_id: 'j',
  sql_version: 's',
  songs_version: 'x',
});

describe('music_kpis_table', () => {
  let stack: LocalStack;
  let dynamo: DynamoDBDocumentClient;
  let kpis: KpiTable;
  let n = 0;
  let name: string;
  beforeAll(async () => {
    stack = await LocalStack.start(['dynamodb'], { shared: true });
    dynamo = DynamoDBDocumentClient.from(localDynamoDB(stack.env));
  });
  afterAll(() => stack.stop());
  beforeEach(async () => {
    name = stack.named(`kpis-${(n += 1)}`);
    await dynamo.send(new CreateTableCommand(kpiTable(name)));
    kpis = new KpiTable(dynamo, name);
  });

  it('answers both sample questions in order', async () => {
    expect(await kpis.publish(day({ pop: 9, rock: 5, jazz: 1 }), from(1))).toBe('published');
    expect((await kpis.topGenres('2024-06-25', 2)).map(({ genre }) => genre)).toEqual(['pop', 'rock']);
    expect((await kpis.topSongs('2024-06-25', 'rock', 2)).map(({ rank, track_id }) => [rank, track_id])).toEqual([
      [1, 't1'],
      [2, 't2'],
    ]);
    expect(await kpis.topSongs('2024-06-25')).toHaveLength(9);
    expect(await kpis.readDay('2024-06-25')).toMatchObject({ listen_count: 15, genres: 3, version: 1, run_id: 'r1' });
    expect(await kpis.readDay('2024-06-24')).toBeUndefined();
  });

  it('ranks more genres than the table does', async () => {
    await kpis.publish(day({ a: 1, b: 2, ü: 2, Z: 2, c: 9, d: 8, e: 7 }), from(1));
    expect((await kpis.topGenres('2024-06-25', 7)).map(({ genre }) => genre)).toEqual([
      'c',
      'd',
      'e',
      'Z',
      'b',
      'ü',
      'a',
    ]);
  });

  it('deletes what no longer belongs to a day, and can be repeated', async () => {
    const many = Object.fromEntries(Array.from({ length: 130 }, (_, i) => [`genre ${i}`, 200 - i]));
    await kpis.publish(day({ ...many, gone: 1 }), from(1));
    expect(await kpis.publish(day(many), from(2))).toBe('published');
    expect(await kpis.publish(day(many), from(2))).toBe('published');
    expect(await kpis.genre('2024-06-25', 'gone')).toBeUndefined();
    expect(await kpis.topSongs('2024-06-25', 'gone')).toEqual([]);
    expect((await kpis.genres('2024-06-25')).map(({ version }) => version)).toEqual(Array(130).fill(2));
  });

  it('takes out the items of songs that earlier releases left beside those of genres', async () => {
    const date = '2024-06-25';
    await kpis.publish(day({ pop: 1 }), from(1));
    const Item = { date, kpi: 'top-song#pop#1', genre: 'pop', rank: 1, track_id: 'old', version: 1 };
    await dynamo.send(new PutCommand({ TableName: name, Item }));
    expect((await kpis.topSongs(date)).map(({ track_id }) => track_id)).toEqual(['t1', 't2', 't3']);
    await kpis.publish(day({ pop: 1 }), from(2));
    const { Items = [] } = await dynamo.send(
      new QueryCommand({
        TableName: name,
        KeyConditionExpression: '#date = :date',
        ExpressionAttributeNames: { '#date': 'date' },
        ExpressionAttributeValues: { ':date': date },
      }),
    );
    expect(Items.map(({ kpi }) => kpi as string)).toEqual(['day', 'genre#pop', 'top-genre#1']);
  });

  it('lets no older version in, whenever it wakes up', async () => {
    await kpis.publish(day({ new: 1 }), from(2));
    expect(await kpis.publish(day({ old: 1 }), from(1))).toBe('superseded');
    expect((await kpis.genres('2024-06-25')).map(({ genre }) => genre)).toEqual(['new']);
    const results = await Promise.all(
      [3, 5, 4].map((version) => kpis.publish(day({ [`v${version}`]: 1 }), from(version)).catch(() => 'conflict')),
    );
    expect(results[1]).not.toBe('superseded');
    await kpis.publish(day({ v5: 1 }), from(5));
    expect((await kpis.genres('2024-06-25')).map(({ genre }) => genre)).toEqual(['v5']);
  });

  it('keeps genres apart whose names look like keys', async () => {
    await kpis.publish(
      day({ a: 1, 'a#b': 1, 'a#1': 1, 'a%23b': 1, "x'; DROP TABLE": 1, ['ä'.repeat(2_000)]: 1 }),
      from(1),
    );
    expect(await kpis.topSongs('2024-06-25', 'a')).toHaveLength(3);
    expect(await kpis.topSongs('2024-06-25', 'a#b')).toHaveLength(3);
    expect((await kpis.genre('2024-06-25', 'ä'.repeat(2_000)))?.genre).toBe('ä'.repeat(2_000));
    expect(new Set(['a', 'a#b', 'a%23b'].map(keyPart)).size).toBe(3);
    expect(genreKey('a#b')).toBe('genre#a%23b');
  });

  it('publishes a day that has become empty', async () => {
    await kpis.publish(day({ a: 1 }), from(1));
    await kpis.publish(day({}), from(2));
    expect(await kpis.readDay('2024-06-25')).toMatchObject({ listen_count: 0, genres: 0 });
    expect(await kpis.topGenres('2024-06-25', 5)).toEqual([]);
  });
  it('publishes as slowly as a throttled table lets it, and fails nothing', async () => {
    let throttled = 0;
    const slow = Object.create(dynamo) as DynamoDBDocumentClient;
    slow.send = (async (command: { constructor: { name: string } }) => {
      if (command.constructor.name === 'TransactWriteCommand' && (throttled += 1) % 3 !== 0) {
        const reasons = [{ Code: 'None' }, { Code: throttled % 3 === 1 ? 'ThrottlingError' : 'TransactionConflict' }];
        throw new TransactionCanceledException({ message: 'slow down', $metadata: {}, CancellationReasons: reasons });
      }
      return dynamo.send(command as never);
    }) as never;
    const genres = Object.fromEntries(Array.from({ length: 240 }, (_, i) => [`genre ${i}`, 300 - i]));
    const table = new KpiTable(slow, name);
    expect(await table.publish(day(genres), from(1))).toBe('published');
    expect(throttled).toBeGreaterThan(6);
    expect(await kpis.genres('2024-06-25')).toHaveLength(240);
    const broken = Object.create(dynamo) as DynamoDBDocumentClient;
    broken.send = (async (command: { constructor: { name: string } }) => {
      if (command.constructor.name !== 'TransactWriteCommand') return dynamo.send(command as never);
      const reasons = [{ Code: 'None' }, { Code: 'ValidationError' }];
      throw new TransactionCanceledException({ message: 'no', $metadata: {}, CancellationReasons: reasons });
    }) as never;
    await expect(new KpiTable(broken, name).publish(day(genres), from(2))).rejects.toThrow('no');
  });
});

describe('listening time', () => {
  it('is rounded half up from the exact integers', () => {
    expect(minutes(60_300)).toBe(1.01); // 1.005 min, which a binary fraction would round down
    expect(minutes(60_299)).toBe(1);
    expect(minutes(3_000_000_000_000_300)).toBe(50_000_000_000.01);
    expect(minutesPerListener(120_600, 2)).toBe(1.01);
    expect(minutesPerListener(100_000, 3)).toBe(0.56);
    expect(minutesPerListener(0, 0)).toBe(0);
  });
});
