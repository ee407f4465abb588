import { useEffect, useRef } from 'react';
import UPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Series {
  readonly label: string;
  /** One for each day; null: there is none. */
  readonly values: readonly (number | null)[];
}

const HEIGHT = 220;
const DAY_SECONDS = 86_400;
const HUES = [214, 28, 152, 330, 265];

/**
 * Lines over days. What it shows is in a table beside it, for those who do not see it. `ranks`: 1 is at the top.
 */
export function DayChart({
  days,
  series,
  unit,
  label,
  ranks = false,
}: {
  readonly days: readonly string[];
  readonly series: readonly Series[];
  readonly unit: string;
  readonly label: string;
  readonly ranks?: boolean;
}) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = place.current;
    if (element === null) return undefined;
    const style = getComputedStyle(element);
    const ink = style.getPropertyValue('--faint');
    const grid = { stroke: style.getPropertyValue('--line'), width: 1 };
    const plot = new UPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        tzDate: (seconds) => UPlot.tzDate(new Date(seconds * 1_000), 'UTC'), // days, of whatever zone, are not times
        scales: { y: ranks ? { dir: -1, range: [0.5, 5.5] } : { range: (_, __, max) => [0, Math.max(1, max) * 1.05] } },
        axes: [
          {
            stroke: ink,
            grid,
            incrs: [1, 2, 7, 14, 28, 91, 182].map((each) => each * DAY_SECONDS),
            values: (_, ticks) => ticks.map((tick) => new Date(tick * 1_000).toISOString().slice(5, 10)),
          },
          {
            stroke: ink,
            grid,
            size: 70,
            values: (_, ticks) =>
              ticks.map((tick) => (ranks && !Number.isInteger(tick) ? '' : tick.toLocaleString('en-US'))),
          },
        ],
        series: [
          { label: 'day', value: (_, at) => (at === null ? '–' : new Date(at * 1_000).toISOString().slice(0, 10)) },
          ...series.map(({ label: name }, i) => ({
            label: name,
            stroke: `hsl(${HUES[i % HUES.length]} 65% 50%)`,
            width: 2,
            dash: i < HUES.length ? undefined : [6, 4],
            points: { show: days.length < 60 || ranks, size: ranks ? 8 : 5 },
            value: (_: UPlot, value: number | null) =>
              value === null ? '–' : `${value.toLocaleString('en-US')} ${unit}`,
          })),
        ],
      },
      [days.map((day) => Date.parse(day) / 1_000), ...series.map(({ values }) => [...values])],
      element,
    );
    const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [days, series, unit, ranks]);
  return <div className="chart" ref={place} role="img" aria-label={label} />;
}
