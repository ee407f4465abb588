import { LISTEN_TIME, type RowReason } from '@music/contracts';
import type { Reading } from './reading';
import type { RowSource } from './row-source';

export interface TimeZones {
  /** What a `listen_time` without zone is in. */
  readonly source: string;
  /** Whose calendar days the KPIs are of. */
  readonly kpi: string;
}

const MAX_ID_LENGTH = 1_024;
/** Rows of whom nothing is kept, not even in the quarantine. */
export const FORGOTTEN: RowReason = 'forgotten_user';
const LAST_OFFSET_HOUR = 18; // java.time's and Spark's limit; none in use is above 14

/**
 * SQL that types the rows of stream files (rules 1 and 2): `filename`, `user_id`, `track_id`, `listened_at` (UTC),
 * `listen_date`, `reason` (null for a good row) and, for rejected rows only, `listen_time` as it was written; and those
 * columns of `also` that the source has besides. `plain`: see CsvInspection. Parameters: `$blanks` and those of
 * `typingParameters`.
 */
export function typeRows(rows: RowSource, reading: Reading, plain: boolean, also: readonly string[] = []): string {
  const { zones, epoch, earliest, maxFutureHours, keptFrom } = reading;
  const passed = also.map((name) => `, ${name}`).join('');
  const length = (column: string) => `${plain ? 'strlen' : 'length'}(${column})`; // of ASCII, bytes are characters
  const id = (name: string) => `${valueOf(rows.column(name), reading, plain)} AS ${name}`;
  const toUtc = (local: string) =>
    zones.source === 'UTC' ? local : `timezone('UTC', timezone($source_zone, ${local}))`;
  const day =
    zones.kpi === 'UTC' ? 'CAST(instant AS DATE)' : "CAST(timezone($kpi_zone, timezone('UTC', instant)) AS DATE)";
  return `
    WITH written AS (
      SELECT ${id('user_id')}, ${id('track_id')}, ${rows.column('listen_time')} AS written, extra, filename${passed}
      FROM ${rows.from}
    ),
    parsed AS (
      SELECT *, TRY_CAST(written AS TIMESTAMP) AS parsed
      FROM written
    ),
    -- What reads back as it was written is a real date and time in a usual form; only the rest needs the slow way.
    usual AS (
      SELECT *,
        CASE
          WHEN CAST(parsed AS VARCHAR) = written AND (${length('written')} = 19 OR ${length('written')} <= 26 AND substr(written, 20, 1) = '.')
          THEN parsed
        END AS local
      FROM parsed
    ),
    trimmed AS (
      SELECT *, CASE WHEN local IS NOT NULL THEN written ELSE ${valueOf('written', reading, false)} END AS listen_time
      FROM usual
    ),
    timed AS (
      SELECT *,
        CASE
          WHEN local IS NOT NULL THEN ${toUtc('local')}
          WHEN regexp_full_match(listen_time, '${LISTEN_TIME}') THEN ${unusualTime(toUtc)}${epoch === undefined ? '' : sinceEpoch(epoch)}
        END AS instant
      FROM trimmed
    ),
    dated AS (
      SELECT *, ${day} AS listen_date
      FROM timed
    ),
    judged AS (
      SELECT *,
        CASE
          ${reading.forgotten === undefined ? '' : `WHEN user_id IN (SELECT user_id FROM ${reading.forgotten}) THEN '${FORGOTTEN}'`}
          WHEN extra IS NOT NULL OR ${length('user_id')} > ${MAX_ID_LENGTH} OR ${length('track_id')} > ${MAX_ID_LENGTH} THEN 'malformed_row'
          WHEN user_id IS NULL THEN 'missing_user_id'
          WHEN track_id IS NULL THEN 'missing_track_id'
          WHEN listen_time IS NULL THEN 'missing_listen_time'
          WHEN listen_date IS NULL OR listen_date NOT BETWEEN DATE '0001-01-01' AND DATE '9999-12-31' THEN 'invalid_listen_time'
          ${maxFutureHours === undefined ? '' : "WHEN instant > CAST($latest AS TIMESTAMP) THEN 'future_listen_time'"}
          ${earliest === undefined ? '' : "WHEN instant < CAST($earliest AS TIMESTAMP) THEN 'early_listen_time'"}
          ${keptFrom === undefined ? '' : "WHEN listen_date < CAST($kept_from AS DATE) THEN 'expired_day'"}
        END AS reason
      FROM dated
    )
    SELECT filename, user_id, track_id, instant AS listened_at, listen_date, reason,
      CASE WHEN reason IS NOT NULL THEN listen_time END AS listen_time${passed}
    FROM judged`;
}

