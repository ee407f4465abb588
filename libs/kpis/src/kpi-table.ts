import { type CreateTableCommandInput, TransactionCanceledException } from '@aws-sdk/client-dynamodb';
import {
  BatchGetCommand,
  type BatchGetCommandOutput,
  type DynamoDBDocumentClient,
  paginateQuery,
  TransactWriteCommand,
  type TransactWriteCommandInput,
  UpdateCommand,
} from '@aws-sdk/lib-dynamodb';
import type { DayKpis, Provenance } from './day-kpis';
import {
  type DayItem,
  type GenreItem,
  type LeftOutDelivery,
  TOP_GENRE_PREFIX,
  type TopGenreItem,
  type TopSongOfDay,
  dayItemOf,
  genreKey,
  itemsOf,
} from './kpi-items';

type Write = NonNullable<TransactWriteCommandInput['TransactItems']>[number];

/** Which publishing may write a day. */
interface Claim {
  readonly claimed_by_version: number;
}

/** Thrown when a day is read again and again while it is being published. Reading it a little later helps. */
export class DayIsBeingPublished extends Error {
  override readonly name = 'DayIsBeingPublished';
}

/** The index that has the table's items the other way round: partition key `kpi`, sort key `date`. */
export const BY_KPI = 'by_kpi';

/**
 * Partition key `date`, sort key `kpi`: each question about a day is one Query; each about one KPI over time is one
 * Query of the index.
 */
export function kpiTable(name: string): CreateTableCommandInput {
  return {
    TableName: name,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: ['date', 'kpi'].map((AttributeName) => ({ AttributeName, AttributeType: 'S' as const })),
    KeySchema: [
      { AttributeName: 'date', KeyType: 'HASH' },
      { AttributeName: 'kpi', KeyType: 'RANGE' },
    ],
    GlobalSecondaryIndexes: [
      {
        IndexName: BY_KPI,
        KeySchema: [
          { AttributeName: 'kpi', KeyType: 'HASH' },
          { AttributeName: 'date', KeyType: 'RANGE' },
        ],
        Projection: { ProjectionType: 'ALL' },
      },
    ],
  };
}

const WRITES_A_TRANSACTION = 99; // DynamoDB takes 100, one is the claim, or the check of it
const READ_ATTEMPTS = 25;
const KEYS_A_CALL = 100;
/**
 * A table that is throttled gives more the longer it is asked: a write is tried for some minutes before its work counts
 * as failed.
 */
const THROTTLED_ATTEMPTS = 40;
const THROTTLED_MS = { first: 50, most: 5_000 };
const THROTTLED = new Set([
  'ProvisionedThroughputExceededException',
  'ThrottlingException',
  'RequestLimitExceeded',
  // Of a write in a transaction.
  'ProvisionedThroughputExceeded',
  'ThrottlingError',
  'TransactionConflict',
]);

/** The table `music_kpis_table`. */
export class KpiTable {
  constructor(
    private readonly dynamo: DynamoDBDocumentClient,
    private readonly table: string,
  ) {}

  /**
   * Publishes a day as a whole: claims it with the first of the new items, writes the others, deletes those that no
   * longer belong, and writes `day` last. Safe to repeat. Gives `superseded` where a publishing with a higher version
   * has claimed the day; every write is bound to the claim, so a process that wakes up late cannot mix its version in.
   * `leftOut`: deliveries with listens of the day that do not count.
   */
  async publish(
    day: DayKpis,
    provenance: Provenance,
    leftOut: readonly LeftOutDelivery[] = [],
  ): Promise<'published' | 'superseded'> {
    const { version } = provenance;
    const items = itemsOf(day, version);
    const puts = items.map((Item) => ({ Put: { TableName: this.table, Item } }));
    const first = puts.splice(0, WRITES_A_TRANSACTION);
    if (!(await this.writeIf({ Update: this.claiming(day.date, version) }, first))) return 'superseded';
    // Beside the writes: whichever of them it sees is kept.
    const [isOurs, found] = await Promise.all([this.writeAllUnderClaim(day.date, version, puts), this.keys(day.date)]);
    const keep = new Set(['day', ...items.map(({ kpi }) => kpi)]);
    const stale = found.filter(({ kpi }) => !keep.has(kpi));
    const deletes = stale.map(({ kpi }) => ({ Delete: { TableName: this.table, Key: { date: day.date, kpi } } }));
    if (!isOurs || !(await this.writeAllUnderClaim(day.date, version, deletes))) return 'superseded';
    return (await this.putDay(dayItemOf(day, provenance, leftOut))) ? 'published' : 'superseded';
  }

