import type { FileKind } from '@music/contracts';
import type { Reading } from './reading';
import type { RowSource } from './row-source';
import { valueOf } from './type-rows';

/** Raised when the SQL below changes what it makes of a file: then Parquet of earlier versions is made again. */
export const TABLE_VERSION = 2;

const MAX_TEXT_LENGTH = 1_000; // a DynamoDB item takes 400 KB

/**
 * SQL that types a songs or users file (rules 5, 6 and 8); rows without an id are left out. Parameters: `$blanks`, but
 * for files that are plain, and those of `nullParameters`.
 */
export function typeTable(
  kind: Exclude<FileKind, 'streams'>,
  rows: RowSource,
  reading: Pick<Reading, 'nullText'>,
  plain: boolean,
): string {
  const clean = (name: string) => valueOf(rows.column(name), reading, plain);
  const shortened = (name: string) => `left(${clean(name)}, ${MAX_TEXT_LENGTH}) AS ${name}`;
  // A whole number, also as spreadsheets and pandas write it: 219505.0
  const whole = (name: string) =>
    `CASE WHEN regexp_full_match(${clean(name)}, '\\d{1,15}(\\.0*)?') THEN CAST(split_part(${clean(name)}, '.', 1) AS BIGINT) END AS ${name}`;
  return kind === 'users'
    ? `SELECT ${clean('user_id')} AS user_id FROM ${rows.from} WHERE ${clean('user_id')} IS NOT NULL`
    : `SELECT ${clean('track_id')} AS track_id, ${['track_genre', 'track_name', 'artists'].map(shortened).join(', ')}, ${['duration_ms', 'popularity'].map(whole).join(', ')}
       FROM ${rows.from} WHERE ${clean('track_id')} IS NOT NULL`;
}
