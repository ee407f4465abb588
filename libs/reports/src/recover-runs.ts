import { createInterface } from 'node:readline';
import { LEFT_OUT_KEY, openPlacedDays } from '@music/lake';
import { type Manifest, type Standing, deliveryKey, manifestPrefix, versionOf } from '@music/runs';
import type { Stores } from '@music/service';
import { mapLimited } from '@music/storage';

const CALLS_AT_ONCE = 16;

/** What the table of runs did not know and the lake did. */
export interface Recovered {
  readonly takenBack: number;
  readonly forgotten: number;
}

/** A line of `left_out/left_out.jsonl`: a delivery that was taken back, or a run that is held. */
interface LeftOutLine {
  readonly run: string;
  readonly change: Standing['notes'][number]['change'] | 'hold';
  readonly file?: number;
  readonly key?: string;
  readonly version?: string;
  readonly changed_by_run?: string;
  readonly at?: string;
  readonly reason?: string;
  readonly by?: string;
}

/**
 * Brings back into a table of runs that is new, or of a backup, what must not be forgotten with it: which deliveries
 * were taken back, and who is to be forgotten. What the table knows stays as it is; safe to repeat, whatever goes on
 * meanwhile. Files of runs that were held are taken back: nobody can release those any more.
 */
export async function recoverRuns(
  { runs, objects }: Pick<Stores, 'runs' | 'objects'>,
  lakeBucket: string,
): Promise<Recovered> {
  const { standings } = await runs.standing.list();
  const known = new Set(standings.map(deliveryKey));
  const lost = (await leftOutIn({ runs, objects }, lakeBucket)).filter((each) => !known.has(deliveryKey(each)));
  const daysOf = await openPlacedDays(objects, lakeBucket, lost);
  await mapLimited(lost, CALLS_AT_ONCE, (standing) => runs.standing.set({ ...standing, dates: daysOf(standing) }));

  const forgotten = new Set((await runs.erasures.state()).hashes);
  let hashes = 0;
  for await (const object of objects.list(lakeBucket, 'erasures/hashes-')) {
    const asked = await objects.readJson<{ readonly hashes: readonly string[] }>(object);
    const missing = asked.hashes.filter((hash) => !forgotten.has(hash));
    await runs.erasures.forget(missing, object.key);
    hashes += missing.length;
  }
  return { takenBack: lost.length, forgotten: hashes };
}

async function leftOutIn(
  { runs, objects }: Pick<Stores, 'runs' | 'objects'>,
  lakeBucket: string,
): Promise<Omit<Standing, 'dates'>[]> {
  const told = await objects.head(lakeBucket, LEFT_OUT_KEY);
  if (told === undefined) return [];
  const found = new Map<string, Omit<Standing, 'dates'>>();
  const add = (delivery: Pick<Standing, 'key' | 'version' | 'takenBy' | 'notes'>) => {
    const before = found.get(deliveryKey(delivery))?.takenBy ?? [];
    const takenBy = [...before, ...delivery.takenBy];
    found.set(deliveryKey(delivery), { ...delivery, takenBy, stands: false, turn: 0 });
  };
  for await (const line of createInterface({ input: await objects.open(told) })) {
    const { run, change, file, key, version, changed_by_run: runId = '', at = '', reason = '', by } = parsed(line);
    if (change !== 'hold' && file !== undefined && key !== undefined && version !== undefined) {
      const note = { change, runId, at, reason, ...(by === undefined ? {} : { by }) };
      add({ key, version, takenBy: [{ runId: run, file }], notes: [note] });
    }
    if (change !== 'hold' || (await runs.findRun(run)) !== undefined) continue;
    const note = {
      change: 'discard' as const,
      runId: run,
      at: new Date().toISOString(),
      reason: 'it was held when it was lost',
    };
    for await (const manifest of objects.list(lakeBucket, manifestPrefix(run)))
      for (const stream of (await objects.readJson<Manifest>(manifest)).streams) {
        const takenBy = [{ runId: run, file: stream.file }];
        add({ key: stream.key, version: versionOf(stream), takenBy, notes: [note] });
      }
  }
  return [...found.values()];
}

const parsed = (line: string) => JSON.parse(line) as LeftOutLine;
