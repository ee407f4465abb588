import path from 'node:path';
import { type DuckDBLimits, PARQUET, text, textList, withEngine } from '@music/duckdb';
import type { BatchEvidence, ListensObject, ListensPart } from '@music/runs';
import { type ObjectStore, downloadAll, ensureRoom, mapLimited } from '@music/storage';
import { ulid } from 'ulid';

const REWRITTEN_AT_ONCE = 1; // each has the engine's memory to itself

/**
 * Gives the objects that hold the listens of the files that passed, and of no other: the combiner's own, which nobody
 * changes any more; one is rewritten only where rows of a rejected file have to go.
 */
export async function promoteBatch(
  evidence: BatchEvidence,
  passed: ReadonlySet<number>,
  store: ObjectStore,
  bucket: string,
  scratch: string,
  limits: DuckDBLimits,
): Promise<ListensObject[]> {
  const prefix = `runs/${evidence.runId}/validated/batch-${String(evidence.batch).padStart(5, '0')}/${ulid()}/`;
  const promoted = await mapLimited(evidence.parts, REWRITTEN_AT_ONCE, async (part, i) => {
    const staying = part.files.filter((file) => passed.has(file));
    if (staying.length === 0) return undefined;
    if (staying.length === part.files.length) return { ...part.object, files: staying };
    return rewrite(part, staying, `${prefix}listens-${String(i).padStart(4, '0')}.parquet`);
  });
  return promoted.filter((each) => each !== undefined);

  async function rewrite(part: ListensPart, staying: readonly number[], key: string): Promise<ListensObject> {
    return withEngine(scratch, 'promote', limits, async (engine, dir) => {
      await ensureRoom(dir, 2 * part.object.size, 'to take the rows of rejected files out');
      const files = await downloadAll(store, [part.object], path.join(dir, 'in'));
      const out = path.join(dir, 'out.parquet');
      await engine.run(
        `COPY (SELECT * FROM read_parquet(${textList(files)}) WHERE file IN (${staying.map(Number).join(', ')})) TO ${text(out)} (FORMAT parquet, ${PARQUET})`,
      );
      return { ...(await store.upload(bucket, key, out)), date: part.object.date, files: staying };
    });
  }
}
