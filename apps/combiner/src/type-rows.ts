import { LISTEN_TIME } from '@music/contracts';
import type { CsvSource } from './csv-source';

export interface TimeZones {
  /** What a `listen_time` without zone is in. */
  readonly source: string;
  /** Whose calendar days the KPIs are of. */
  readonly kpi: string;
}

const MAX_ID_LENGTH = 1_024;
const LAST_OFFSET_HOUR = 18; // java.time's and Spark's limit; none in use is above 14

/**
 * SQL that types the rows of stream files (rules 1 and 2): `filename`, `user_id`, `track_id`, `listened_at` (UTC),
 * `listen_date`, `reason` (null for a good row) and, for rejected rows only, `listen_time` as it was written; and those
 * columns of `also` that the source has besides. `plain`: see CsvInspection. Parameters: `$blanks`, and `$source_zone`
 * and `$kpi_zone` where they are not UTC (see `zoneParameters`).
 */
export function typeRows(csv: CsvSource, zones: TimeZones, plain: boolean, also: readonly string[] = []): string {
  const passed = also.map((name) => `, ${name}`).join('');
  const length = (column: string) => `${plain ? 'strlen' : 'length'}(${column})`; // of ASCII, bytes are characters
  const id = (name: string) => `${trimmed(csv.column(name), plain)} AS ${name}`;
  const toUtc = (local: string) =>
    zones.source === 'UTC' ? local : `timezone('UTC', timezone($source_zone, ${local}))`;
  const day =
    zones.kpi === 'UTC' ? 'CAST(instant AS DATE)' : "CAST(timezone($kpi_zone, timezone('UTC', instant)) AS DATE)";
  return `
    WITH written AS (
      SELECT ${id('user_id')}, ${id('track_id')}, ${csv.column('listen_time')} AS written, extra, filename${passed}
      FROM ${csv.from}
    ),
    parsed AS (
      SELECT *, TRY_CAST(written AS TIMESTAMP) AS parsed
      FROM written
    ),
    -- What reads back as it was written is a real date and time in the usual form; only the rest needs the slow way.
    usual AS (
      SELECT *, CASE WHEN CAST(parsed AS VARCHAR) = written AND ${length('written')} = 19 THEN parsed END AS local
      FROM parsed
    ),
    trimmed AS (
      SELECT *, CASE WHEN local IS NOT NULL THEN written ELSE ${trimmed('written', false)} END AS listen_time
      FROM usual
    ),
    timed AS (
      SELECT *,
        CASE
          WHEN local IS NOT NULL THEN ${toUtc('local')}
          WHEN regexp_full_match(listen_time, '${LISTEN_TIME}') THEN ${unusualTime(toUtc)}
        END AS instant
      FROM trimmed
    ),
    dated AS (
      SELECT *, ${day} AS listen_date
      FROM timed
    )
    SELECT filename, user_id, track_id, instant AS listened_at, listen_date,
      CASE
        WHEN extra IS NOT NULL OR ${length('user_id')} > ${MAX_ID_LENGTH} OR ${length('track_id')} > ${MAX_ID_LENGTH} THEN 'malformed_row'
        WHEN user_id IS NULL THEN 'missing_user_id'
        WHEN track_id IS NULL THEN 'missing_track_id'
        WHEN listen_time IS NULL THEN 'missing_listen_time'
        WHEN listen_date IS NULL OR listen_date NOT BETWEEN DATE '0001-01-01' AND DATE '9999-12-31' THEN 'invalid_listen_time'
      END AS reason,
      CASE WHEN reason IS NOT NULL THEN listen_time END AS listen_time${passed}
    FROM dated`;
}

export function zoneParameters(zones: TimeZones): Record<string, string> {
  return {
    ...(zones.source === 'UTC' ? {} : { source_zone: zones.source }),
    ...(zones.kpi === 'UTC' ? {} : { kpi_zone: zones.kpi }),
  };
}

/**
 * SQL that is true of rows that lack an id or a time: of at least those, where more is to be seen of them. Parameter:
 * `$blanks`.
 */
export function blankIds(csv: CsvSource, plain: boolean): string {
  return (['user_id', 'track_id', 'listen_time'] as const)
    .map((name) => `${trimmed(csv.column(name), plain)} IS NULL`)
    .join(' OR ');
}

/**
 * SQL of a column without the blanks around it, null where nothing is left. Most values have no blank to take off, and
 * to see that is many times as fast as to take some off. Parameter: `$blanks`, but for files that are plain.
 */
export function trimmed(column: string, plain: boolean): string {
  if (plain)
    return `CASE WHEN prefix(${column}, ' ') OR suffix(${column}, ' ') OR ${column} = '' THEN nullif(trim(${column}, ' '), '') ELSE ${column} END`;
  return `CASE WHEN regexp_full_match(${column}, '[!-~]+') THEN ${column} ELSE nullif(trim(${column}, $blanks), '') END`;
}

/** The instant of a `listen_time` with `T`, fraction or offset; null where its parts are no date, time or offset. */
function unusualTime(toUtc: (local: string) => string): string {
  const written = "replace(left(listen_time, 19), 'T', ' ')";
  const local = `TRY_CAST(${written} AS TIMESTAMP)`;
  const milliseconds = String.raw`to_milliseconds(CAST(rpad(regexp_extract(listen_time, '\.(\d+)', 1), 3, '0') AS INTEGER))`;
  const offset = String.raw`regexp_extract(listen_time, '\d(Z|[+-]\d{2}(?::?\d{2})?)$', 1)`;
  const hours = `CAST(substr(${offset}, 2, 2) AS INTEGER)`;
  const minutes = `CAST(coalesce(nullif(right(replace(${offset}, ':', ''), -3), ''), '0') AS INTEGER)`;
  return `CASE
    WHEN coalesce(CAST(${local} AS VARCHAR), '') <> ${written} THEN NULL
    WHEN ${offset} = '' THEN ${toUtc(local)} + ${milliseconds}
    WHEN ${offset} = 'Z' THEN ${local} + ${milliseconds}
    WHEN ${hours} > ${LAST_OFFSET_HOUR} OR ${minutes} > 59 THEN NULL
    ELSE ${local} + ${milliseconds} - to_minutes(CASE WHEN left(${offset}, 1) = '-' THEN -1 ELSE 1 END * (${hours} * 60 + ${minutes}))
  END`;
}
