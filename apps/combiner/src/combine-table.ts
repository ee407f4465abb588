import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { BLANKS } from '@music/contracts';
import { type Engine, text } from '@music/duckdb';
import { type Forgotten, isForgotten } from '@music/erasure';
import type { TableEvidence } from '@music/runs';
import type { ObjectStore, StoredObject } from '@music/storage';
import { TABLE_VERSION, typeTable } from './catalogue-tables';
import { type FetchOptions, fetchFile } from './fetch-file';
import { readFiles } from './read-files';
import type { Reading } from './reading';
import { MALFORMED, dropMalformed } from './row-source';
import { nullParameters } from './type-rows';

/** What a process knows of songs and users files that it has seen, so that one which is as it was is not fetched again. */
export class SeenTables {
  private readonly evidence = new Map<string, { readonly at: StoredObject; readonly evidence: TableEvidence }>();

  constructor(private readonly store: ObjectStore) {}

  /** As long as its evidence, and so its Parquet, is in the lake still. */
  async find(object: StoredObject): Promise<TableEvidence | undefined> {
    const seen = this.evidence.get(nameOf(object));
    if (seen === undefined) return undefined;
    const there = await this.store.head(seen.at.bucket, seen.at.key);
    return there?.etag === seen.at.etag ? seen.evidence : undefined;
  }

  note(object: StoredObject, at: StoredObject, evidence: TableEvidence): void {
    if (this.evidence.size >= TABLES_KNOWN) this.evidence.delete(this.evidence.keys().next().value ?? '');
    this.evidence.set(nameOf(object), { at, evidence });
  }
}

const TABLES_KNOWN = 100;
const nameOf = ({ bucket, key, etag, size }: StoredObject): string => JSON.stringify([bucket, key, etag, size]);

/** A songs or users file becomes Parquet once per content; after that its evidence is read back. */
export async function combineTable(
  open: () => Promise<Engine>,
  store: ObjectStore,
  lakeBucket: string,
  kind: 'songs' | 'users',
  object: StoredObject & { file: number },
  dir: string,
  options: FetchOptions & {
    readonly reading: Reading;
    readonly seen: SeenTables;
    /** Users who are forgotten, where there are any. */
    readonly openForgotten?: (engine: Engine) => Promise<Forgotten>;
  },
): Promise<TableEvidence> {
  const ofFile = (evidence: TableEvidence): TableEvidence => ({ ...evidence, file: object.file, key: object.key });
  const seenBefore = await options.seen.find(object);
  if (seenBefore !== undefined) return ofFile(seenBefore);
  const fetched = await fetchFile(store, kind, object, path.join(dir, `${kind}-${object.file}.rows`), options);
  const { path: file, readable, evidence } = fetched;
  const { reading } = options;
  const name = `${kind}/${evidence.sha256}.v${TABLE_VERSION}${variantOf(reading)}`;
  const known = { lake: lakeBucket, key: `${name}.json` };
  const before = evidence.sha256 === undefined ? undefined : await store.head(known.lake, known.key);
  if (before !== undefined) {
    await rm(file, { force: true });
    const evidenceOfContent = await store.readJson<TableEvidence>(before);
    options.seen.note(object, before, evidenceOfContent);
    return ofFile(evidenceOfContent);
  }
  const none = { ...evidence, rows: 0, rejected: {} };
  if (!readable) return none;
  const engine = await open();
  let parquet = path.join(dir, `${kind}-${object.file}.parquet`);
  const read = await readFiles(engine, kind, [fetched], reading.maxRowBytes, (rows) =>
    engine.run(`COPY (${typeTable(kind, rows, reading, fetched.plain)}) TO ${text(parquet)} (FORMAT parquet)`, {
      ...(fetched.plain ? {} : { blanks: BLANKS }),
      ...nullParameters(reading),
    }),
  );
  if ('defect' in read) return { ...none, ...read };
  const all = `SELECT * FROM read_parquet(${text(parquet)})`;
  const forgotten = kind === 'users' ? await options.openForgotten?.(engine) : undefined;
  if (forgotten !== undefined && (await forgotten.findAmong(all)) > 0) {
    const kept = path.join(dir, `${kind}-${object.file}-kept.parquet`);
    await engine.run(`COPY (${all} WHERE NOT ${isForgotten()}) TO ${text(kept)} (FORMAT parquet)`);
    await rm(parquet);
    parquet = kept;
  }
  const rows = await engine.count(`SELECT count(*) FROM read_parquet(${text(parquet)})`);
  const unread = await engine.count(`SELECT count(DISTINCT line) FROM ${MALFORMED}`);
  await engine.run(dropMalformed);
  const stored = await store.uploadOnce(lakeBucket, `${name}.parquet`, parquet);
  await Promise.all([rm(file), rm(parquet)]);
  const seen: TableEvidence = {
    ...evidence,
    rows: rows + unread,
    rejected: unread > 0 ? { malformed_row: unread } : {},
    parquet: stored,
  };
  options.seen.note(object, await store.putJsonOnce(known.lake, known.key, seen), seen);
  return seen;
}

/** Told apart where settings make another table of the same bytes. */
function variantOf({ delimiter, columnNames, nullText }: Reading): string {
  if (delimiter === ',' && columnNames.length === 0 && nullText.length === 0) return '';
  const hash = createHash('sha256').update(JSON.stringify([delimiter, columnNames, nullText]));
  return `-${hash.digest('hex').slice(0, 8)}`;
}
