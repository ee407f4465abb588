import { lakeDay, runsBehind } from '@music/lake';
import type { DayItem, GenreItem } from '@music/kpis';
import { type Manifest, type StandingNote, deliveryKey } from '@music/runs';
import type { Stores } from '@music/service';
import { mapLimited } from '@music/storage';
import { retractions } from './retractions';

const RUNS_AT_ONCE = 8;

/** A run that left listens of the day in the lake, with the files they came in. */
export interface LineageRun {
  readonly run_id: string;
  /** Of the object its listens are in; after a compaction those of other runs are in it, too. */
  readonly lake_bytes: number;
  readonly manifest?: string;
  /** The run's files that passed. Which of them have listens of this day is not kept. */
  readonly files: readonly {
    readonly key: string;
    /** etag and time, and the version of the bucket where it keeps versions. */
    readonly version: string;
    readonly version_id?: string;
    readonly sha256?: string;
    readonly now_at?: string;
    /** Who took it back, so that no listen counts for it. */
    readonly retracted?: StandingNote;
  }[];
}

/** From a genre's numbers on a day back to the files. */
export interface Lineage {
  readonly day: DayItem;
  readonly kpis: GenreItem;
  /** The songs files that the day was computed with. */
  readonly catalogue: readonly string[];
  readonly runs: readonly LineageRun[];
  /** How many there are in all. */
  readonly run_count: number;
}

export interface LineagePage {
  /** How many runs to tell of, and how many to leave out before. */
  readonly limit?: number;
  readonly offset?: number;
}

/** Undefined where the day or the genre on it was never published. */
export async function explain(
  { kpis, runs, objects }: Pick<Stores, 'kpis' | 'runs' | 'objects'>,
  lakeBucket: string,
  date: string,
  genre: string,
  { limit = Infinity, offset = 0 }: LineagePage = {},
): Promise<Lineage | undefined> {
  const [day, item] = await Promise.all([kpis.readDay(date), kpis.genre(date, genre)]);
  if (day === undefined || item === undefined) return undefined;
  const retracted = await retractions({ runs });
  const bytes = new Map<string, number>();
  for (const { run, size } of await lakeDay(objects, lakeBucket, date)) bytes.set(run, (bytes.get(run) ?? 0) + size);
  const manifestOf = async (runId: string) => {
    const ref = (await runs.findRun(runId))?.manifest;
    return ref === undefined ? undefined : { ref, manifest: await objects.readJson<Manifest>(ref) };
  };
  const behind: { run_id: string; lake_bytes: number }[] = [];
  for (const [folder, lake_bytes] of bytes)
    for (const run_id of await runsBehind(objects, lakeBucket, folder)) behind.push({ run_id, lake_bytes });
  const lineage = await mapLimited(behind.slice(offset, offset + limit), RUNS_AT_ONCE, lineageOf);
  const songs = (await manifestOf(day.run_id))?.manifest.songs ?? [];
  const catalogue = songs.map(({ key, etag }) => `${key} ${etag}`);
  return { day, kpis: item, catalogue, runs: lineage, run_count: behind.length };

  async function lineageOf({ run_id, lake_bytes }: { run_id: string; lake_bytes: number }): Promise<LineageRun> {
    const found = await manifestOf(run_id);
    const entryOf = await runs.files.ofFiles(found?.manifest.streams ?? []);
    const files = (found?.manifest.streams ?? []).flatMap((file) => {
      const entry = entryOf(file);
      if (entry?.runId !== run_id || (entry.state !== 'archived' && entry.state !== 'passed')) return [];
      return [
        {
          key: file.key,
          version: entry.version,
          version_id: file.versionId,
          sha256: entry.sha256,
          now_at: entry.movedTo,
          retracted: retracted.get(deliveryKey(entry)),
        },
      ];
    });
    const manifest = found === undefined ? undefined : `s3://${found.ref.bucket}/${found.ref.key}`;
    return { run_id, lake_bytes, manifest, files };
  }
}
