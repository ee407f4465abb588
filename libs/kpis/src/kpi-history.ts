import { type DynamoDBDocumentClient, QueryCommand, paginateQuery } from '@aws-sdk/lib-dynamodb';
import { type DayItem, type GenreItem, TOP_GENRE_PREFIX, type TopGenreItem, genreKey } from './kpi-items';
import { BY_KPI, type KpiTable } from './kpi-table';

/** What of a genre's item says something over time: not the day's lists. */
export type GenreDay = Omit<GenreItem, 'top_3_songs_per_genre' | 'top_5_genres_per_day'>;
const GENRE_DAY: readonly (keyof GenreDay)[] = [
  'date',
  'kpi',
  'genre',
  'listen_count',
  'unique_listeners',
  'total_listening_ms',
  'total_listening_time',
  'avg_listening_time_per_user',
  'version',
];

/**
 * `music_kpis_table` over time, by its index: each question is one Query, however long the history is. Dates are
 * YYYY-MM-DD, both inclusive. The index follows the table within moments.
 */
export class KpiHistory {
  constructor(
    private readonly dynamo: DynamoDBDocumentClient,
    private readonly table: string,
    private readonly kpis: KpiTable,
  ) {}

  /** Published days, ascending. */
  async days(from: string, to: string): Promise<DayItem[]> {
    return (await this.query<DayItem>('day', from, to)).filter(isPublished);
  }

  /** The newest published days, newest first. */
  async newestDays(limit: number): Promise<DayItem[]> {
    const { Items } = await this.dynamo.send(
      new QueryCommand({
        TableName: this.table,
        IndexName: BY_KPI,
        KeyConditionExpression: 'kpi = :day',
        ExpressionAttributeValues: { ':day': 'day' },
        ScanIndexForward: false,
        Limit: limit + 1, // the newest may be claimed and not published yet
      }),
    );
    return ((Items ?? []) as DayItem[]).filter(isPublished).slice(0, limit);
  }

  /** A genre's numbers, one item a day that has it, ascending. */
  async genreDays(genre: string, from: string, to: string): Promise<GenreDay[]> {
    const found = await this.query<GenreDay>(genreKey(genre), from, to, GENRE_DAY);
    return found.filter((item) => item.genre === genre);
  }

  /** The first `limit` (1 to 5) genres of each day: by day, then by rank. One Query a rank. */
  async topGenres(from: string, to: string, limit: number): Promise<TopGenreItem[]> {
    const ranks = Array.from({ length: limit }, (_, i) => `${TOP_GENRE_PREFIX}${i + 1}`);
    const found = await Promise.all(ranks.map((kpi) => this.query<TopGenreItem>(kpi, from, to)));
    const byDay = new Map<string, TopGenreItem[]>();
    for (const item of found.flat()) byDay.set(item.date, [...(byDay.get(item.date) ?? []), item]);
    const days = await Promise.all(
      [...byDay].map(([date, items]) =>
        // Being published, or the index is behind: the table has it as one.
        new Set(items.map(({ version }) => version)).size > 1 ? this.kpis.topGenres(date, limit) : items,
      ),
    );
    return days.flat().sort((a, b) => a.date.localeCompare(b.date) || a.rank - b.rank);
  }

  private async query<T>(kpi: string, from: string, to: string, fields?: readonly string[]): Promise<T[]> {
    const items: T[] = [];
    const input = {
      TableName: this.table,
      IndexName: BY_KPI,
      KeyConditionExpression: 'kpi = :kpi AND #date BETWEEN :from AND :to',
      ExpressionAttributeNames: {
        '#date': 'date',
        ...Object.fromEntries((fields ?? []).map((name) => [`#${name}`, name])),
      },
      ...(fields === undefined ? {} : { ProjectionExpression: fields.map((name) => `#${name}`).join(', ') }),
      ExpressionAttributeValues: { ':kpi': kpi, ':from': from, ':to': to },
    };
    for await (const page of paginateQuery({ client: this.dynamo }, input)) items.push(...((page.Items ?? []) as T[]));
    return items;
  }
}

/** A day that is claimed for its first publishing is not a day yet. */
function isPublished({ version }: Partial<Pick<DayItem, 'version'>>): boolean {
  return version !== undefined;
}
