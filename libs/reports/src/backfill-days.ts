import type { Stores } from '@music/service';

/** A day that a backfill would compute again, as it is served now; only its date where it never was. */
export interface BackfillDay {
  readonly date: string;
  readonly listen_count?: number;
  readonly version?: number;
  readonly run_id?: string;
  readonly songs_version?: string;
}

/** What is served of days, ascending. */
export async function backfillDays(
  { history }: Pick<Stores, 'history'>,
  dates: readonly string[],
): Promise<BackfillDay[]> {
  const served = await history.days(dates[0] ?? '9', dates.at(-1) ?? '9');
  const itemOf = new Map(served.map((day) => [day.date, day]));
  return dates.map((date) => {
    const { listen_count, version, run_id, songs_version } = itemOf.get(date) ?? {};
    return { date, listen_count, version, run_id, songs_version };
  });
}
