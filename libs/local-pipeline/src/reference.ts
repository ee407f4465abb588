import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

/**
 * The KPIs computed once more, in the plainest way that can be read: rows in memory, no library, no SQL, nothing of the
 * product. Tests hold the pipeline against it.
 */
export interface ReferenceDay {
  date: string;
  listen_count: number;
  unique_listeners: number;
  genres: {
    genre: string;
    listen_count: number;
    unique_listeners: number;
    total_listening_ms: number;
    total_listening_time: number;
    avg_listening_time_per_user: number;
    top_songs: { rank: number; track_id: string; song: string; artists: string; listen_count: number }[];
  }[];
  top_genres: { rank: number; genre: string; listen_count: number }[];
}

export interface Reference {
  rows: { read: number; kept: number; rejected: Record<string, number> };
  days: ReferenceDay[];
}

interface ReferenceOptions {
  kpiTimeZone?: string;
  unknownTracks?: 'keep' | 'reject';
}

/** Of folders that are laid out like the source bucket: all their files are one delivery. */
export function reference(
  folders: string[],
  { kpiTimeZone = 'UTC', unknownTracks = 'keep' }: ReferenceOptions = {},
): Reference {
  const tables = (kind: string) =>
    folders.flatMap((folder) =>
      filesOf(path.join(folder, kind)).flatMap((file) => records(readFileSync(file, 'utf8'))),
    );
  return referenceOf(tables('streams'), tables('songs'), { kpiTimeZone, unknownTracks });
}

type Row = Record<string, string>;
type Song = { song: string; artists: string; ms: number; popularity: number };

export function referenceOf(
  streams: Row[],
  songs: Row[],
  { kpiTimeZone = 'UTC', unknownTracks = 'keep' }: ReferenceOptions = {},
): Reference {
  const catalogue = new Map<string, Map<string, Song>>();
  for (const row of songs) {
    const track = trimmed(row['track_id']);
    if (track === '') continue;
    const genre = orUnknown(row['track_genre']);
    const whole = (text: string | undefined) =>
      /^\d{1,15}(\.0*)?$/.test(text?.trim() ?? '') ? Number(text) : undefined;
    const song: Song = {
      song: orUnknown(row['track_name']),
      artists: orUnknown(row['artists']),
      ms: whole(row['duration_ms']) ?? 0,
      popularity: whole(row['popularity']) ?? -1,
    };
    const genres = catalogue.get(track) ?? new Map<string, Song>();
    const other = genres.get(genre);
    if (other === undefined || better(song, other)) genres.set(genre, song);
    catalogue.set(track, genres);
  }

  const rejected: Record<string, number> = {};
  const reject = (reason: string) => {
    rejected[reason] = (rejected[reason] ?? 0) + 1;
  };
  const seen = new Set<string>();
  const listens: { user: string; track: string; date: string }[] = [];
  for (const row of streams) {
    const listen = referenceListen(row);
    if (typeof listen === 'string') reject(listen);
    else {
      const { user, track, instant, micros } = listen;
      if (seen.has(JSON.stringify([user, track, instant, micros]))) reject('duplicate');
      else {
        seen.add(JSON.stringify([user, track, instant, micros]));
        if (unknownTracks === 'reject' && !catalogue.has(track)) reject('unknown_track');
        else listens.push({ user, track, date: referenceDate(kpiTimeZone, instant) });
      }
    }
  }

  const dates = [...new Set(listens.map(({ date }) => date))].sort();
  return {
    rows: { read: streams.length, kept: listens.length, rejected },
    days: dates.map((date) =>
      referenceDay(
        date,
        listens.filter((listen) => listen.date === date),
        catalogue,
      ),
    ),
  };
}

export interface ReferenceListen {
  readonly user: string;
  readonly track: string;
  /** Milliseconds since 1970, and the microseconds beyond. */
  readonly instant: number;
  readonly micros: number;
}

/** The listen that a row is, or why it is none. */
export function referenceListen(row: Row): ReferenceListen | string {
  const user = trimmed(row['user_id']);
  const track = trimmed(row['track_id']);
  const time = trimmed(row['listen_time']);
  if (user === '') return 'missing_user_id';
  if (track === '') return 'missing_track_id';
  if (time === '') return 'missing_listen_time';
  const instant = instantOf(time);
  if (instant === undefined) return 'invalid_listen_time';
  const fraction = /\.(\d+)/.exec(time)?.[1] ?? '';
  return { user, track, instant, micros: Number(fraction.padEnd(6, '0').slice(3, 6)) };
}

