import type { Delivery } from '@music/runs';
import { type ObjectStore, mapLimited } from '@music/storage';

/** The days that a run has ever put listens into, ascending, YYYY-MM-DD. */
export interface PlacedDays {
  readonly dates: readonly string[];
  /** The numbers of the files that have, or may have, listens of a day. Absent where an earlier release placed them. */
  readonly files?: Readonly<Record<string, readonly number[]>>;
}

const READ_AT_ONCE = 8;

const placedKey = (runId: string): string => `runs/${runId}/placed.json`;

/** What a run has ever put into the lake, or undefined where that is nothing. */
export async function readPlaced(store: ObjectStore, bucket: string, runId: string): Promise<PlacedDays | undefined> {
  const object = await store.head(bucket, placedKey(runId));
  return object === undefined ? undefined : store.readJson<PlacedDays>(object);
}

/** Written before the first of the listens, so that a later attempt finds what an earlier one left. */
export async function writePlaced(
  store: ObjectStore,
  bucket: string,
  runId: string,
  placed: PlacedDays,
): Promise<void> {
  await store.putJson(bucket, placedKey(runId), placed);
}

/** Gives the days on which a delivery has listens in the lake, or may have. Reads what each run has placed once. */
export async function openPlacedDays(
  store: ObjectStore,
  bucket: string,
  deliveries: readonly Pick<Delivery, 'takenBy'>[],
): Promise<(delivery: Pick<Delivery, 'takenBy'>) => string[]> {
  const runs = [...new Set(deliveries.flatMap(({ takenBy }) => takenBy.map(({ runId }) => runId)))];
  const daysOf = new Map<string, { all: readonly string[]; byFile: ReadonlyMap<number, string[]> | undefined }>();
  await mapLimited(runs, READ_AT_ONCE, async (runId) => {
    const { dates = [], files = dates.length === 0 ? {} : undefined } = (await readPlaced(store, bucket, runId)) ?? {};
    daysOf.set(runId, { all: dates, byFile: files === undefined ? undefined : daysByFile(files) });
  });
  return ({ takenBy }) => {
    const dates = takenBy.flatMap(({ runId, file }) => {
      const { all = [], byFile } = daysOf.get(runId) ?? {};
      return byFile === undefined ? all : (byFile.get(file) ?? []);
    });
    return [...new Set(dates)].sort();
  };
}

function daysByFile(files: Readonly<Record<string, readonly number[]>>): Map<number, string[]> {
  const days = new Map<number, string[]>();
  for (const [date, members] of Object.entries(files))
    for (const file of members) days.set(file, [...(days.get(file) ?? []), date]);
  return days;
}
