import { type Hash, createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { type Readable, pipeline as pipe } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CONTRACTS, type FileKind, type FileReason, ambiguousColumns, missingColumns } from '@music/contracts';
import { describeError, isLasting } from '@music/errors';
import type { FileEvidence } from '@music/runs';
import { ObjectChanged, type ObjectStore, type StoredObject } from '@music/storage';
import { type Form, HEAD_BYTES, type Packing, detectForm } from './detect-form';
import { InflationLimit, NotReadable, unpacker } from './inflate';
import { type CsvInspection, CsvInspector } from './inspect-csv';
import { detectDelimiter, readHeader, readKeys } from './read-columns';
import { type Delimiter, type Reading, contractNames } from './reading';

/** A file as it was fetched. Its rows can be read where it has a form that is known and the columns of its contract. */
export interface Fetched {
  readonly path: string;
  readonly readable: boolean;
  readonly form: Form;
  readonly delimiter: Delimiter;
  /** Of JSON lines and Parquet: the contract's columns, as the file names them. */
  readonly names: readonly string[];
  /** Of Parquet: the types of those. */
  readonly types: readonly string[];
  /** See CsvInspection. */
  readonly sequential: boolean;
  /** See CsvInspection. */
  readonly plain: boolean;
  /** Of the local file. Bytes. */
  readonly size: number;
  readonly evidence: Omit<FileEvidence, 'rows' | 'rejected'>;
}

export interface FetchOptions {
  /** Larger files are not read, packed or not. Bytes. */
  readonly maxFileBytes: number;
  readonly reading: Pick<Reading, 'delimiter' | 'columnNames'>;
  /** Told of the bytes that arrive. */
  readonly got: (bytes: number) => void;
  /** Gives the columns of a local Parquet file, with their types; throws where it is none. */
  readonly describe: (file: string) => Promise<readonly ParquetColumn[]>;
}

export interface ParquetColumn {
  readonly name: string;
  readonly type: string;
}

/**
 * Streams one object to a local file, unpacked, and looks at its bytes and its columns. What the file is like is
 * evidence, no error.
 */
export async function fetchFile(
  store: ObjectStore,
  kind: FileKind,
  object: StoredObject & { file: number },
  to: string,
  options: FetchOptions,
): Promise<Fetched> {
  const { key, file, size } = object;
  const none = { path: to, names: [], types: [], sequential: true, plain: false, size };
  const without = (defect: FileReason, detail: string, more: Partial<FileEvidence> = {}): Fetched => ({
    ...none,
    readable: false,
    form: 'csv',
    delimiter: ',',
    evidence: { file, key, columns: [], ...more, defect, detail },
  });
  if (size > options.maxFileBytes) return without('too_large', `${size} bytes, more than ${options.maxFileBytes}`);
  const hash = createHash('sha256');
  let arrived: Arrived;
  try {
    arrived = await receive(await store.open(object), hash, to, kind, size, options);
  } catch (error) {
    if (error instanceof NotReadable) return without(error.defect, error.message);
    if (error instanceof ObjectChanged) return without('source_changed', error.message);
    if (isLasting(error)) return without('unreadable', describeError(error));
    throw error;
  }
  const { form, packing, delimiter, inspection } = arrived;
  const sha256 = hash.digest('hex');
  const defect = inspection?.defect;
  if (defect !== undefined) return without(defect, inspection?.detail ?? '', { sha256 });
  const described = describeForm(form, packing, delimiter);
  const bytes = (await stat(to)).size;
  try {
    const found = await columnsOf(form, to, delimiter, options);
    const columns = contractNames(kind, found.columns, options.reading);
    const contract = CONTRACTS[kind];
    const readable = missingColumns(contract, columns).length === 0 && ambiguousColumns(contract, columns).length === 0;
    const at = readable && form !== 'csv' ? contract.required.map((name) => columns.indexOf(name)) : [];
    const names = at.map((i) => found.columns[i] as string);
    const types = form === 'parquet' ? at.map((i) => found.types[i] as string) : [];
    refuseTypes(contract.required, types);
    return {
      ...none,
      readable,
      form,
      delimiter,
      names,
      types,
      size: bytes,
      sequential: inspection?.sequential ?? false,
      plain: inspection?.plain ?? false,
      evidence: { file, key, sha256, columns, form: described },
    };
  } catch (error) {
    const more = { sha256, form: described };
    if (error instanceof NotReadable) return without(error.defect, error.message, more);
    const detail = describeError(error, 300).replaceAll(to, '…');
    return without(form === 'parquet' ? 'not_parquet' : 'not_csv', detail, more);
  }
}