function referenceDay(
  date: string,
  listens: { user: string; track: string }[],
  catalogue: Map<string, Map<string, Song>>,
): ReferenceDay {
  const genres = new Map<
    string,
    { users: Set<string>; count: number; ms: number; songs: Map<string, { song: Song; count: number }> }
  >();
  for (const { user, track } of listens) {
    const known =
      catalogue.get(track) ??
      new Map<string, Song>([['Unknown', { song: track, artists: 'Unknown', ms: 0, popularity: -1 }]]);
    for (const [genre, song] of known) {
      const kpis = genres.get(genre) ?? { users: new Set(), count: 0, ms: 0, songs: new Map() };
      kpis.users.add(user);
      kpis.count += 1;
      kpis.ms += song.ms;
      kpis.songs.set(track, { song, count: (kpis.songs.get(track)?.count ?? 0) + 1 });
      genres.set(genre, kpis);
    }
  }
  const names = [...genres.keys()].sort(byBytes);
  return {
    date,
    listen_count: listens.length,
    unique_listeners: new Set(listens.map(({ user }) => user)).size,
    genres: names.map((genre) => {
      const { users, count, ms, songs } = genres.get(genre) as NonNullable<ReturnType<typeof genres.get>>;
      const ranked = [...songs].sort(([a, x], [b, y]) => y.count - x.count || byBytes(a, b)).slice(0, 3);
      return {
        genre,
        listen_count: count,
        unique_listeners: users.size,
        total_listening_ms: ms,
        total_listening_time: roundedMinutes(ms, 1),
        avg_listening_time_per_user: roundedMinutes(ms, users.size),
        top_songs: ranked.map(([track_id, { song, count: n }], i) => ({
          rank: i + 1,
          track_id,
          song: song.song,
          artists: song.artists,
          listen_count: n,
        })),
      };
    }),
    top_genres: names
      .map((genre) => ({ genre, n: genres.get(genre)?.count ?? 0 }))
      .sort((a, b) => b.n - a.n || byBytes(a.genre, b.genre))
      .slice(0, 5)
      .map(({ genre, n }, i) => ({ rank: i + 1, genre, listen_count: n })),
  };
}

/** RFC 4180, character by character. Empty lines are left out. */
export function referenceTable(text: string): string[][] {
  const table: string[][] = [];
  let record: string[] = [];
  let value = '';
  let quoted = false;
  let hasQuotes = false;
  const source = text.startsWith('\ufeff') ? text.slice(1) : text;
  const endRecord = () => {
    record.push(value);
    if (record.length > 1 || value !== '' || hasQuotes) table.push(record);
    hasQuotes = false;
    record = [];
    value = '';
  };
  for (let i = 0; i < source.length; i += 1) {
    const char = source[i] as string;
    if (quoted) {
      if (char !== '"') value += char;
      else if (source[i + 1] === '"') {
        value += '"';
        i += 1;
      } else quoted = false;
    } else if (char === '"' && value === '') quoted = hasQuotes = true;
    else if (char === ',') {
      record.push(value);
      value = '';
    } else if (char === '\n') endRecord();
    else if (char !== '\r') value += char;
  }
  if (value !== '' || record.length > 0 || hasQuotes) endRecord();
  return table;
}

/** Each row by the names of the header. */
function records(text: string): Row[] {
  const [header = [], ...rows] = referenceTable(text);
  return rows.map((row) => Object.fromEntries(header.map((name, i) => [name.trim(), row[i] ?? ''])));
}

function filesOf(folder: string): string[] {
  return readdirSync(folder)
    .sort()
    .map((name) => path.join(folder, name));
}

function instantOf(text: string): number | undefined {
  const match =
    /^(\d{4})-(\d\d)-(\d\d)[ Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: ?(Z|z)| UTC| GMT| ?([+-])(\d\d):?(\d\d)?)?$/.exec(
      text,
    );
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const milliseconds = Number((match[7] ?? '0').padEnd(3, '0').slice(0, 3));
  // By setUTCFullYear, since Date.UTC takes years below 100 for those of the 20th century.
  const back = new Date(Date.UTC(2000, 0, 1, hour, minute, second, milliseconds));
  back.setUTCFullYear(year, month - 1, day);
  const utc = back.getTime();
  if (back.getUTCMonth() !== month - 1 || back.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59)
    return undefined;
  if (year === 0) return undefined;
  if (Number(match[10] ?? 0) > 18 || Number(match[11] ?? 0) > 59) return undefined;
  const offset =
    match[9] === undefined ? 0 : (match[9] === '-' ? -1 : 1) * (Number(match[10]) * 60 + Number(match[11] ?? 0));
  return utc - offset * 60_000;
}

const formats = new Map<string, Intl.DateTimeFormat>();
export function referenceDate(timeZone: string, instant: number): string {
  const format =
    formats.get(timeZone) ??
    new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' });
  formats.set(timeZone, format);
  return format.format(instant).padStart(10, '0');
}

const trimmed = (text = ''): string =>
  text.replace(/^[ \t\n\v\f\r\u00a0\ufeff]+/, '').replace(/[ \t\n\v\f\r\u00a0\ufeff]+$/, '');
const orUnknown = (text: string | undefined): string => trimmed(text) || 'Unknown';
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

function better(a: Song, b: Song): boolean {
  if (a.popularity !== b.popularity) return a.popularity > b.popularity;
  if (a.ms !== b.ms) return a.ms < b.ms;
  return byBytes(a.song, b.song) < 0 || (a.song === b.song && byBytes(a.artists, b.artists) < 0);
}

/** ms ÷ listeners in minutes, two decimals, half up, by long division. */
function roundedMinutes(ms: number, listeners: number): number {
  const divisor = 60_000 * listeners;
  let hundredths = Math.floor(((ms % divisor) * 100) / divisor);
  if ((((ms % divisor) * 100) % divisor) * 2 >= divisor) hundredths += 1;
  return Number((Math.floor(ms / divisor) + hundredths / 100).toFixed(2));
}
