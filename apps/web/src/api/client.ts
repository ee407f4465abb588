import type { components, operations } from './schema';

type Schemas = components['schemas'];
export type DayRow = Schemas['DayRow'];
export type GenreDayRow = Schemas['GenreDayRow'];
export type GenreRow = Schemas['GenreRow'];
export type TopGenreRow = Schemas['TopGenreRow'];
export type TopSongRow = Schemas['TopSongRow'];
export type LineageFileRow = Schemas['LineageFileRow'];
export type RunRow = Schemas['RunRowModel'];
export type Run = Schemas['RunModel'];
export type FileRow = Schemas['FileRowModel'];
export type EventRow = Schemas['EventRowModel'];
export type DeadLetterRow = Schemas['DeadLetterRowModel'];
export type Freshness = Schemas['FreshnessModel'];
export type Caller = Schemas['CallerModel'];
export type Backfill = Schemas['BackfillModel'];
export type Asked = Schemas['AskedModel'];
export type Problem = Schemas['Problem'];
export type RunsQuery = NonNullable<operations['listRuns']['parameters']['query']>;

/** An answer that was none: what the API says of it, or that it did not answer. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  constructor(
    message: string,
    /** 0: no answer at all. */
    readonly status: number,
    readonly retryAfterSeconds?: number,
  ) {
    super(message);
  }

  /** Whether the same question may be answered a little later. */
  get passes(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

const KEY = 'music-key';

/** The key, or token, of this tab; none where the API wants none. */
export const storedKey = {
  get: (): string => sessionStorage.getItem(KEY) ?? '',
  set: (key: string): void => (key === '' ? sessionStorage.removeItem(KEY) : sessionStorage.setItem(KEY, key)),
};

export function authHeaders(): Record<string, string> {
  const key = storedKey.get();
  return key === '' ? {} : { authorization: `Bearer ${key}` };
}

export interface Page<T> {
  readonly rows: readonly T[];
  /** Path of the next page, where there is one. */
  readonly next?: string;
}

export async function get<T>(path: string): Promise<T> {
  return (await (await call(path)).json()) as T;
}

export async function getPage<T>(path: string): Promise<Page<T>> {
  const answer = await call(path);
  const next = /<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1];
  return { rows: (await answer.json()) as T[], next };
}

/** Random, also where the page came without TLS. */
export const newKey = (): string =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

/** Asks for something once: `key` stays the same however often it is tried. */
export async function post<T>(path: string, body: object, key = newKey()): Promise<T> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': key };
  return (await (await call(path, { method: 'POST', body: JSON.stringify(body), headers })).json()) as T;
}

/** Saves the rows of a question as CSV. */
export async function saveCsv(path: string, name: string): Promise<void> {
  const blob = await (await call(path, { headers: { accept: 'text/csv' } })).blob();
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `${name.replaceAll(/[^\w.-]+/g, '_')}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
}

export async function call(path: string, init: RequestInit = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, { ...init, headers: { accept: 'application/json', ...authHeaders(), ...init.headers } });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError('The API does not answer.', 0);
  }
  if (answer.ok) return answer;
  const problem = (await answer.json().catch(() => ({}))) as Partial<Problem>;
  const retryAfter = Number(answer.headers.get('retry-after') ?? NaN);
  throw new ApiError(
    problem.detail ?? problem.title ?? `The API answered ${answer.status}.`,
    answer.status,
    Number.isNaN(retryAfter) ? undefined : retryAfter,
  );
}

/** Path of a question, with the parameters that have a value. */
export function pathOf(path: string, query: Readonly<Record<string, string | number | undefined>> = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== '') params.set(name, String(value));
  return params.size === 0 ? path : `${path}?${params}`;
}
