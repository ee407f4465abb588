import { textList } from '@music/duckdb';

/** Rows that the CSV reader itself could not split into fields; written anew by each read. */
export const MALFORMED = 'malformed';

export interface CsvSource {
  /**
   * A table function call, or a query in brackets, whose columns are `c0`, `c1`, … and `extra`: what is right of the
   * header's columns.
   */
  readonly from: string;
  /** The column that has a name, as SQL. No name of a file gets into the SQL. */
  column(name: string): string;
  /** Other files, read alike. */
  only(files: readonly string[]): CsvSource;
  /** Each row with its `place` from 1 among all of the source. Rows may be left out; the others keep their places. */
  numbered(where: (csv: CsvSource) => string | undefined): CsvSource;
}

/**
 * How DuckDB reads CSV files of ours, all with one header: RFC 4180, every column as text, missing fields as null, and
 * the path as `filename`. Rows come file by file, in order. Lines it cannot read go to the table MALFORMED (one or more
 * rows a line, with `line` and `file_id`) instead of ending the read; the table MALFORMED_scan says which file has
 * which id.
 */
export function csvSource(
  files: readonly string[],
  header: readonly string[],
  options: { maxRowBytes: number; sequential: boolean; strict: boolean },
): CsvSource {
  const columns = [...header.map((_, i) => `c${i}`), 'extra'].map((name) => `'${name}': 'VARCHAR'`).join(', ');
  const from = `read_csv(${textList(files)}, filename = true, columns = {${columns}}, header = false, skip = 1, auto_detect = false, delim = ',', quote = '"', escape = '"',
      null_padding = true, ignore_errors = true, store_rejects = true, rejects_table = '${MALFORMED}', rejects_scan = '${MALFORMED}_scan',
      strict_mode = ${options.strict}, max_line_size = ${options.maxRowBytes}, parallel = ${!options.sequential})`;
  const source: CsvSource = {
    from,
    column: (name) => {
      const index = header.indexOf(name);
      if (index < 0) throw new RangeError(`no column ${name}`);
      return `c${index}`;
    },
    only: (others) => csvSource(others, header, options),
    numbered: (where) => {
      const condition = where(source);
      const rows = `SELECT *, row_number() OVER () AS place FROM ${from}`;
      return { ...source, from: `(SELECT * FROM (${rows})${condition === undefined ? '' : ` WHERE ${condition}`})` };
    },
  };
  return source;
}

export const dropMalformed = `DROP TABLE IF EXISTS ${MALFORMED}; DROP TABLE IF EXISTS ${MALFORMED}_scan`;
