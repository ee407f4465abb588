import { lakeDates } from '@music/lake';
import type { ObjectStore } from '@music/storage';

/** The first day that stays where listens are kept for so many days, YYYY-MM-DD; `today` as the KPI time zone has it. */
export function firstKept(today: string, keepDays: number): string {
  return new Date(Date.parse(`${today}T00:00:00Z`) - keepDays * 86_400_000).toISOString().slice(0, 10);
}

/** The days of the lake before one, ascending. */
export async function daysBefore(store: ObjectStore, bucket: string, first: string): Promise<string[]> {
  return (await lakeDates(store, bucket, '0000-01-01', first)).filter((date) => date < first);
}

/** Removes the listens of days before one from the lake, versions that the bucket keeps too. Gives which days. Safe to repeat. */
export async function removeDaysBefore(
  store: ObjectStore,
  bucket: string,
  first: string,
  signal: AbortSignal,
): Promise<string[]> {
  const dates = await daysBefore(store, bucket, first);
  for (const date of dates) {
    signal.throwIfAborted();
    await store.deletePrefix(bucket, `listens/date=${date}/`);
    await store.deleteOldVersions(bucket, `listens/date=${date}/`);
  }
  return dates;
}
