import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import {
  type Caller,
  type DayRow,
  type DeadLetterRow,
  type EventRow,
  type FileRow,
  type Freshness,
  type GenreDayRow,
  type GenreRow,
  type LineageFileRow,
  type Run,
  type RunRow,
  type RunsQuery,
  type TopGenreRow,
  type TopSongRow,
  get,
  getPage,
  pathOf,
} from './client';

/** Questions about numbers are asked again when days are published, those about runs when one has ended. */
const kpis = <T>(path: string, enabled = true) =>
  useQuery({ queryKey: ['kpis', path], queryFn: () => get<T>(path), enabled });
/** `again`: after how many milliseconds they are asked once more, with what was answered last. */
const operation = <T>(path: string, enabled = true, again: (data: T | undefined) => number | false = () => false) =>
  useQuery({
    queryKey: ['operation', path],
    queryFn: () => get<T>(path),
    enabled,
    refetchInterval: ({ state }) => again(state.data),
  });

const part = encodeURIComponent;
/** What no stream tells of is looked for no oftener. */
const LOOK_AGAIN_MS = 5_000;
/** What somebody waits for. */
const LOOK_SOON_MS = 1_000;

export const useMe = () => useQuery({ queryKey: ['me'], queryFn: () => get<Caller>('/v1/me') });
export const useDays = (from: string, to: string) => kpis<DayRow[]>(pathOf('/v1/days', { from, to }));
export const useDay = (date: string) => kpis<DayRow[]>(`/v1/days/${date}`);

/** Paths of the questions that can be saved as CSV, too. */
export const paths = {
  topGenres: (date: string) => `/v1/days/${date}/top-genres`,
  topSongs: (date: string) => `/v1/days/${date}/top-songs`,
  genres: (date: string) => `/v1/days/${date}/genres`,
  explain: (date: string, genre: string) => `/v1/days/${date}/genres/${part(genre)}/explain`,
  days: (from: string, to: string) => pathOf('/v1/days', { from, to }),
  allGenres: (from: string, to: string) => pathOf('/v1/genres', { from, to }),
  genreDays: (genre: string, from: string, to: string) => pathOf(`/v1/genres/${part(genre)}/days`, { from, to }),
  topGenresOver: (from: string, to: string) => pathOf('/v1/top-genres', { from, to }),
  runs: (query: RunsQuery) => pathOf('/v1/runs', { ...query }),
  files: (id: string, state?: string) => pathOf(`/v1/runs/${part(id)}/files`, { state }),
};

export const useTopGenres = (date: string) => kpis<TopGenreRow[]>(paths.topGenres(date));
export const useTopSongs = (date: string) => kpis<TopSongRow[]>(paths.topSongs(date));
export const useGenresOfDay = (date: string, enabled = true) => kpis<GenreDayRow[]>(paths.genres(date), enabled);
export const useAllGenres = (from: string, to: string, enabled = true) =>
  kpis<GenreRow[]>(paths.allGenres(from, to), enabled);
export const useGenreDays = (genre: string, from: string, to: string) =>
  kpis<GenreDayRow[]>(paths.genreDays(genre, from, to));
export const useTopGenresOver = (from: string, to: string) => kpis<TopGenreRow[]>(paths.topGenresOver(from, to));
export const useFreshness = () => operation<Freshness>('/v1/freshness');
/** Those of a run. `expected`: there must be one, which may come a little after the run has failed. */
export const useDeadLetters = (run: string, expected: boolean) =>
  operation<DeadLetterRow[]>(pathOf('/v1/dead-letters', { run }), true, (letters) =>
    expected && letters?.length === 0 ? LOOK_AGAIN_MS : false,
  );
/** A run. `asked`: it was asked for a moment ago, and is looked for until it is there. */
export const useRun = (id: string, asked: boolean) =>
  operation<Run>(`/v1/runs/${part(id)}`, true, (run) => (asked && run === undefined ? LOOK_SOON_MS : false));
export const useEvents = (id: string, enabled: boolean) =>
  operation<EventRow[]>(`/v1/runs/${part(id)}/events`, enabled);

/** Lists that go on: each page names the next. */
function usePages<T>(group: string, path: string, enabled = true) {
  return useInfiniteQuery({
    queryKey: [group, 'pages', path],
    queryFn: ({ pageParam }) => getPage<T>(pageParam),
    initialPageParam: path,
    getNextPageParam: (page) => page.next,
    enabled,
  });
}

export const useRuns = (query: RunsQuery) => usePages<RunRow>('operation', paths.runs(query));
export const useFiles = (id: string, state: string) => usePages<FileRow>('operation', paths.files(id, state));
export const useLineage = (date: string, genre: string, enabled: boolean) =>
  usePages<LineageFileRow>('kpis', paths.explain(date, genre), enabled);
