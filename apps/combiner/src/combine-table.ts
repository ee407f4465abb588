import { rm } from 'node:fs/promises';
import path from 'node:path';
import { BLANKS } from '@music/contracts';
import { type Engine, text } from '@music/duckdb';
import type { TableEvidence } from '@music/runs';
import type { ObjectStore, StoredObject } from '@music/storage';
import { TABLE_VERSION, typeTable } from './catalogue-tables';
import { MALFORMED, dropMalformed } from './csv-source';
import { type FetchLimits, fetchFile } from './fetch-file';
import { readCsv } from './read-csv';

/** A songs or users file becomes Parquet once per content; after that its evidence is read back. */
export async function combineTable(
  engine: Engine,
  store: ObjectStore,
  lakeBucket: string,
  kind: 'songs' | 'users',
  object: StoredObject & { file: number },
  dir: string,
  limits: FetchLimits & { readonly maxRowBytes: number },
): Promise<TableEvidence> {
  const fetched = await fetchFile(store, kind, object, path.join(dir, `${kind}-${object.file}.csv`), limits);
  const { path: file, readable, evidence } = fetched;
  const known = { lake: lakeBucket, key: `${kind}/${evidence.sha256}.v${TABLE_VERSION}.json` };
  const before = evidence.sha256 === undefined ? undefined : await store.head(known.lake, known.key);
  if (before !== undefined) {
    await rm(file, { force: true });
    return { ...(await store.readJson<TableEvidence>(before)), file: object.file, key: object.key };
  }
  const none = { ...evidence, rows: 0, rejected: {} };
  if (!readable) return none;
  const parquet = path.join(dir, `${kind}-${object.file}.parquet`);
  const read = await readCsv(engine, [fetched], limits.maxRowBytes, (csv) =>
    engine.run(
      `COPY (${typeTable(kind, csv, fetched.plain)}) TO ${text(parquet)} (FORMAT parquet)`,
      fetched.plain ? {} : { blanks: BLANKS },
    ),
  );
  if ('defect' in read) return { ...none, ...read };
  const rows = await engine.count(`SELECT count(*) FROM read_parquet(${text(parquet)})`);
  const unread = await engine.count(`SELECT count(DISTINCT line) FROM ${MALFORMED}`);
  await engine.run(dropMalformed);
  const stored = await store.uploadOnce(lakeBucket, `${kind}/${evidence.sha256}.v${TABLE_VERSION}.parquet`, parquet);
  await Promise.all([rm(file), rm(parquet)]);
  const seen: TableEvidence = {
    ...evidence,
    rows: rows + unread,
    rejected: unread > 0 ? { malformed_row: unread } : {},
    parquet: stored,
  };
  await store.putJsonOnce(known.lake, known.key, seen);
  return seen;
}
