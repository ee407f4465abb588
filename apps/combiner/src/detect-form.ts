/** How the rows of a file stand in it. */
export const FORMS = ['csv', 'json-lines', 'parquet'] as const;
export type Form = (typeof FORMS)[number];

/** How a file's bytes are packed. */
export type Packing = 'gzip' | 'zstd';

/** What the first bytes of a file say that it is. */
export type Detected =
  | { readonly is: Form }
  | { readonly is: Packing }
  /** A form that is not read, with what to do about it. */
  | { readonly is: 'other'; readonly what: string; readonly instead: string };

/** So many first bytes tell the form of every file. */
export const HEAD_BYTES = 2 ** 16;

const text = (characters: string) => Buffer.from(characters, 'latin1');
const AS_CSV = 'send it as CSV, JSON lines or Parquet';
const UTF_8 = 'save it as UTF-8';

/** Forms by the bytes that they begin with, or have at an offset. */
const OTHERS: readonly (readonly [magic: Buffer, what: string, instead: string, at?: number])[] = [
  [text('PK\x03\x04'), 'zip, such as an Excel workbook (xlsx)', 'send each file in it as gzip, or the sheet as CSV'],
  [text('PK\x05\x06'), 'zip without a file in it', AS_CSV],
  [text('\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1'), 'Microsoft Office of old (xls)', 'send the sheet as CSV'],
  [text('Obj\x01'), 'Avro', AS_CSV],
  [text('ORC'), 'ORC', AS_CSV],
  [text('ARROW1'), 'Arrow (Feather)', AS_CSV],
  [text('PARE'), 'Parquet with an encrypted footer', 'send it unencrypted'],
  [text('BZh'), 'bzip2', 'pack it with gzip or zstd'],
  [text('\xfd7zXZ\x00'), 'xz', 'pack it with gzip or zstd'],
  [text('7z\xbc\xaf\x27\x1c'), '7z', 'send each file in it, packed with gzip or zstd'],
  [text('Rar!\x1a\x07'), 'rar', 'send each file in it, packed with gzip or zstd'],
  [text('\x04\x22\x4d\x18'), 'lz4', 'pack it with gzip or zstd'],
  [text('\xff\x06\x00\x00sNaPpY'), 'framed Snappy', 'pack it with gzip or zstd'],
  [text('%PDF-'), 'PDF', AS_CSV],
  [text('SQLite format 3\x00'), 'SQLite', AS_CSV],
  [text('DUCK'), 'DuckDB', AS_CSV, 8],
  [text('ustar'), 'tar', 'send each file in it', 257],
  [text('\xff\xfe\x00\x00'), 'UTF-32', UTF_8],
  [text('\x00\x00\xfe\xff'), 'UTF-32', UTF_8],
  [text('\xff\xfe'), 'UTF-16', UTF_8],
  [text('\xfe\xff'), 'UTF-16', UTF_8],
];

/** Tells a file's form by its first bytes: by its content, never by its name. Text is CSV where it is nothing else. Pure. */
export function detectForm(head: Buffer): Detected {
  const has = (magic: Buffer, at = 0) => head.subarray(at, at + magic.length).equals(magic);
  if (has(text('\x1f\x8b'))) return { is: 'gzip' };
  // A zstd file may begin with a frame that is to be skipped.
  if (has(text('\x28\xb5\x2f\xfd')) || (head.length >= 4 && (head.readUInt32LE(0) & 0xfffffff0) === 0x184d2a50))
    return { is: 'zstd' };
  if (has(text('PAR1'))) return { is: 'parquet' };
  for (const [magic, what, instead, at] of OTHERS) if (has(magic, at)) return { is: 'other', what, instead };
  if (looksLikeUtf16(head)) return { is: 'other', what: 'UTF-16 without a byte order mark', instead: UTF_8 };
  const beginning = head
    .toString('latin1', 0, 256)
    .replace(/^\xef\xbb\xbf/, '')
    .trimStart();
  if (/^(<!doctype|<html|<\?xml|<\w+[ >])/i.test(beginning))
    return { is: 'other', what: 'HTML or XML', instead: AS_CSV };
  if (/^\[\s*([{[\]"\d-]|$)/.test(beginning))
    return { is: 'other', what: 'one JSON array', instead: 'write one object a line' };
  return { is: /^\{\s*["}]/.test(beginning) ? 'json-lines' : 'csv' };
}

/** ASCII text in UTF-16 has a zero in every second byte. */
function looksLikeUtf16(head: Buffer): boolean {
  const sample = head.subarray(0, 64);
  if (sample.length < 4) return false;
  const zeros = [0, 0];
  for (const [i, byte] of sample.entries()) if (byte === 0) zeros[i % 2] = (zeros[i % 2] ?? 0) + 1;
  const half = Math.floor(sample.length / 2);
  return (zeros[0] === 0 && zeros[1] === half) || (zeros[1] === 0 && (zeros[0] ?? 0) >= half);
}