  /** The version that claimed a day last, published or not; 0: none did. */
  async claimedVersion(date: string): Promise<number> {
    const [day] = await this.query<Partial<Claim>>(date, 'day');
    return day?.claimed_by_version ?? 0;
  }

  /** The highest version that ever claimed a day; 0: none did. Reads the item of every day. */
  async highestVersion(): Promise<number> {
    let highest = 0;
    const days = paginateQuery(
      { client: this.dynamo },
      {
        TableName: this.table,
        IndexName: BY_KPI,
        KeyConditionExpression: 'kpi = :day',
        ExpressionAttributeValues: { ':day': 'day' },
        ProjectionExpression: 'claimed_by_version',
      },
    );
    for await (const { Items = [] } of days)
      for (const { claimed_by_version = 0 } of Items as Partial<Claim>[])
        highest = Math.max(highest, claimed_by_version);
    return highest;
  }

  /** The day's own item, or undefined where the day was never published. */
  async readDay(date: string): Promise<DayItem | undefined> {
    const [day] = await this.query<DayItem>(date, 'day');
    return day?.version === undefined ? undefined : day;
  }

  /** The items of these days; those that were never published are absent. In no order. */
  async readDays(dates: readonly string[]): Promise<DayItem[]> {
    const found: DayItem[] = [];
    for (let i = 0; i < dates.length; i += KEYS_A_CALL) {
      let keys: Record<string, unknown>[] | undefined = dates
        .slice(i, i + KEYS_A_CALL)
        .map((date) => ({ date, kpi: 'day' }));
      while (keys !== undefined && keys.length > 0) {
        const got: BatchGetCommandOutput = await this.dynamo.send(
          new BatchGetCommand({ RequestItems: { [this.table]: { Keys: keys, ConsistentRead: true } } }),
        );
        found.push(...((got.Responses?.[this.table] ?? []) as DayItem[]).filter((day) => day.version !== undefined));
        keys = got.UnprocessedKeys?.[this.table]?.Keys;
      }
    }
    return found;
  }

  /** The most listened genres of a day, most first; at most 5 are ranked in the table, more are ranked here. */
  async topGenres(date: string, limit: number): Promise<TopGenreItem[]> {
    if (limit <= 5) return (await this.consistent<TopGenreItem>(date, TOP_GENRE_PREFIX)).slice(0, limit);
    const genres = await this.consistent<GenreItem>(date, 'genre#');
    return genres
      .sort((a, b) => b.listen_count - a.listen_count || Buffer.compare(Buffer.from(a.genre), Buffer.from(b.genre)))
      .slice(0, limit)
      .map(({ genre, listen_count, version }, i) => ({
        date,
        kpi: `${TOP_GENRE_PREFIX}${i + 1}`,
        rank: i + 1,
        genre,
        listen_count,
        version,
      }));
  }

  /** The top songs of one genre, or of all genres by key: rank 1 first, at most three a genre. */
  async topSongs(date: string, genre?: string, limit = 3): Promise<TopSongOfDay[]> {
    return (await this.genres(date, genre)).flatMap(({ genre: name, top_3_songs_per_genre: songs, version }) =>
      songs.slice(0, limit).map((song) => ({ date, genre: name, ...song, version })),
    );
  }

  async genre(date: string, genre: string): Promise<GenreItem | undefined> {
    return (await this.query<GenreItem>(date, genreKey(genre))).find(({ kpi }) => kpi === genreKey(genre));
  }

  /** All genres of a day by key, or the one that is named, where it is there. */
  async genres(date: string, genre?: string): Promise<GenreItem[]> {
    if (genre === undefined) return this.consistent<GenreItem>(date, 'genre#');
    const found = await this.genre(date, genre);
    return found === undefined ? [] : [found];
  }

  /** Items that are all of one version; reads again while a publishing is under way. */
  private async consistent<T extends { version: number }>(date: string, prefix: string): Promise<T[]> {
    for (let attempt = 1; attempt <= READ_ATTEMPTS; attempt += 1) {
      const items = await this.query<T>(date, prefix);
      if (new Set(items.map(({ version }) => version)).size <= 1) return items;
      await new Promise((resolve) => setTimeout(resolve, 20 * attempt));
    }
    throw new DayIsBeingPublished(`${date} is being published; ask again in a moment`);
  }

