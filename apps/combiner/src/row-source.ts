import { textList } from '@music/duckdb';
import type { Fetched } from './fetch-file';

/** Rows that the CSV reader itself could not split into fields; written anew by each read. */
export const MALFORMED = 'malformed';

/** Rows of local files, of whatever form, as text. */
export interface RowSource {
  /**
   * A table function call, or a query in brackets, whose columns are `c0`, `c1`, …, `extra`: not null where a row has
   * more than its columns or is no row at all, and `filename`.
   */
  readonly from: string;
  /** The column that has a name, as SQL. No name of a file gets into the SQL. */
  column(name: string): string;
  /** Other files, read alike. */
  only(files: readonly string[]): RowSource;
  /** CSV files that have one more column in front, each row's `place`, and are otherwise read alike. */
  placed(files: readonly string[]): RowSource;
  /** So many of the rows that come first. */
  first(rows: number): RowSource;
  /** Each row with its `place` from 1 among all of the source. Rows may be left out; the others keep their places. */
  numbered(where: (rows: RowSource) => string | undefined): RowSource;
}

/** How files of one kind are read: all have the same form and columns. */
export interface RowsOf extends Pick<Fetched, 'form' | 'delimiter' | 'names' | 'sequential'> {
  /** By the names of the contract: the whole header of CSV, of other forms the columns that `names` are. */
  readonly columns: readonly string[];
  readonly maxRowBytes: number;
  /** Whether line ends of several kinds are an error, which is quicker. */
  readonly strict: boolean;
}

/** The rows of local files, file by file, in order; every value as text, missing ones as null. */
export function rowSource(files: readonly string[], rows: RowsOf): RowSource {
  const from = { csv: csvRows, 'json-lines': jsonRows, parquet: parquetRows }[rows.form](files, rows);
  const source: RowSource = {
    from,
    column: (name) => {
      const index = rows.columns.indexOf(name);
      if (index < 0) throw new RangeError(`no column ${name}`);
      return `c${index}`;
    },
    only: (others) => rowSource(others, rows),
    placed: (others) => {
      const placed = rowSource(others, { ...rows, columns: ['', ...rows.columns] });
      return { ...placed, from: `(SELECT *, CAST(c0 AS BIGINT) AS place FROM ${placed.from})` };
    },
    first: (most) => ({ ...source, from: `(SELECT * FROM ${from} LIMIT ${most})` }),
    numbered: (where) => {
      const condition = where(source);
      const numbered = `SELECT *, row_number() OVER () AS place FROM ${from}`;
      return {
        ...source,
        from: `(SELECT * FROM (${numbered})${condition === undefined ? '' : ` WHERE ${condition}`})`,
      };
    },
  };
  return source;
}

/**
 * RFC 4180. Lines that cannot be read go to the table MALFORMED (one or more rows a line, with `line` and `file_id`)
 * instead of ending the read; the table MALFORMED_scan says which file has which id.
 */
function csvRows(files: readonly string[], rows: RowsOf): string {
  const names = [...rows.columns.map((_, i) => `c${i}`), 'extra'];
  return readLines(files, names, rows, `skip = 1, delim = '${rows.delimiter}', quote = '"', escape = '"'`);
}

/** A byte that stands in no valid JSON unescaped, so that a line is one field. */
const NEVER_IN_JSON = '\x1f';

/** One object a line. Numbers stay as they are written; what is nested, or no object, makes a row malformed. */
function jsonRows(files: readonly string[], rows: RowsOf): string {
  const paths = rows.names.map((name) => `'$."${name.replaceAll("'", "''")}"'`);
  const all = `[${paths.join(', ')}]`;
  const lines = readLines(files, ['line', 'extra'], rows, `delim = '${NEVER_IN_JSON}', quote = '', escape = ''`);
  const text = (i: number) => `texts[${i + 1}]`;
  // Python writes NaN for a missing number; a text may say the same.
  const value = (path: string, i: number) =>
    `CASE WHEN ${text(i)} IN ('NaN', 'Infinity', '-Infinity')
       THEN CASE WHEN json_type(line, ${path}) <> 'DOUBLE' THEN ${text(i)} END ELSE ${text(i)} END AS c${i}`;
  // To ask for types costs as much as to ask for texts, and few texts look like something nested or a truth.
  const isOdd = paths.map((_, i) => `regexp_full_match(${text(i)}, '[{\\[].*|true|false', 's')`).join(' OR ');
  return `(
      SELECT ${paths.map(value).join(', ')}, filename,
        CASE
          WHEN texts IS NULL THEN 'malformed'
          WHEN ${isOdd} THEN CASE WHEN list_has_any(json_type(line, ${all}), ['OBJECT', 'ARRAY', 'BOOLEAN']) THEN 'malformed' END
        END AS extra
      FROM (
        SELECT line, filename,
          CASE WHEN extra IS NULL AND regexp_matches(line, '^[ \\t\ufeff]*\\{') THEN TRY(json_extract_string(line, ${all})) END AS texts
        FROM ${lines}
        WHERE NOT regexp_full_match(line, '[ \\t\\r]*')
      )
    )`;
}

/** Columns by name; numbers and timestamps as the text that the rules read. */
function parquetRows(files: readonly string[], rows: RowsOf): string {
  const column = (name: string, i: number) => `CAST("${name.replaceAll('"', '""')}" AS VARCHAR) AS c${i}`;
  return `(
      SELECT ${rows.names.map(column).join(', ')}, NULL AS extra, filename
      FROM read_parquet(${textList(files)}, filename = true, hive_partitioning = false, binary_as_string = true)
    )`;
}

function readLines(
  files: readonly string[],
  columns: readonly string[],
  { strict, maxRowBytes, sequential }: RowsOf,
  dialect: string,
): string {
  const types = columns.map((name) => `'${name}': 'VARCHAR'`).join(', ');
  return `read_csv(${textList(files)}, filename = true, columns = {${types}}, header = false, auto_detect = false, ${dialect},
      null_padding = true, ignore_errors = true, store_rejects = true, rejects_table = '${MALFORMED}', rejects_scan = '${MALFORMED}_scan',
      strict_mode = ${strict}, max_line_size = ${maxRowBytes}, parallel = ${!sequential})`;
}

export const dropMalformed = `DROP TABLE IF EXISTS ${MALFORMED}; DROP TABLE IF EXISTS ${MALFORMED}_scan`;
/** Forms without lines that cannot be read have none. */
export const createMalformed = `CREATE TEMP TABLE IF NOT EXISTS ${MALFORMED} (scan_id UBIGINT, file_id UBIGINT, line UBIGINT);
  CREATE TEMP TABLE IF NOT EXISTS ${MALFORMED}_scan (scan_id UBIGINT, file_id UBIGINT, file_path VARCHAR)`;