interface Arrived {
  readonly form: Form;
  readonly packing?: Packing;
  readonly delimiter: Delimiter;
  /** Of text. */
  readonly inspection?: CsvInspection;
}

/** Streams an object to a local file, with its bytes hashed as they come. Throws NotReadable, and as the store does. */
async function receive(
  body: Readable,
  hash: Hash,
  to: string,
  kind: FileKind,
  size: number,
  { maxFileBytes, reading, got }: FetchOptions,
): Promise<Arrived> {
  const hashed = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      hash.update(chunk);
      got(chunk.length);
      yield chunk;
    }
  };
  const outer = await peek(hashed(body));
  try {
    const packing = packingOf(outer.head);
    const inner =
      packing === undefined
        ? outer
        : await peek(pipe(outer.all, unpacker(packing), new InflationLimit(size, maxFileBytes), () => undefined));
    try {
      const form = formOf(inner.head, packing);
      const delimiter =
        reading.delimiter !== 'auto'
          ? reading.delimiter
          : form === 'csv'
            ? detectDelimiter(inner.head, kind, reading)
            : ',';
      const file = createWriteStream(to, { highWaterMark: 2 ** 20 });
      if (form === 'parquet') {
        await pipeline(inner.all, file);
        return { form, delimiter };
      }
      const inspector = new CsvInspector(delimiter, form === 'csv');
      await pipeline(inner.all, inspector, file);
      return { form, packing, delimiter, inspection: inspector.result() };
    } finally {
      await inner.close();
    }
  } finally {
    await outer.close();
    body.destroy();
  }
}

function packingOf(head: Buffer): Packing | undefined {
  const { is } = detectForm(head);
  return is === 'gzip' || is === 'zstd' ? is : undefined;
}

function formOf(head: Buffer, packing: Packing | undefined): Form {
  const found = detectForm(head);
  const packed = packing === undefined ? '' : `${packing}'ed `;
  if (found.is === 'other')
    throw new NotReadable('unsupported_form', `this is ${packed}${found.what}: ${found.instead}`);
  if (found.is === 'gzip' || found.is === 'zstd')
    throw new NotReadable('unsupported_form', `this is ${packed}${found.is}: pack it once`);
  if (found.is === 'parquet' && packing !== undefined)
    throw new NotReadable('unsupported_form', `this is ${packed}Parquet: send the Parquet file as it is`);
  return found.is;
}

/** The first bytes of a stream, and the whole of it. `close` gives up what was not read. */
async function peek(chunks: AsyncIterable<Buffer>): Promise<{
  readonly head: Buffer;
  readonly all: AsyncGenerator<Buffer>;
  close(): Promise<void>;
}> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first: Buffer[] = [];
  let bytes = 0;
  let ended = false;
  while (bytes < HEAD_BYTES && !ended) {
    const { value, done } = await iterator.next();
    if (done === true) ended = true;
    else {
      first.push(value);
      bytes += value.length;
    }
  }
  const head = Buffer.concat(first);
  return {
    head,
    all: (async function* () {
      if (head.length > 0) yield head;
      while (!ended) {
        const { value, done } = await iterator.next();
        if (done === true) return;
        yield value;
      }
    })(),
    close: async () => void (await iterator.return?.()),
  };
}

async function columnsOf(
  form: Form,
  file: string,
  delimiter: Delimiter,
  { describe }: FetchOptions,
): Promise<{ readonly columns: readonly string[]; readonly types: readonly string[] }> {
  if (form === 'csv') return { columns: await readHeader(file, delimiter), types: [] };
  if (form === 'json-lines') return { columns: await readKeys(file), types: [] };
  const columns = await describe(file);
  return { columns: columns.map(({ name }) => name), types: columns.map(({ type }) => type) };
}