  private claiming(date: string, version: number) {
    return {
      TableName: this.table,
      Key: { date, kpi: 'day' },
      UpdateExpression: 'SET claimed_by_version = :version',
      ConditionExpression: 'attribute_not_exists(claimed_by_version) OR claimed_by_version <= :version',
      ExpressionAttributeValues: { ':version': version },
    };
  }

  private async writeAllUnderClaim(date: string, version: number, writes: readonly Write[]): Promise<boolean> {
    const claim = {
      TableName: this.table,
      Key: { date, kpi: 'day' },
      ConditionExpression: 'claimed_by_version = :version',
      ExpressionAttributeValues: { ':version': version },
    };
    for (let i = 0; i < writes.length; i += WRITES_A_TRANSACTION) {
      if (!(await this.writeIf({ ConditionCheck: claim }, writes.slice(i, i + WRITES_A_TRANSACTION)))) return false;
    }
    return true;
  }

  /** All of these writes, or, where the condition of the first does not hold, none. */
  private async writeIf(first: Write, others: readonly Write[]): Promise<boolean> {
    const command = new TransactWriteCommand({ TransactItems: [first, ...others] });
    try {
      await unhurried(() => this.dynamo.send(command));
      return true;
    } catch (error) {
      if (
        error instanceof TransactionCanceledException &&
        error.CancellationReasons?.[0]?.Code === 'ConditionalCheckFailed'
      )
        return false;
      throw error;
    }
  }

  private async putDay(item: DayItem): Promise<boolean> {
    const { date, kpi, ...fields } = item;
    const names = Object.keys(fields);
    try {
      await this.dynamo.send(
        new UpdateCommand({
          TableName: this.table,
          Key: { date, kpi },
          UpdateExpression: `SET ${names.map((_, i) => `#f${i} = :f${i}`).join(', ')}`,
          ConditionExpression: 'claimed_by_version = :version',
          ExpressionAttributeNames: Object.fromEntries(names.map((name, i) => [`#f${i}`, name])),
          ExpressionAttributeValues: {
            ...Object.fromEntries(Object.values(fields).map((value, i) => [`:f${i}`, value])),
            ':version': item.version,
          },
        }),
      );
      return true;
    } catch (error) {
      if ((error as Error).name === 'ConditionalCheckFailedException') return false;
      throw error;
    }
  }

  /** The sort keys of a day's items. */
  private keys(date: string): Promise<{ kpi: string }[]> {
    return this.query(date, '', { ProjectionExpression: 'kpi' });
  }

  private async query<T>(date: string, prefix = '', more: { ProjectionExpression?: string } = {}): Promise<T[]> {
    const items: T[] = [];
    const input = {
      TableName: this.table,
      ConsistentRead: true,
      ...more,
      ExpressionAttributeNames: { '#date': 'date' },
      ...(prefix === ''
        ? { KeyConditionExpression: '#date = :date', ExpressionAttributeValues: { ':date': date } }
        : {
            KeyConditionExpression: '#date = :date AND begins_with(kpi, :prefix)',
            ExpressionAttributeValues: { ':date': date, ':prefix': prefix },
          }),
    };
    for await (const page of paginateQuery({ client: this.dynamo }, input)) items.push(...((page.Items ?? []) as T[]));
    return items;
  }
}

/** Calls again, ever more slowly, as long as the table is too busy for it. */
async function unhurried<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (attempt === THROTTLED_ATTEMPTS || !isThrottled(error)) throw error;
      const most = Math.min(THROTTLED_MS.most, THROTTLED_MS.first * 2 ** (attempt - 1));
      await new Promise((resolve) => setTimeout(resolve, most * (0.5 + Math.random() / 2)));
    }
  }
}

function isThrottled(error: unknown): boolean {
  if (!(error instanceof TransactionCanceledException)) return THROTTLED.has((error as Error).name);
  const codes = (error.CancellationReasons ?? []).map(({ Code }) => Code ?? 'None').filter((code) => code !== 'None');
  return codes.length > 0 && codes.every((code) => THROTTLED.has(code));
}
