import { stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Engine, type Row, text, textList } from '@music/duckdb';
import catalogueShrank from '@music/glue/checks/catalogue_shrank.sql';
import duplicates from '@music/glue/checks/duplicates.sql';
import listenerListens from '@music/glue/checks/listener_listens.sql';
import rejectedRows from '@music/glue/checks/rejected_rows.sql';
import songsWithoutDuration from '@music/glue/checks/songs_without_duration.sql';
import topGenreGone from '@music/glue/checks/top_genre_gone.sql';
import trackShare from '@music/glue/checks/track_share.sql';
import unknownTracks from '@music/glue/checks/unknown_tracks.sql';
import unknownUsers from '@music/glue/checks/unknown_users.sql';
import volume from '@music/glue/checks/volume.sql';
import type { Finding } from '@music/runs';
import type { CheckName, CheckOf } from './check-list';

/** Days that were published before, and what of them is compared with. */
export interface PublishedDay {
  readonly date: string;
  readonly listen_count: number;
  readonly version: number;
  readonly song_rows?: number;
}

/** What the checks look at. */
export interface Checked {
  /** Local JSON files: the job's result, days or lists of days. */
  readonly results: readonly string[];
  /** The first day that is not over, YYYY-MM-DD in the KPI time zone. */
  readonly today: string;
  readonly run: {
    readonly read_rows: number;
    /** Without duplicates. */
    readonly rejected_rows: number;
    readonly duplicates: number;
    readonly song_rows: number;
    readonly unreadable_durations: number;
  };
  readonly published: readonly PublishedDay[];
  /** The first genres of a day as they were published: of the day itself, or the newest before it. */
  readonly topBefore: readonly { date: string; of_day: string; genre: string; listen_count: number }[];
}

interface Found extends Row {
  readonly date: string | null;
  readonly value: number;
  readonly total: number;
  readonly usual: number;
  readonly history: number;
  readonly is_low: boolean;
  readonly name: string | null;
  readonly of_day: string;
}

const FINDINGS_OF_A_CHECK = 10;
const count = (value: number): string => value.toLocaleString('en-US');
const percent = (share: number): string => `${(share * 100).toFixed(1).replace(/\.0$/, '')} %`;
const share =
  (what: string, of: string) =>
  ({ value, total }: Found, { more_than }: CheckOf['parameters']): string =>
    `${count(value)} of ${count(total)} ${of} ${what} (${percent(value / total)}), more than ${percent(Number(more_than))}`;

/** Each check: what finds it, and how it is told. */
const CHECKS: Record<CheckName, { sql: string; tell: (found: Found, parameters: CheckOf['parameters']) => string }> = {
  volume: {
    sql: volume,
    tell: ({ value, usual, history, is_low }, { against, below, above }) =>
      `${count(value)} listens, ${is_low ? `less than ${below}` : `more than ${above}`} times the median of ${history} ${against === 'same_weekday' ? 'such weekdays' : 'days'} before, ${count(usual)}`,
  },
  unknown_tracks: { sql: unknownTracks, tell: share('are of tracks that songs does not have', 'listens') },
  unknown_users: { sql: unknownUsers, tell: share('are of users that users does not have', 'listens') },
  rejected_rows: { sql: rejectedRows, tell: share('were rejected', 'rows') },
  duplicates: { sql: duplicates, tell: share('are listens that were counted before', 'rows') },
  songs_without_duration: { sql: songsWithoutDuration, tell: share('have no readable duration', 'songs') },
  track_share: {
    sql: trackShare,
    tell: (found, parameters) =>
      share(`are of one track${found.name === null ? '' : `, ${found.name}`}`, 'listens')(found, parameters),
  },
  // No user is named: ids are not to stand in events and tables.
  listener_listens: {
    sql: listenerListens,
    tell: ({ value }, { more_than }) => `one user has ${count(value)} listens, more than ${count(Number(more_than))}`,
  },
  top_genre_gone: {
    sql: topGenreGone,
    tell: ({ name, of_day, value }) =>
      `genre ${name} is gone: it had ${count(value)} listens on ${of_day}, among the first five`,
  },
  catalogue_shrank: {
    sql: catalogueShrank,
    tell: ({ value, total }, { by }) =>
      `songs has ${count(value)} rows, and had ${count(total)} before: ${percent(1 - value / total)} less, more than ${percent(Number(by))}`,
  },
};