/** Numbers with a fraction are no ids and no instants: what was meant cannot be told. */
function refuseTypes(columns: readonly string[], types: readonly string[]): void {
  for (const [i, type] of types.entries()) {
    const column = columns[i] as string;
    const nested = /^(STRUCT|MAP|UNION|VARIANT)|\[\d*\]$/.test(type);
    const inexact = /^(FLOAT|DOUBLE|BOOLEAN|DECIMAL\(\d+,[1-9])/.test(type);
    if (nested || (inexact && /^(user_id|track_id|listen_time)$/.test(column)))
      throw new NotReadable('unsupported_type', `${column} is ${type.slice(0, 100)}`);
  }
}

/** How a file was read, for a person. */
function describeForm(form: Form, packing: Packing | undefined, delimiter: Delimiter): string {
  const parts = [
    form === 'json-lines' ? 'JSON lines' : form === 'parquet' ? 'Parquet' : 'CSV',
    ...(form === 'csv' && delimiter !== ',' ? [`delimiter ${delimiter === '\t' ? 'tab' : delimiter}`] : []),
    ...(packing === undefined ? [] : [packing]),
  ];
  return parts.join(', ');
}

/** How much is done at once: so many files, of so many bytes together. */
export interface AtOnce {
  readonly files: number;
  readonly bytes: number;
  /** Bytes before anything is there, so that the first file comes soon. */
  readonly firstBytes: number;
}

/**
 * Fetches files, in order, with the next few under way while one is worked on: as many as come to so many bytes, or
 * one. The first are begun at once. All have ended when it has.
 */
export function fetchAhead<F extends { readonly size: number }>(
  files: readonly F[],
  most: AtOnce,
  fetch: (file: F) => Promise<Fetched>,
): AsyncGenerator<Fetched> {
  const under: { readonly fetched: Promise<Fetched>; readonly size: number }[] = [];
  let next = 0;
  let bytes = 0;
  const more = (limit: number) => {
    for (let file = files[next]; file !== undefined; file = files[next]) {
      if (under.length >= most.files || (under.length > 0 && bytes + file.size > limit)) return;
      const fetched = fetch(file);
      fetched.catch(() => undefined); // awaited in its turn
      under.push({ fetched, size: file.size });
      bytes += file.size;
      next += 1;
    }
  };
  more(most.firstBytes);
  return (async function* () {
    try {
      for (let first = under[0]; first !== undefined; first = under[0]) {
        const fetched = await first.fetched;
        under.shift();
        bytes -= first.size;
        more(most.bytes);
        yield fetched;
      }
    } finally {
      await Promise.allSettled(under.map(({ fetched }) => fetched));
    }
  })();
}

/**
 * Parts files, in order, into groups that are read by one statement: with the same header, so many and of so many
 * bytes, or one alone. A statement takes time to be planned, and what it reads comes out as few, large objects; but the
 * first one begins as soon as there is something to do, and none waits for a file that cannot be in it. `stored`: the
 * same files, as large as they are stored.
 */
export async function* groupFiles(
  files: AsyncIterable<Fetched>,
  stored: readonly { readonly size: number }[],
  most: AtOnce,
): AsyncGenerator<Fetched[]> {
  let group: Fetched[] = [];
  let bytes = 0;
  let seen = 0;
  let limit = most.firstBytes;
  const kindOf = ({ form, delimiter, names, types, plain, evidence }: Fetched) =>
    JSON.stringify([form, delimiter, names, types, plain, form === 'csv' ? evidence.columns : []]);
  const close = () => {
    const closed = group;
    group = [];
    bytes = 0;
    limit = most.bytes;
    return closed;
  };
  for await (const file of files) {
    const [first] = group;
    const fits =
      first !== undefined &&
      [first, file].every(({ readable, sequential }) => readable && !sequential) &&
      group.length < most.files &&
      bytes + file.size <= limit &&
      kindOf(first) === kindOf(file);
    if (!fits && group.length > 0) yield close();
    group.push(file);
    bytes += file.size;
    seen += 1;
    if (bytes + (stored[seen]?.size ?? 0) > limit) yield close();
  }
  if (group.length > 0) yield group;
}
