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

/**
 * Streams one object to a local file and looks at its bytes and its header. What the file is like is evidence, no
 * error.
 */
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
  const readable =
    missingColumns(CONTRACTS[kind], columns).length === 0 && ambiguousColumns(CONTRACTS[kind], columns).length === 0;
  return { path: to, readable, sequential, plain, size, evidence: { file, key, sha256, columns } };
}

/**
 * Fetches files, in order, with the next few under way while one is worked on: as many as come to so many bytes, or
 * one. The first are begun at once. All have ended when it has.
 */
export function fetchAhead<F extends { readonly size: number }>(
  files: readonly F[],
  most: { readonly files: number; readonly bytes: number },
  fetch: (file: F) => Promise<Fetched>,
): AsyncGenerator<Fetched> {
  const under: { readonly fetched: Promise<Fetched>; readonly size: number }[] = [];
  let next = 0;
  let bytes = 0;
  const more = () => {
    for (let file = files[next]; file !== undefined; file = files[next]) {
      if (under.length >= most.files || (under.length > 0 && bytes + file.size > most.bytes)) return;
      const fetched = fetch(file);
      fetched.catch(() => undefined); // awaited in its turn
      under.push({ fetched, size: file.size });
      bytes += file.size;
      next += 1;
    }
  };
  more();
  return (async function* () {
    try {
      for (let first = under[0]; first !== undefined; first = under[0]) {
        const fetched = await first.fetched;
        under.shift();
        bytes -= first.size;
        more();
        yield fetched;
      }
    } finally {
      await Promise.allSettled(under.map(({ fetched }) => fetched));
    }
  })();
}

/**
 * Parts files, in order, into groups that are read by one statement: with the same header, so many and of so many
 * bytes, or one alone. A statement takes time to be planned, and what it reads comes out as few, large objects.
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
