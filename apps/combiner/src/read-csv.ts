import path from 'node:path';
import type { FileReason } from '@music/contracts';
import type { Engine } from '@music/duckdb';
import { describeError } from '@music/errors';
import { type CsvSource, csvSource, dropMalformed } from './csv-source';
import type { Fetched } from './fetch-file';

/** What is wrong with a file that cannot be read as CSV. */
export interface NotCsv {
  readonly defect: FileReason;
  readonly detail: string;
}

/**
 * Runs a statement that reads CSV files with one header. Line ends of several kinds in one file need the reader's
 * lenient mode, which is tried for one file only. Gives what the statement gave, or what is wrong with the files.
 * Throws where it is no fault of theirs.
 */
export async function readCsv<T>(
  engine: Engine,
  files: readonly Fetched[],
  maxRowBytes: number,
  read: (csv: CsvSource) => Promise<T>,
): Promise<{ readonly value: T; readonly csv: CsvSource } | NotCsv> {
  let failure: unknown;
  const paths = files.map((file) => file.path);
  const { sequential, evidence } = files[0] as Fetched;
  for (const strict of files.length === 1 ? [true, false] : [true]) {
    await engine.run(dropMalformed);
    const csv = csvSource(paths, evidence.columns, { maxRowBytes, sequential, strict });
    try {
      return { value: await read(csv), csv };
    } catch (error) {
      if (!/Invalid Input Error/.test(describeError(error))) throw error; // out of memory, disk full
      failure = error;
    }
  }
  await engine.run(dropMalformed);
  return { defect: 'not_csv', detail: describeError(failure, 300).replaceAll(path.dirname(paths[0] ?? ''), '…') };
}
