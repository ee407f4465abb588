import { lakeDates } from '@music/lake';
import type { Stores } from '@music/service';

/** A day that a backfill would compute again, as it is served now; only its date where it never was. */
export interface BackfillDay {
  readonly date: string;
  readonly listen_count?: number;
  readonly version?: number;
  readonly run_id?: string;
  readonly songs_version?: string;
}

/** The days of the lake from one to another, both inclusive, YYYY-MM-DD, ascending. */
export async function backfillDays(
  { objects, history }: Pick<Stores, 'objects' | 'history'>,
  lakeBucket: string,
  from: string,
  to: string,
): Promise<BackfillDay[]> {
  const [dates, served] = await Promise.all([lakeDates(objects, lakeBucket, from, to), history.days(from, to)]);
  const itemOf = new Map(served.map((day) => [day.date, day]));
  return dates.map((date) => {
    const { listen_count, version, run_id, songs_version } = itemOf.get(date) ?? {};
    return { date, listen_count, version, run_id, songs_version };
  });
}
