import { open } from 'node:fs/promises';
import { BLANKS, CONTRACTS, type FileKind, missingColumns } from '@music/contracts';
import { parse } from 'csv-parse/sync';
import { DELIMITERS, type Delimiter, type Reading, contractNames } from './reading';

const MAX_HEADER_BYTES = 2 ** 20;
const MAX_COLUMNS = 1_000;

/**
 * The column names of a CSV file, blanks around them taken off. Throws an Error for a person where there is no header.
 */
export async function readHeader(file: string, delimiter: Delimiter): Promise<string[]> {
  const head = await readHead(file);
  const header = headerOf(head, delimiter);
  if (header === undefined)
    throw new Error(
      head.length === MAX_HEADER_BYTES
        ? `no header within the first ${MAX_HEADER_BYTES} bytes`
        : 'the file has no header',
    );
  if (header.length > MAX_COLUMNS) throw new Error(`the header has ${header.length} columns, more than ${MAX_COLUMNS}`);
  return header;
}

/**
 * The delimiter of a CSV file by its first bytes: that with which its header has the most columns of the contract, then
 * the most columns. Pure.
 */
export function detectDelimiter(head: Buffer, kind: FileKind, reading: Pick<Reading, 'columnNames'>): Delimiter {
  const rated = DELIMITERS.map((delimiter) => {
    let header: string[] = [];
    try {
      header = headerOf(head, delimiter) ?? [];
    } catch {
      // no header with this one
    }
    const lacking = missingColumns(CONTRACTS[kind], contractNames(kind, header, reading)).length;
    return { delimiter, lacking, columns: header.length };
  });
  return rated.reduce((best, each) =>
    each.lacking < best.lacking || (each.lacking === best.lacking && each.columns > best.columns) ? each : best,
  ).delimiter;
}

/** The keys of the objects in the first lines of a file of JSON lines, in the order in which they come. */
export async function readKeys(file: string): Promise<string[]> {
  const head = await readHead(file);
  const lines = head
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .split('\n');
  if (head.length === MAX_HEADER_BYTES) lines.pop(); // it may be cut
  const keys = new Set<string>();
  for (const line of lines) {
    if (keys.size > MAX_COLUMNS) break;
    try {
      const value: unknown = JSON.parse(line);
      if (typeof value === 'object' && value !== null && !Array.isArray(value))
        for (const key of Object.keys(value)) keys.add(key);
    } catch {
      // the row is malformed, and counted as such
    }
  }
  return [...keys];
}

async function readHead(file: string): Promise<Buffer> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_HEADER_BYTES), 0, MAX_HEADER_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

function headerOf(head: Buffer, delimiter: Delimiter): string[] | undefined {
  const options = { bom: true, to: 1, delimiter, relax_column_count: true, relax_quotes: true };
  return (parse(head, options) as string[][])[0]?.map((name) => trimBlanks(name));
}

function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && BLANKS.includes(text[start] as string)) start += 1;
  while (end > start && BLANKS.includes(text[end - 1] as string)) end -= 1;
  return text.slice(start, end);
}