const RESULT_COLUMNS = `{date: 'DATE', listen_count: 'BIGINT', unique_listeners: 'BIGINT',
  genres: 'STRUCT(genre VARCHAR, listen_count BIGINT)[]',
  top_songs: 'STRUCT(track_id VARCHAR, song VARCHAR, listen_count BIGINT)[]',
  quality: 'STRUCT(listens BIGINT, unknown_track_listens BIGINT, unknown_user_listens BIGINT, most_listens_of_a_track BIGINT, most_listens_of_a_listener BIGINT)'}`;
/** The engine sets room aside for objects that it reads. Bytes. */
const LEAST_RESULT_BYTES = 2 ** 16;

/** What the checks find, in the order of the list; of one check no more than 10. `dir`: the engine's. Throws as it does. */
export async function runChecks(
  checks: readonly CheckOf[],
  checked: Checked,
  engine: Engine,
  dir: string,
): Promise<Finding[]> {
  const rows = async (name: string, columns: string, values: readonly object[]) => {
    const file = path.join(dir, `${name}.json`);
    await writeFile(file, JSON.stringify(values));
    await engine.run(
      `CREATE TABLE ${name} AS SELECT * FROM read_json(${text(file)}, columns = ${columns}, format = 'array')`,
    );
  };
  const sizes = await Promise.all(checked.results.map(async (file) => (await stat(file)).size));
  await engine.run(
    `CREATE TABLE results AS SELECT * FROM read_json(${textList(checked.results)}, columns = ${RESULT_COLUMNS}, maximum_object_size = ${Math.max(LEAST_RESULT_BYTES, ...sizes)})`,
  );
  await engine.run(
    `CREATE TABLE days AS SELECT date, date < CAST($today AS DATE) AS is_over, listen_count, unique_listeners, unnest(quality) FROM results`,
    { today: checked.today },
  );
  await engine.run('CREATE TABLE genres AS SELECT date, unnest(genres, recursive := true) FROM results');
  await engine.run('CREATE TABLE songs AS SELECT date, unnest(top_songs, recursive := true) FROM results');
  await rows(
    'published',
    "{date: 'DATE', listen_count: 'BIGINT', version: 'BIGINT', song_rows: 'BIGINT'}",
    checked.published,
  );
  await rows(
    'top_before',
    "{date: 'DATE', of_day: 'DATE', genre: 'VARCHAR', listen_count: 'BIGINT'}",
    checked.topBefore,
  );
  await rows(
    'run',
    "{read_rows: 'BIGINT', rejected_rows: 'BIGINT', duplicates: 'BIGINT', song_rows: 'BIGINT', unreadable_durations: 'BIGINT'}",
    [checked.run],
  );
  const findings: Finding[] = [];
  for (const { name, level, parameters } of checks) {
    const { sql, tell } = CHECKS[name];
    const found = await engine.rows<Row>(`SELECT * FROM (${sql}) LIMIT ${FINDINGS_OF_A_CHECK}`, parameters);
    for (const row of found) {
      const plain = plainRow(row);
      findings.push({
        check: name,
        level,
        ...(plain.date === null ? {} : { date: plain.date }),
        text: tell(plain, parameters),
      });
    }
  }
  return findings;
}

/** Whole numbers as numbers, days as text. */
function plainRow(row: Row): Found {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      typeof value === 'bigint' ? Number(value) : value instanceof Date ? value.toISOString().slice(0, 10) : value,
    ]),
  ) as Found;
}
