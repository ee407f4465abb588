import path from 'node:path';
import { totalOf } from '@music/contracts';
import { type DuckDBLimits, withEngine } from '@music/duckdb';
import { type KpiJobSummary, resultObjects } from '@music/job-runners';
import type { KpiTable } from '@music/kpis';
import type { Finding, RowTotals } from '@music/runs';
import { type ObjectStore, downloadAll, mapLimited } from '@music/storage';
import type { CheckOf } from './check-list';
import { type Checked, runChecks } from './run-checks';

const DAY_MS = 86_400_000;
const CALLS_AT_ONCE = 16;
/** How far back a published day is looked for whose first genres may be missed. Days. */
const TOP_DAYS = 7;

export interface RunNumbers {
  readonly summary: KpiJobSummary;
  readonly rows: RowTotals;
  /** The first day that is not over, in the KPI time zone. */
  readonly today: string;
}

export interface CheckTools {
  readonly kpis: KpiTable;
  readonly objects: ObjectStore;
  readonly scratch: string;
  readonly limits: DuckDBLimits;
}

/** What the checks find in the numbers of a run, beside what is published now. */
export async function checkRun(
  checks: readonly CheckOf[],
  { summary, rows, today }: RunNumbers,
  { kpis, objects, scratch, limits }: CheckTools,
): Promise<Finding[]> {
  if (checks.length === 0 || summary.days.length === 0) return [];
  const dates = summary.days.map(({ date }) => date);
  const reading = kpis.readDays(daysToCompare(checks, dates));
  reading.catch(() => undefined); // awaited below
  return withEngine(scratch, 'check', limits, async (engine, dir) => {
    const [results, published] = await Promise.all([
      downloadAll(objects, resultObjects(summary), path.join(dir, 'results')),
      reading,
    ]);
    const there = new Set(published.map(({ date }) => date));
    const wantsTop = checks.some(({ name }) => name === 'top_genre_gone');
    const topBefore = await mapLimited(wantsTop ? dates : [], CALLS_AT_ONCE, async (date) => {
      const of_day = before(date, 0, TOP_DAYS).find((day) => there.has(day));
      if (of_day === undefined) return [];
      const top = await kpis.topGenres(of_day, 5);
      return top.map(({ genre, listen_count }) => ({ date, of_day, genre, listen_count }));
    });
    const { duplicate = 0, ...rejected } = rows.rejected;
    const checked: Checked = {
      results,
      today,
      run: {
        read_rows: rows.read,
        rejected_rows: totalOf(rejected),
        duplicates: duplicate,
        song_rows: summary.songRows ?? 0,
        unreadable_durations: summary.unreadableDurations,
      },
      published,
      topBefore: topBefore.flat(),
    };
    return runChecks(checks, checked, engine, dir);
  });
}

/** The days that some days are compared with, and those themselves; each once. */
function daysToCompare(checks: readonly CheckOf[], dates: readonly string[]): string[] {
  const days = new Set(dates.flatMap((date) => before(date, 0, TOP_DAYS)));
  for (const { name, parameters } of checks) {
    if (name !== 'volume') continue;
    const step = parameters['against'] === 'same_weekday' ? 7 : 1;
    for (const date of dates)
      for (let n = 1; n <= Number(parameters['last']); n += 1) days.add(dayBefore(date, n * step));
  }
  return [...days].sort();
}

const before = (date: string, from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => dayBefore(date, from + i));

/** Of the years that dates are written of. */
function dayBefore(date: string, days: number): string {
  return new Date(Math.max(Date.parse('0001-01-01T00:00:00Z'), Date.parse(`${date}T00:00:00Z`) - days * DAY_MS))
    .toISOString()
    .slice(0, 10);
}
