import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { type DuckDBLimits, Engine, PARQUET, text, textList } from '@music/duckdb';
import type { ObjectRef } from '@music/events';
import type { BatchEvidence, ListensPart } from '@music/runs';
import { type ObjectStore, downloadAll, mapLimited } from '@music/storage';
import { ulid } from 'ulid';

const COPIES_AT_ONCE = 4;

/**
 * Puts the listens of the files that passed into the intermediate bucket: a server-side copy of each part, rewritten only
 * where rows of a rejected file have to go. Gives the objects.
 */
export async function promoteBatch(
  evidence: BatchEvidence,
  passed: ReadonlySet<number>,
  store: ObjectStore,
  bucket: string,
  scratch: string,
  limits: DuckDBLimits,
): Promise<ObjectRef[]> {
  const prefix = `runs/${evidence.runId}/validated/batch-${String(evidence.batch).padStart(5, '0')}/${ulid()}/`;
  const promoted = await mapLimited(evidence.parts, COPIES_AT_ONCE, async (part, i) => {
    const key = `${prefix}listens-${String(i).padStart(4, '0')}.parquet`;
    const staying = part.files.filter((file) => passed.has(file));
    if (staying.length === 0) return undefined;
    if (staying.length < part.files.length) return rewrite(part, staying, key);
    const { etag, size } = await store.copy(part.object, bucket, key);
    return { bucket, key, etag, size };
  });
  return promoted.filter((each) => each !== undefined);

  async function rewrite(part: ListensPart, staying: readonly number[], key: string): Promise<ObjectRef> {
    const dir = await mkdtemp(path.join(scratch, 'promote-'));
    const engine = await Engine.open(dir, limits);
    try {
      const files = await downloadAll(store, [part.object], path.join(dir, 'in'));
      const out = path.join(dir, 'out.parquet');
      await engine.run(
        `COPY (SELECT * FROM read_parquet(${textList(files)}) WHERE file IN (${staying.map(Number).join(', ')})) TO ${text(out)} (FORMAT parquet, ${PARQUET})`,
      );
      return await store.upload(bucket, key, out);
    } finally {
      engine.close();
      await rm(dir, { recursive: true, force: true });
    }
  }
}
