import { createHash } from 'node:crypto';
import type { DayKpis, GenreKpis, Provenance, TopGenre, TopSong } from './day-kpis';
import { minutes, minutesPerListener } from './listening-time';

/** A delivery that was taken back, and who did so, when and why. */
export interface LeftOutDelivery {
  readonly key: string;
  readonly version: string;
  readonly change: string;
  readonly run_id: string;
  readonly at: string;
  readonly reason: string;
  readonly by?: string;
}

export interface DayItem extends Provenance {
  readonly date: string;
  readonly kpi: 'day';
  readonly listen_count: number;
  readonly unique_listeners: number;
  /** How many. */
  readonly genres: number;
  /** How many deliveries have listens of the day that do not count for them. */
  readonly left_out?: number;
  /** The newest 10 of them. */
  readonly left_out_deliveries?: readonly LeftOutDelivery[];
}

export interface GenreItem extends GenreKpis {
  readonly date: string;
  readonly kpi: string;
  readonly version: number;
  /** Minutes. */
  readonly total_listening_time: number;
  /** Minutes. */
  readonly avg_listening_time_per_user: number;
  readonly top_3_songs_per_genre: readonly Omit<TopSong, 'genre'>[];
  readonly top_5_genres_per_day: readonly TopGenre[];
}

export interface TopGenreItem extends TopGenre {
  readonly date: string;
  readonly kpi: string;
  readonly version: number;
}

/** A song among the first of its genre on a day. It has no item of its own: that of its genre has it. */
export interface TopSongOfDay extends TopSong {
  readonly date: string;
  readonly version: number;
}

const MAX_PART_BYTES = 512; // a sort key takes 1,024

/**
 * A genre as a part of a sort key: `#` separates parts there, so it is escaped; a very long name gives way to its hash.
 */
export function keyPart(genre: string): string {
  const escaped = genre.replaceAll('%', '%25').replaceAll('#', '%23');
  return Buffer.byteLength(escaped) <= MAX_PART_BYTES
    ? escaped
    : `sha256%${createHash('sha256').update(genre).digest('hex')}`;
}

export const genreKey = (genre: string): string => `genre#${keyPart(genre)}`;
export const TOP_GENRE_PREFIX = 'top-genre#';

/** The items of a day but for `day` itself, those that are queried together beside each other. */
export function itemsOf(day: DayKpis, version: number): (GenreItem | TopGenreItem)[] {
  const { date } = day;
  const songsOf = new Map<string, TopSong[]>();
  for (const song of day.top_songs) songsOf.set(song.genre, [...(songsOf.get(song.genre) ?? []), song]);
  return [
    ...day.top_genres.map((top) => ({ date, kpi: `${TOP_GENRE_PREFIX}${top.rank}`, ...top, version })),
    ...day.genres.map((genre) => ({
      date,
      kpi: genreKey(genre.genre),
      ...genre,
      total_listening_time: minutes(genre.total_listening_ms),
      avg_listening_time_per_user: minutesPerListener(genre.total_listening_ms, genre.unique_listeners),
      top_3_songs_per_genre: (songsOf.get(genre.genre) ?? []).map(({ genre: _, ...song }) => song),
      top_5_genres_per_day: day.top_genres,
      version,
    })),
  ];
}

const LEFT_OUT_TOLD = 10;

export function dayItemOf(day: DayKpis, provenance: Provenance, leftOut: readonly LeftOutDelivery[]): DayItem {
  const newest = leftOut.toSorted((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : a.key < b.key ? -1 : 1));
  return {
    date: day.date,
    kpi: 'day',
    listen_count: day.listen_count,
    unique_listeners: day.unique_listeners,
    genres: day.genres.length,
    left_out: leftOut.length,
    left_out_deliveries: newest.slice(0, LEFT_OUT_TOLD),
    ...provenance,
  };
}
