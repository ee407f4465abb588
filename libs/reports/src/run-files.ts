import type { Manifest } from '@music/runs';
import type { Stores } from '@music/service';
import { readOnce } from './read-once';
import { retractions } from './retractions';
import { type FileReport, fileReport, leftReport } from './run-report';

/** Files that one call looks at: so many entries of the ledger, in calls of 100. */
const FILES_LOOKED_AT = 1_000;
const FILES_A_CALL = 100;

export interface FilesPage {
  readonly files: readonly FileReport[];
  /** The place in the manifest to go on from, where there is one. */
  readonly next?: number;
}

/**
 * Up to `limit` files of a run in the order of its manifest, from a place in it on, that are in one of some states.
 * There may be fewer, and more to come: a call looks at no more than 1,000. Undefined where there is no such run.
 */
export async function runFiles(
  { runs, objects }: Pick<Stores, 'runs' | 'objects'>,
  runId: string,
  { limit, after = 0, states }: { limit: number; after?: number; states?: ReadonlySet<FileReport['state']> },
): Promise<FilesPage | undefined> {
  const run = await runs.findRun(runId);
  if (run === undefined) return undefined;
  if (run.manifest === undefined) return { files: [] };
  const [{ streams, left }, retracted] = await Promise.all([
    readOnce<Manifest>(objects, run.manifest),
    retractions({ runs }),
  ]);
  const files: FileReport[] = [];
  const end = streams.length + left.length;
  for (let at = after; at < end; at += FILES_A_CALL) {
    if (at - after >= FILES_LOOKED_AT) return { files, next: at };
    const taken = streams.slice(at, at + FILES_A_CALL);
    const entryOf = await runs.files.ofFiles(taken);
    const looked = [
      ...taken.map((file) => fileReport(file, run, entryOf(file), retracted)),
      ...left.slice(Math.max(0, at - streams.length), Math.max(0, at + FILES_A_CALL - streams.length)).map(leftReport),
    ];
    for (const [i, file] of looked.entries()) {
      if (states !== undefined && !states.has(file.state)) continue;
      files.push(file);
      if (files.length === limit) return at + i + 1 < end ? { files, next: at + i + 1 } : { files };
    }
  }
  return { files };
}
