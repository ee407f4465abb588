import path from 'node:path';
import { CONTRACTS, type FileKind, type FileReason } from '@music/contracts';
import { type Engine, EngineExhausted } from '@music/duckdb';
import { describeError } from '@music/errors';
import type { Fetched } from './fetch-file';
import { type RowSource, createMalformed, dropMalformed, rowSource } from './row-source';

/** What is wrong with a file that cannot be read as what it seems to be. */
export interface NotRead {
  readonly defect: FileReason;
  readonly detail: string;
}

const DEFECTS = { csv: 'not_csv', 'json-lines': 'not_csv', parquet: 'not_parquet' } as const;

/**
 * Runs a statement that reads files of one kind. Line ends of several kinds in one file need the CSV reader's lenient
 * mode, which is tried for one file only. Gives what the statement gave, or what is wrong with the files. Throws where
 * it is no fault of theirs.
 */
export async function readFiles<T>(
  engine: Engine,
  kind: FileKind,
  files: readonly Fetched[],
  maxRowBytes: number,
  read: (rows: RowSource) => Promise<T>,
): Promise<{ readonly value: T; readonly rows: RowSource } | NotRead> {
  let failure: unknown;
  const paths = files.map((file) => file.path);
  const { form, names, delimiter, sequential, evidence } = files[0] as Fetched;
  const columns = form === 'csv' ? evidence.columns : CONTRACTS[kind].required;
  for (const strict of files.length === 1 && form !== 'parquet' ? [true, false] : [true]) {
    await engine.run(dropMalformed);
    const rows = rowSource(paths, { form, columns, names, delimiter, maxRowBytes, sequential, strict });
    try {
      const value = await read(rows);
      await engine.run(createMalformed);
      return { value, rows };
    } catch (error) {
      if (!isOfFile(form, error)) throw error;
      failure = error;
    }
  }
  await engine.run(dropMalformed);
  return { defect: DEFECTS[form], detail: describeError(failure, 300).replaceAll(path.dirname(paths[0] ?? ''), '…') };
}

/** Whether an error is the file's fault, and not that memory or disk are full. */
function isOfFile(form: Fetched['form'], error: unknown): boolean {
  if (error instanceof EngineExhausted) return false;
  const text = describeError(error);
  // What damaged Parquet brings up has many names; the file is a local one, and whole.
  if (form === 'parquet') return !/No space left|Permission|could not (write|open)/i.test(text);
  return /Invalid Input Error/.test(text);
}
