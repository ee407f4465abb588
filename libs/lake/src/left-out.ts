import type { Standing } from '@music/runs';
import type { ObjectStore } from '@music/storage';

/** Where the lake says what of it does not count: JSON lines, of a table `left_out` for whoever reads it with SQL. */
export const LEFT_OUT_KEY = 'left_out/left_out.jsonl';

/** Writes down which deliveries do not count, and of which runs none. The caller holds the turn to write the lake. */
export async function writeLeftOut(
  store: ObjectStore,
  bucket: string,
  retracted: readonly Standing[],
  heldRuns: readonly string[],
): Promise<void> {
  const lines = [
    ...retracted.flatMap(({ key, version, takenBy, notes }) => {
      const { change, runId, at, reason, by } = notes.at(-1) ?? {};
      return takenBy.map((taker) => ({
        run: taker.runId,
        file: taker.file,
        key,
        version,
        change,
        changed_by_run: runId,
        at,
        reason,
        by,
      }));
    }),
    ...heldRuns.map((run) => ({ run, change: 'hold' })),
  ];
  await store.putText(
    bucket,
    LEFT_OUT_KEY,
    lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    'application/x-ndjson',
  );
}
