import type { DayItem, GenreDay, TopGenreItem, TopSongOfDay } from '@music/kpis';
import { minutes } from '@music/kpis';
import { Column, Count } from '../http/row';

const DATE = 'The day, YYYY-MM-DD, of `time_zone`.';

/** What every row about a day says. */
abstract class OfDay {
  @Column(DATE, { format: 'date' }) readonly date!: string;
}

/** Which publishing of the day a number is of, and where its days begin. */
const VERSION = 'Of the day’s numbers: a later publishing has a higher one.';
const ZONE = 'The zone whose calendar days these are (KPI_TIME_ZONE).';

export class DayRow extends OfDay {
  @Count('Listens.') readonly listen_count!: number;
  @Count('Listeners, each counted once.') readonly unique_listeners!: number;
  @Count('Genres that were listened to.') readonly genre_count!: number;
  @Count('Deliveries with listens of the day that were taken back.') readonly left_out!: number;
  @Count(VERSION) readonly version!: number;
  @Column('When it was computed.', { format: 'date-time' }) readonly computed_at!: string;
  @Column('The run that computed it.') readonly run_id!: string;
  @Column('What computed it.') readonly engine!: string;
  @Column('Hash of the SQL that computed it.') readonly sql_version!: string;
  @Column('Hash of the songs it was computed with.') readonly songs_version!: string;
  @Column(ZONE) readonly time_zone!: string;
}

export function dayRow(day: DayItem, time_zone: string): DayRow {
  const { date, listen_count, unique_listeners, genres, version, computed_at, run_id, engine } = day;
  const { sql_version, songs_version, left_out = 0 } = day;
  const numbers = { date, listen_count, unique_listeners, genre_count: genres, left_out, version };
  return { ...numbers, computed_at, run_id, engine, sql_version, songs_version, time_zone };
}

export class GenreDayRow extends OfDay {
  @Column('Its name.') readonly genre!: string;
  @Count('Listens.') readonly listen_count!: number;
  @Count('Listeners, each counted once.') readonly unique_listeners!: number;
  @Count('Listening time, in milliseconds.') readonly total_listening_ms!: number;
  @Column('Listening time, in minutes, rounded to 0.01.', { type: 'number', minimum: 0 })
  readonly total_listening_minutes!: number;
  @Column('Listening time a listener, in minutes, rounded to 0.01.', { type: 'number', minimum: 0 })
  readonly avg_listening_minutes_per_user!: number;
  @Count(VERSION) readonly version!: number;
  @Column(ZONE) readonly time_zone!: string;
}

export function genreDayRow(item: GenreDay, time_zone: string): GenreDayRow {
  const { date, genre, listen_count, unique_listeners, total_listening_ms, version } = item;
  return {
    date,
    genre,
    listen_count,
    unique_listeners,
    total_listening_ms,
    total_listening_minutes: item.total_listening_time,
    avg_listening_minutes_per_user: item.avg_listening_time_per_user,
    version,
    time_zone,
  };
}

export class TopGenreRow extends OfDay {
  @Count('1: the most listened.', { minimum: 1 }) readonly rank!: number;
  @Column('Its name.') readonly genre!: string;
  @Count('Listens.') readonly listen_count!: number;
  @Count(VERSION) readonly version!: number;
  @Column(ZONE) readonly time_zone!: string;
}

export function topGenreRow(
  { date, rank, genre, listen_count, version }: TopGenreItem,
  time_zone: string,
): TopGenreRow {
  return { date, rank, genre, listen_count, version, time_zone };
}

export class TopSongRow extends OfDay {
  @Column('Name of the genre.') readonly genre!: string;
  @Count('1: the most listened of the genre.', { minimum: 1, maximum: 3 }) readonly rank!: number;
  @Column('Id of the track.') readonly track_id!: string;
  @Column('Its name.') readonly song!: string;
  @Column('Who made it.') readonly artists!: string;
  @Count('Listens.') readonly listen_count!: number;
  @Count(VERSION) readonly version!: number;
  @Column(ZONE) readonly time_zone!: string;
}

export function topSongRow(item: TopSongOfDay, time_zone: string): TopSongRow {
  const { date, genre, rank, track_id, song, artists, listen_count, version } = item;
  return { date, genre, rank, track_id, song, artists, listen_count, version, time_zone };
}

/** A genre over some days. Listeners of several days cannot be told apart, so they are not added up. */
export class GenreRow {
  @Column('Its name.') readonly genre!: string;
  @Count('1: the most listened on these days.', { minimum: 1 }) readonly rank!: number;
  @Count('Days on which it was listened to.') readonly days!: number;
  @Count('Listens on these days.') readonly listen_count!: number;
  @Count('The most listeners that one of these days had.') readonly max_daily_listeners!: number;
  @Count('Listening time, in milliseconds.') readonly total_listening_ms!: number;
  @Column('Listening time, in minutes, rounded to 0.01.', { type: 'number', minimum: 0 })
  readonly total_listening_minutes!: number;
  @Column('The first of these days that has it.', { format: 'date' }) readonly first_date!: string;
  @Column('The last of these days that has it.', { format: 'date' }) readonly last_date!: string;
  @Count('The highest version of these days.') readonly version!: number;
  @Column(ZONE) readonly time_zone!: string;
}

/** Each genre of some days, the most listened first. */
export function genreRows(items: readonly GenreDay[], time_zone: string): GenreRow[] {
  const byGenre = new Map<string, GenreDay[]>();
  for (const item of items) byGenre.set(item.genre, [...(byGenre.get(item.genre) ?? []), item]);
  const rows = [...byGenre].map(([genre, days]) => {
    const dates = days.map(({ date }) => date).sort();
    const total_listening_ms = sum(days, 'total_listening_ms');
    return {
      genre,
      days: days.length,
      listen_count: sum(days, 'listen_count'),
      max_daily_listeners: Math.max(...days.map(({ unique_listeners }) => unique_listeners)),
      total_listening_ms,
      total_listening_minutes: minutes(total_listening_ms),
      first_date: dates[0] ?? '',
      last_date: dates.at(-1) ?? '',
      version: Math.max(...days.map(({ version }) => version)),
      time_zone,
    };
  });
  return rows
    .sort((a, b) => b.listen_count - a.listen_count || Buffer.compare(Buffer.from(a.genre), Buffer.from(b.genre)))
    .map(({ genre, ...row }, i) => ({ genre, rank: i + 1, ...row }));
}

const sum = (items: readonly GenreDay[], field: 'listen_count' | 'total_listening_ms'): number =>
  items.reduce((total, item) => total + item[field], 0);

export class LineageFileRow {
  @Column('The run that brought the file in.') readonly run_id!: string;
  @Column('Its key in the source bucket.') readonly key!: string;
  @Column('Its etag and time.') readonly version!: string;
  @Column('Its version, where the bucket keeps versions.', { required: false }) readonly version_id?: string;
  @Column('Hash of its content.', { required: false }) readonly sha256?: string;
  @Column('Where it is now.', { required: false }) readonly now_at?: string;
  @Column('Who took it back, so that no listen counts for it.', { required: false }) readonly retracted?: string;
  @Count('Bytes of the object of the lake that its listens are in, with those of other files.')
  readonly lake_bytes!: number;
}