/** The parameters of `typeRows`, all but `$blanks`. `frozenAt`: when the run's manifest was, ISO 8601. */
export function typingParameters(reading: Reading, frozenAt: string): Record<string, string> {
  const { zones, earliest, maxFutureHours, keptFrom } = reading;
  return {
    ...(keptFrom === undefined ? {} : { kept_from: keptFrom }),
    ...(zones.source === 'UTC' ? {} : { source_zone: zones.source }),
    ...(zones.kpi === 'UTC' ? {} : { kpi_zone: zones.kpi }),
    ...(earliest === undefined ? {} : { earliest }),
    ...(maxFutureHours === undefined
      ? {}
      : { latest: new Date(Date.parse(frozenAt) + maxFutureHours * 3_600_000).toISOString() }),
    ...nullParameters(reading),
  };
}

/** The parameters of `valueOf`, but for `$blanks`. */
export function nullParameters({ nullText }: Pick<Reading, 'nullText'>): Record<string, string> {
  return Object.fromEntries(nullText.map((text, i) => [`null_${i}`, text]));
}

/**
 * SQL of a column without the blanks around it, null where nothing is left or what is left stands for a missing value.
 * Parameters: `$blanks`, but for files that are plain, and those of `nullParameters`.
 */
export function valueOf(column: string, { nullText }: Pick<Reading, 'nullText'>, plain: boolean): string {
  const value = trimmed(column, plain);
  if (nullText.length === 0) return value;
  return `CASE WHEN ${value} NOT IN (${nullText.map((_, i) => `$null_${i}`).join(', ')}) THEN ${value} END`;
}

/**
 * SQL that is true of rows that lack an id or a time: of at least those, where more is to be seen of them. Parameters
 * as of `valueOf`.
 */
export function blankIds(rows: RowSource, reading: Pick<Reading, 'nullText'>, plain: boolean): string {
  return (['user_id', 'track_id', 'listen_time'] as const)
    .map((name) => `${valueOf(rows.column(name), reading, plain)} IS NULL`)
    .join(' OR ');
}

/**
 * SQL of a column without the blanks around it, null where nothing is left. Most values have no blank to take off, and
 * to see that is many times as fast as to take some off. Parameter: `$blanks`, but for files that are plain.
 */
function trimmed(column: string, plain: boolean): string {
  if (plain)
    return `CASE WHEN prefix(${column}, ' ') OR suffix(${column}, ' ') OR ${column} = '' THEN nullif(trim(${column}, ' '), '') ELSE ${column} END`;
  return `CASE WHEN regexp_full_match(${column}, '(?s)[!-~](.*[!-~])?') THEN ${column} ELSE nullif(trim(${column}, $blanks), '') END`;
}

/** So many places of the fraction of a number or a time: what is finer is cut off. */
const fractionOf = (places: number): string =>
  String.raw`CAST(rpad(left(regexp_extract(listen_time, '\.(\d+)', 1), ${places}), ${places}, '0') AS BIGINT)`;

/** The instant of a `listen_time` with `T`, fraction or offset; null where its parts are no date, time or offset. */
function unusualTime(toUtc: (local: string) => string): string {
  const written = "translate(left(listen_time, 19), 'Tt', '  ')";
  const local = `TRY_CAST(${written} AS TIMESTAMP)`;
  const fraction = `to_microseconds(${fractionOf(6)})`;
  const offset = String.raw`regexp_extract(listen_time, '\d ?(Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$', 1)`;
  const hours = `CAST(substr(${offset}, 2, 2) AS INTEGER)`;
  const minutes = `CAST(coalesce(nullif(right(replace(${offset}, ':', ''), -3), ''), '0') AS INTEGER)`;
  return `CASE
    WHEN coalesce(CAST(${local} AS VARCHAR), '') <> ${written} THEN NULL
    WHEN ${offset} = '' THEN ${toUtc(local)} + ${fraction}
    WHEN ${offset} IN ('Z', 'z', 'UTC', 'GMT') THEN ${local} + ${fraction}
    WHEN ${hours} > ${LAST_OFFSET_HOUR} OR ${minutes} > 59 THEN NULL
    ELSE ${local} + ${fraction} - to_minutes(CASE WHEN left(${offset}, 1) = '-' THEN -1 ELSE 1 END * (${hours} * 60 + ${minutes}))
  END`;
}

/** The instant of a `listen_time` that counts seconds or milliseconds since 1970, whole or with a fraction. */
function sinceEpoch(unit: 's' | 'ms'): string {
  // More digits are beyond the year 9999, and beyond what a whole number holds as microseconds.
  const [digits, micros, places] = unit === 's' ? [12, 1_000_000, 6] : [15, 1_000, 3];
  const whole = String.raw`CAST(regexp_extract(listen_time, '^-?(\d+)', 1) AS BIGINT)`;
  return String.raw`
          WHEN regexp_full_match(listen_time, '-?\d{1,${digits}}(\.\d{1,9})?')
          THEN make_timestamp(CASE WHEN left(listen_time, 1) = '-' THEN -1 ELSE 1 END * (${whole} * ${micros} + ${fractionOf(places)}))`;
}
