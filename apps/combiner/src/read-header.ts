import { open } from 'node:fs/promises';
import { BLANKS } from '@music/contracts';
import { parse } from 'csv-parse/sync';

const MAX_HEADER_BYTES = 2 ** 20;
const MAX_COLUMNS = 1_000;

/**
 * The column names of a CSV file, blanks around them taken off. Throws an Error for a person where there is no header.
 */
export async function readHeader(file: string): Promise<string[]> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_HEADER_BYTES), 0, MAX_HEADER_BYTES, 0);
    const records = parse(buffer.subarray(0, bytesRead), {
      bom: true,
      to: 1,
      relax_column_count: true,
      relax_quotes: true,
    }) as string[][];
    const header = records[0];
    if (header === undefined)
      throw new Error(
        bytesRead === MAX_HEADER_BYTES
          ? `no header within the first ${MAX_HEADER_BYTES} bytes`
          : 'the file has no header',
      );
    if (header.length > MAX_COLUMNS)
      throw new Error(`the header has ${header.length} columns, more than ${MAX_COLUMNS}`);
    return header.map((name) => trimBlanks(name));
  } finally {
    await handle.close();
  }
}

function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && BLANKS.includes(text[start] as string)) start += 1;
  while (end > start && BLANKS.includes(text[end - 1] as string)) end -= 1;
  return text.slice(start, end);
}
