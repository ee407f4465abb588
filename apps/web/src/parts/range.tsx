import { Link, useSearchParams } from 'react-router';
import { useFreshness } from '../api/queries';
import { addDays, isDate, today } from './text';

const LENGTHS = [7, 30, 90, 365] as const;

/** Days that the address says: `days` of them, to `to`. */
export function useRange(zone: string, standard: number): { from: string; to: string; days: number; newest: string } {
  const [params] = useSearchParams();
  const newest = today(zone);
  const asked = params.get('to') ?? '';
  const to = isDate(asked) ? asked : newest;
  const wanted = Number(params.get('days'));
  const days = Number.isInteger(wanted) && wanted >= 1 && wanted <= 366 ? wanted : standard;
  return { from: addDays(to, 1 - days), to, days, newest };
}

/** Chooses days; the choice stands in the address. */
export function RangeChoice({
  days,
  to,
  newest,
}: {
  readonly days: number;
  readonly to: string;
  readonly newest: string;
}) {
  const [params, setParams] = useSearchParams();
  const set = (changes: Readonly<Record<string, string | undefined>>) => {
    const next = new URLSearchParams(params);
    for (const [name, value] of Object.entries(changes))
      if (value === undefined) next.delete(name);
      else next.set(name, value);
    setParams(next, { preventScrollReset: true });
  };
  const move = (by: number) => {
    const next = addDays(to, by);
    set({ to: next >= newest ? undefined : next });
  };
  return (
    <div className="range" role="group" aria-label="Days shown">
      {LENGTHS.map((length) => (
        <button
          key={length}
          type="button"
          className="small"
          aria-pressed={length === days}
          onClick={() => set({ days: String(length) })}
        >
          {length} days
        </button>
      ))}
      <button type="button" className="small" onClick={() => move(-days)}>
        ← earlier
      </button>
      <button type="button" className="small" onClick={() => move(days)} disabled={to >= newest}>
        later →
      </button>
    </div>
  );
}

/** Where the numbers are, for who looks at days that have none. */
export function NewestDay({ path, days }: { readonly path: string; readonly days: number }) {
  const newest = useFreshness().data?.newest_day?.date;
  if (newest === undefined) return null;
  return (
    <p className="notice">
      The newest day that was published is <Link to={`${path}?days=${days}&to=${newest}`}>{newest}</Link>.
    </p>
  );
}
