import type { GenreItem, KpiTable, TopGenre, TopSong } from '@music/kpis';

export interface GenreReport extends Pick<
  GenreItem,
  | 'genre'
  | 'listen_count'
  | 'unique_listeners'
  | 'total_listening_ms'
  | 'total_listening_time'
  | 'avg_listening_time_per_user'
> {
  readonly top_songs: readonly Omit<TopSong, 'genre'>[];
}

/** All KPIs of a day, for programs. Times are minutes. */
export interface DayReport {
  readonly date: string;
  readonly listen_count: number;
  readonly unique_listeners: number;
  readonly run_id: string;
  readonly version: number;
  readonly computed_at: string;
  readonly genres: readonly GenreReport[];
  readonly top_genres: readonly TopGenre[];
}

/** A day read back from `music_kpis_table`, genres by name. Undefined where the day was never published. */
export async function dayReport(kpis: KpiTable, date: string): Promise<DayReport | undefined> {
  const day = await kpis.readDay(date);
  if (day === undefined) return undefined;
  const [genres, topGenres] = await Promise.all([kpis.genres(date), kpis.topGenres(date, 5)]);
  return {
    date,
    listen_count: day.listen_count,
    unique_listeners: day.unique_listeners,
    run_id: day.run_id,
    version: day.version,
    computed_at: day.computed_at,
    genres: genres.toSorted(byGenre).map((item) => ({
      genre: item.genre,
      listen_count: item.listen_count,
      unique_listeners: item.unique_listeners,
      total_listening_ms: item.total_listening_ms,
      total_listening_time: item.total_listening_time,
      avg_listening_time_per_user: item.avg_listening_time_per_user,
      top_songs: item.top_3_songs_per_genre.map(({ rank, track_id, song, artists, listen_count }) => ({
        rank,
        track_id,
        song,
        artists,
        listen_count,
      })),
    })),
    top_genres: topGenres.map(({ rank, genre, listen_count }) => ({ rank, genre, listen_count })),
  };
}

/** The table has genres by key, where `#` is escaped and a very long name is a hash; people want them by name. */
export function byGenre(a: { readonly genre: string }, b: { readonly genre: string }): number {
  return Buffer.compare(Buffer.from(a.genre), Buffer.from(b.genre));
}
