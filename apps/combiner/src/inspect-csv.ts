import { isAscii, isUtf8 } from 'node:buffer';
import { Transform, type TransformCallback } from 'node:stream';
import type { FileReason } from '@music/contracts';
import type { Delimiter } from './reading';

const QUOTE = 0x22;
const LF = 0x0a;
const CR = 0x0d;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
/** Bytes that a plain file has not: tab, vertical tab, form feed, carriage return. */
const NOT_PLAIN = [0x09, 0x0b, 0x0c, CR];
const LONG_LINE_BYTES = 2 ** 16;

export interface CsvInspection {
  /**
   * Whether the reader has to go through the file from its beginning: it has line breaks inside quotes, or very long
   * lines.
   */
  readonly sequential: boolean;
  /** Whether it is ASCII, and its values hold no blanks but spaces, so that they are quick to look at. */
  readonly plain: boolean;
  readonly defect?: FileReason;
  readonly detail?: string;
}

/**
 * Passes a CSV file on unchanged and watches its bytes: whether they are UTF-8 text, and whether the file
 * ends inside a quoted field. Needs no more memory than a chunk, whatever the file.
 */
export class CsvInspector extends Transform {
  private readonly delimiter: number;
  private offset = 0;
  /** The bytes of a character that the last chunk cut in two. */
  private cut: Buffer = Buffer.alloc(0);
  private quoted = false;
  /** A quote inside a quoted field was the last byte of a chunk: whether it ends the field, the next byte tells. */
  private undecided = false;
  private last = LF;
  private head: Buffer = Buffer.alloc(0);
  private hasQuotedBreaks = false;
  private hasLongLines = false;
  private lineStart = 0;
  private plain = true;
  private defect: { reason: FileReason; detail: string } | undefined;

  /** `quotes`: whether fields may be quoted; a line of JSON is one field. */
  constructor(
    delimiter: Delimiter = ',',
    private readonly quotes = true,
  ) {
    super();
    this.delimiter = delimiter.charCodeAt(0);
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    if (this.defect === undefined) {
      this.checkText(chunk);
      this.plain &&=
        this.quotes && isAscii(chunk) && !NOT_PLAIN.some((byte) => byte !== this.delimiter && chunk.includes(byte));
      if (this.head.length < BOM.length)
        this.head = Buffer.concat([this.head, chunk.subarray(0, BOM.length - this.head.length)]);
      if (this.quotes) this.followQuotes(chunk);
      this.measureLines(chunk);
    }
    this.offset += chunk.length;
    done(undefined, chunk);
  }

  /** Call it once the stream has ended. */
  result(): CsvInspection {
    if (this.defect === undefined && this.cut.length > 0)
      this.defect = { reason: 'not_utf8', detail: 'the file ends inside a character' };
    if (this.defect === undefined && this.quoted && !this.undecided)
      this.defect = {
        reason: 'unterminated_quote',
        detail: `the file ends inside a quoted field, after ${this.offset} bytes`,
      };
    return {
      sequential: this.hasQuotedBreaks || this.hasLongLines,
      plain: this.plain && !this.hasQuotedBreaks,
      defect: this.defect?.reason,
      detail: this.defect?.detail,
    };
  }

  private checkText(chunk: Buffer): void {
    const nul = chunk.indexOf(0);
    if (nul >= 0) {
      this.defect = { reason: 'not_utf8', detail: `byte ${this.offset + nul} is 0, which no text has` };
      return;
    }
    const text = this.cut.length === 0 ? chunk : Buffer.concat([this.cut, chunk]);
    const whole = text.length - incompleteEnd(text);
    if (!isUtf8(text.subarray(0, whole))) {
      this.defect = {
        reason: 'not_utf8',
        detail: `byte ${this.offset - this.cut.length + firstInvalid(text.subarray(0, whole))} is not UTF-8`,
      };
    }
    this.cut = text.subarray(whole);
  }

  /** RFC 4180: a quote opens a field at its beginning only; inside, two quotes are one, and one ends it. */
  private followQuotes(chunk: Buffer): void {
    let from = 0;
    if (this.undecided && chunk.length > 0) {
      this.undecided = false;
      if (chunk[0] === QUOTE) from = 1;
      else this.quoted = false;
    }
    for (let at = chunk.indexOf(QUOTE, from); at >= 0; at = chunk.indexOf(QUOTE, from)) {
      if (this.quoted) this.lookForBreak(chunk, from, at);
      from = at + 1;
      if (!this.quoted) {
        const before = at > 0 ? chunk[at - 1] : this.last;
        const begins =
          before === this.delimiter ||
          before === LF ||
          before === CR ||
          this.offset + at === 0 ||
          (this.offset + at === BOM.length && this.head.equals(BOM));
        if (begins) this.quoted = true;
      } else if (from === chunk.length) {
        this.undecided = true;
      } else if (chunk[from] === QUOTE) {
        from += 1;
      } else {
        this.quoted = false;
      }
    }
    if (this.quoted) this.lookForBreak(chunk, from, chunk.length);
    if (chunk.length > 0) this.last = chunk[chunk.length - 1] as number;
  }

  private lookForBreak(chunk: Buffer, from: number, to: number): void {
    if (this.hasQuotedBreaks) return;
    const field = chunk.subarray(from, to);
    this.hasQuotedBreaks = field.includes(LF) || field.includes(CR);
  }

  /** Lines that are longer than a chunk reach over its end, so its first and last line end tell of every long one. */
  private measureLines(chunk: Buffer): void {
    const first = chunk.indexOf(LF);
    const lineEnd = this.offset + (first < 0 ? chunk.length : first);
    if (lineEnd - this.lineStart > LONG_LINE_BYTES) this.hasLongLines = true;
    if (first >= 0) this.lineStart = this.offset + chunk.lastIndexOf(LF) + 1;
  }
}

/** How many bytes at the end are the beginning of a character whose rest is yet to come. */
function incompleteEnd(text: Buffer): number {
  for (let back = 1; back <= Math.min(3, text.length); back += 1) {
    const byte = text[text.length - back] as number;
    if (byte < 0x80) return 0;
    if (byte > 0xf4) return 0; // begins nothing
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back ? back : 0;
    }
  }
  return 0;
}

function firstInvalid(text: Buffer): number {
  let valid = 0;
  let invalid = text.length;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    const prefix = text.subarray(0, middle);
    if (isUtf8(prefix.subarray(0, middle - incompleteEnd(prefix)))) valid = middle;
    else invalid = middle;
  }
  return valid;
}
