import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { Delimiter } from './reading';

const LF = 0x0a;
const READ_BYTES = 2 ** 20;
/** With more of them a file is as well read as a whole. Bytes. */
const MOST_BYTES = 4 * 2 ** 20;

/** Lines of a file that look as if they lacked a value. */
export interface Suspects {
  /** Of a CSV file without quoted line breaks, whose line ends are LF, and whose first line is its header. */
  readonly file: string;
  readonly delimiter: Delimiter;
  /** Whether it may be a value between two others that is missing, and not the first or the last one only. */
  readonly inside: boolean;
}

/**
 * Copies the lines that look as if they lacked a value to a file of their own below the same header, each with its
 * row's place from 1 as one more column in front. Not all such lines need be found, and others may be among them. Gives
 * false, and leaves no file, where lines are not rows, or there are too many.
 *
 * A look at where lines end takes a fifth of the processor time in which DuckDB reads the rows and counts them, since
 * it makes nothing of them.
 */
export async function copySuspects({ file, delimiter, inside }: Suspects, to: string): Promise<boolean> {
  const finder = new SuspectFinder(delimiter, inside);
  for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>)
    if (!finder.look(chunk)) return false;
  if (!finder.end()) return false;
  await writeFile(to, finder.found);
  return true;
}

class SuspectFinder {
  readonly found: Buffer[] = [];
  private readonly by: number;
  private readonly signs: readonly Buffer[];
  private bytes = 0;
  private place = 0;
  /** The beginning of a line whose end is yet to come. */
  private rest: Buffer = Buffer.alloc(0);

  constructor(
    private readonly delimiter: Delimiter,
    inside: boolean,
  ) {
    this.by = delimiter.charCodeAt(0);
    this.signs = ['""', ...(inside ? [delimiter.repeat(2)] : [])].map((sign) => Buffer.from(sign));
  }

  look(chunk: Buffer): boolean {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const end = bytes.lastIndexOf(LF) + 1;
    this.rest = bytes.subarray(end);
    return this.lookAtLines(bytes.subarray(0, end));
  }

  end(): boolean {
    return this.rest.length === 0 || this.lookAtLines(Buffer.concat([this.rest, Buffer.from('\n')]));
  }

  /** Whole lines. Gives whether to go on. */
  private lookAtLines(lines: Buffer): boolean {
    let sign = this.nextSign(lines, 0);
    for (let start = 0; start < lines.length;) {
      const end = lines.indexOf(LF, start);
      if (end === start) return false; // an empty line is no row
      const isHeader = this.bytes === 0;
      if (isHeader || sign < end || lines[start] === this.by || lines[end - 1] === this.by) {
        const line = Buffer.concat([
          Buffer.from(`${isHeader ? '' : this.place}${this.delimiter}`),
          lines.subarray(start, end + 1),
        ]);
        this.found.push(line);
        this.bytes += line.length;
        if (this.bytes > MOST_BYTES) return false;
        if (sign < end) sign = this.nextSign(lines, end);
      }
      this.place += 1;
      start = end + 1;
    }
    return true;
  }

  private nextSign(lines: Buffer, from: number): number {
    return Math.min(
      ...this.signs.map((sign) => {
        const at = lines.indexOf(sign, from);
        return at < 0 ? Infinity : at;
      }),
    );
  }
}
