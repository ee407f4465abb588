import type { KpiTable } from '@music/kpis';
import { byGenre } from './day-report';

/** What can be taken home: one row a day, one a genre and day, or one a top song, genre and day. */
export const EXPORTS = ['days', 'genres', 'songs'] as const;
export type Export = (typeof EXPORTS)[number];

type ColumnType = 'date' | 'text' | 'count' | 'minutes' | 'instant';
export type ExportRow = Readonly<Record<string, string | number>>;

/** The columns of each, in order, with the names that the API gives them. Minutes are rounded to 0.01. */
export const EXPORT_COLUMNS = {
  days: {
    date: 'date',
    listen_count: 'count',
    unique_listeners: 'count',
    genre_count: 'count',
    version: 'count',
    computed_at: 'instant',
    run_id: 'text',
    engine: 'text',
    sql_version: 'text',
    songs_version: 'text',
  },
  genres: {
    date: 'date',
    genre: 'text',
    listen_count: 'count',
    unique_listeners: 'count',
    total_listening_ms: 'count',
    total_listening_minutes: 'minutes',
    avg_listening_minutes_per_user: 'minutes',
    version: 'count',
  },
  songs: {
    date: 'date',
    genre: 'text',
    rank: 'count',
    track_id: 'text',
    song: 'text',
    artists: 'text',
    listen_count: 'count',
    version: 'count',
  },
} as const satisfies Record<Export, Record<string, ColumnType>>;

const DAY_MS = 86_400_000;
const DAYS_AT_ONCE = 100;

/**
 * The KPIs from a day to another one, both included, as they stand in `music_kpis_table`: by day, a day's genres by
 * name. All rows of a day are of one version. Days that were never published have none. Holds one day at a time.
 */
export async function* exportKpis(kpis: KpiTable, from: string, to: string, what: Export): AsyncGenerator<ExportRow> {
  for (const dates of chunks(from, to)) {
    const days = (await kpis.readDays(dates)).toSorted((a, b) => (a.date < b.date ? -1 : 1));
    for (const { genres, ...day } of days) {
      const rows = what === 'days' ? [{ ...day, genre_count: genres }] : await OF_DAY[what](kpis, day.date);
      for (const row of rows) yield picked(what, row);
    }
  }
}

const OF_DAY = {
  genres: async (kpis: KpiTable, date: string) =>
    (await kpis.genres(date)).toSorted(byGenre).map((genre) => ({
      ...genre,
      total_listening_minutes: genre.total_listening_time,
      avg_listening_minutes_per_user: genre.avg_listening_time_per_user,
    })),
  songs: async (kpis: KpiTable, date: string) =>
    (await kpis.topSongs(date)).toSorted((a, b) => byGenre(a, b) || a.rank - b.rank),
};

function picked(what: Export, row: object): ExportRow {
  const values = row as Record<string, string | number>;
  return Object.fromEntries(Object.keys(EXPORT_COLUMNS[what]).map((column) => [column, values[column] ?? '']));
}

function* chunks(from: string, to: string): Generator<string[]> {
  const last = Date.parse(to);
  for (let first = Date.parse(from); first <= last; first += DAYS_AT_ONCE * DAY_MS)
    yield Array.from({ length: Math.min(DAYS_AT_ONCE, (last - first) / DAY_MS + 1) }, (_, i) =>
      new Date(first + i * DAY_MS).toISOString().slice(0, 10),
    );
}
