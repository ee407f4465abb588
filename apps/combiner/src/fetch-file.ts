import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { CONTRACTS, type FileKind, type FileReason, ambiguousColumns, missingColumns } from '@music/contracts';
import { describeError, isLasting } from '@music/errors';
import type { FileEvidence } from '@music/runs';
import { ObjectChanged, type ObjectStore, type StoredObject } from '@music/storage';
import { CsvInspector } from './inspect-csv';
import { readHeader } from './read-header';

/** A file as it was fetched. Its rows can be read where it is CSV text with the columns of its contract. */
export interface Fetched {
  readonly path: string;
  readonly readable: boolean;
  /** See CsvInspection. */
  readonly sequential: boolean;
  /** See CsvInspection. */
  readonly plain: boolean;
  /** Bytes. */
  readonly size: number;
  readonly evidence: Omit<FileEvidence, 'rows' | 'rejected'>;
}

export interface FetchLimits {
  /** Larger files are not read. Bytes. */
  readonly maxFileBytes: number;
}

/** Streams one object to a local file and looks at its bytes and its header. What the file is like is evidence, no error. */
export async function fetchFile(
  store: ObjectStore,
  kind: FileKind,
  object: StoredObject & { file: number },
  to: string,
  limits: FetchLimits,
): Promise<Fetched> {
  const { key, file, size } = object;
  const without = (defect: FileReason, detail: string, more: Partial<FileEvidence> = {}): Fetched => ({
    path: to,
    readable: false,
    sequential: true,
    plain: false,
    size,
    evidence: { file, key, columns: [], ...more, defect, detail },
  });
  if (size > limits.maxFileBytes) return without('too_large', `${size} bytes, more than ${limits.maxFileBytes}`);
  const inspector = new CsvInspector();
  try {
    await pipeline(await store.open(object), inspector, createWriteStream(to, { highWaterMark: 2 ** 20 }));
  } catch (error) {
    if (error instanceof ObjectChanged) return without('source_changed', error.message);
    if (isLasting(error)) return without('unreadable', describeError(error));
    throw error;
  }
  const { sha256, sequential, plain, defect, detail } = inspector.result();
  if (defect !== undefined) return without(defect, detail ?? '', { sha256 });
  let columns: string[];
  try {
    columns = await readHeader(to);
  } catch (error) {
    return without('not_csv', (error as Error).message, { sha256 });
  }
  const readable = missingColumns(CONTRACTS[kind], columns).length === 0 && ambiguousColumns(CONTRACTS[kind], columns).length === 0;
  return { path: to, readable, sequential, plain, size, evidence: { file, key, sha256, columns } };
}

/** Like `map`, in order, with the next few under way while one is worked on. The first are begun at once. All have ended when it has. */
export function mapAhead<T, R>(items: readonly T[], ahead: number, map: (item: T) => Promise<R>): AsyncGenerator<R> {
  const under: Promise<R>[] = [];
  let next = 0;
  const more = () => {
    for (; next < items.length && under.length < ahead; next += 1) {
      const begun = map(items[next] as T);
      begun.catch(() => undefined); // awaited in its turn
      under.push(begun);
    }
  };
  more();
  return (async function* () {
    try {
      for (; under.length > 0; more()) yield await (under.shift() as Promise<R>);
    } finally {
      await Promise.allSettled(under);
    }
  })();
}

/**
 * Parts files, in order, into groups that are read by one statement: with the same header, so many and of so many bytes, or one alone.
 * A statement takes time to be planned, and what it reads comes out as few, large objects.
 */
export async function* groupFiles(
  files: AsyncIterable<Fetched>,
  most: { readonly files: number; readonly bytes: number },
): AsyncGenerator<Fetched[]> {
  let group: Fetched[] = [];
  let bytes = 0;
  const kindOf = ({ plain, evidence }: Fetched) => JSON.stringify([plain, evidence.columns]);
  for await (const file of files) {
    const [first] = group;
    const fits =
      first !== undefined &&
      [first, file].every(({ readable, sequential }) => readable && !sequential) &&
      group.length < most.files &&
      bytes + file.size <= most.bytes &&
      kindOf(first) === kindOf(file);
    if (!fits && group.length > 0) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(file);
    bytes += file.size;
  }
  if (group.length > 0) yield group;
}
