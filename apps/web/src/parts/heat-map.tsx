import { type KeyboardEvent, useRef, useState } from 'react';
import { addDays, count, daysFrom, weekday } from './text';

export type DayKind = 'served' | 'stale' | 'rejected' | 'missing' | 'future';

export interface HeatDay {
  readonly date: string;
  readonly kind: DayKind;
  readonly listens?: number;
}

/** A sign for what is not as it should be: colour alone tells nobody. */
export const KIND_SIGN: Readonly<Record<DayKind, string>> = {
  served: '',
  stale: '◔',
  rejected: '✕',
  missing: '·',
  future: '',
};
export const KIND_TEXT: Readonly<Record<DayKind, string>> = {
  served: 'served',
  stale: 'stale: computed with older songs or older SQL than the newest day',
  rejected: 'a run for this day was rejected or failed, and nothing was published since',
  missing: 'missing: nothing was published',
  future: 'not over yet',
};

const SHADES = 4;
const STEPS: Readonly<Record<string, number>> = { ArrowLeft: -7, ArrowRight: 7, ArrowUp: -1, ArrowDown: 1 };

/** Weeks as columns, from Monday on. Moved in by arrow keys; Enter chooses a day. */
export function HeatMap({
  days,
  chosen,
  choose,
}: {
  readonly days: readonly HeatDay[];
  readonly chosen: { readonly from?: string; readonly to?: string };
  readonly choose: (date: string) => void;
}) {
  const [at, setAt] = useState(days.at(-1)?.date ?? '');
  const grid = useRef<HTMLTableElement>(null);
  const dayOf = new Map(days.map((day) => [day.date, day]));
  const first = days[0]?.date;
  const last = days.at(-1)?.date;
  if (first === undefined || last === undefined) return null;
  const most = Math.max(1, ...days.map(({ listens = 0 }) => listens));
  const monday = addDays(first, -((new Date(first).getUTCDay() + 6) % 7));
  const weeks = daysFrom(monday, last).filter((_, i) => i % 7 === 0);
  const current = dayOf.has(at) ? at : last;
  const onKey = (event: KeyboardEvent) => {
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = addDays(current, step);
    if (!dayOf.has(next)) return;
    setAt(next);
    grid.current?.querySelector<HTMLElement>(`[data-date="${next}"]`)?.focus();
  };
  return (
    <div className="scroll">
      <table className="heat" ref={grid} onKeyDown={onKey} role="grid" aria-label="Listens by day">
        <thead>
          <tr>
            <td />
            {weeks.map((week, i) => (
              <th key={week} scope="col">
                {i === 0 || week.slice(5, 7) !== weeks[i - 1]?.slice(5, 7) ? week.slice(0, 7) : ''}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {[0, 1, 2, 3, 4, 5, 6].map((row) => (
            <tr key={row}>
              <th scope="row">{weekday(addDays(monday, row)).slice(0, 2)}</th>
              {weeks.map((week) => {
                const day = dayOf.get(addDays(week, row));
                if (day === undefined) return <td key={week} />;
                const { date, kind, listens } = day;
                const inRange = chosen.from !== undefined && date >= chosen.from && date <= (chosen.to ?? chosen.from);
                const shade = listens === undefined ? 0 : Math.min(SHADES, Math.ceil((listens / most) * SHADES));
                return (
                  <td key={week} role="gridcell" aria-selected={inRange}>
                    <button
                      type="button"
                      data-date={date}
                      className={`cell ${kind} shade-${shade}${inRange ? ' chosen' : ''}`}
                      tabIndex={date === current ? 0 : -1}
                      aria-label={`${date}, ${weekday(date)}: ${listens === undefined ? '' : `${count(listens)} listens, `}${KIND_TEXT[kind]}`}
                      title={`${date}: ${listens === undefined ? KIND_TEXT[kind] : `${count(listens)} listens${kind === 'served' ? '' : ` (${kind})`}`}`}
                      onFocus={() => setAt(date)}
                      onClick={() => choose(date)}
                    >
                      {KIND_SIGN[kind]}
                    </button>
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
