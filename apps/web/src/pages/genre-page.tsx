import { useMemo } from 'react';
import { Link, useParams } from 'react-router';
import type { GenreDayRow } from '../api/client';
import { paths, useGenreDays, useMe } from '../api/queries';
import { DayChart } from '../parts/chart';
import { CsvButton } from '../parts/csv-button';
import { NewestDay, RangeChoice, useRange } from '../parts/range';
import { Answer, useTitle } from '../parts/states';
import { Table, numbers } from '../parts/table';
import { daysFrom, minutes } from '../parts/text';

const LINES = [
  ['Listens', 'listens', (row: GenreDayRow) => row.listen_count],
  ['Listeners', 'listeners', (row: GenreDayRow) => row.unique_listeners],
  ['Minutes', 'minutes', (row: GenreDayRow) => row.total_listening_minutes],
] as const;

export function GenrePage() {
  const { genre = '' } = useParams();
  useTitle(genre);
  const zone = useMe().data?.time_zone ?? 'UTC';
  const { from, to, days, newest } = useRange(zone, 30);
  const answer = useGenreDays(genre, from, to);
  return (
    <>
      <h1>{genre}</h1>
      <RangeChoice days={days} to={to} newest={newest} />
      {answer.data?.length === 0 ? <NewestDay path={`/genres/${encodeURIComponent(genre)}`} days={days} /> : null}
      <Answer of={answer} what={genre} empty={`Nobody listened to ${genre} from ${from} to ${to}.`}>
        {(rows) => (
          <>
            {LINES.map(([title, unit, of]) => (
              <section key={unit} aria-labelledby={unit}>
                <h2 id={unit}>{title}</h2>
                <Line rows={rows} from={from} to={to} unit={unit} of={of} />
              </section>
            ))}
            <h2>
              By day <CsvButton path={paths.genreDays(genre, from, to)} name={`${genre} ${from} ${to}`} />
            </h2>
            <Table
              caption="by day"
              rows={rows}
              keyOf={({ date }) => date}
              sortedBy={{ column: 'day', down: true }}
              columns={[
                { name: 'day', show: ({ date }) => <Link to={`/days/${date}`}>{date}</Link>, by: ({ date }) => date },
                numbers<GenreDayRow>('listens', (row) => row.listen_count),
                numbers<GenreDayRow>('listeners', (row) => row.unique_listeners),
                numbers<GenreDayRow>('minutes', (row) => row.total_listening_minutes, minutes),
                numbers<GenreDayRow>('minutes a listener', (row) => row.avg_listening_minutes_per_user, minutes),
              ]}
            />
          </>
        )}
      </Answer>
    </>
  );
}

function Line({
  rows,
  from,
  to,
  unit,
  of,
}: {
  readonly rows: readonly GenreDayRow[];
  readonly from: string;
  readonly to: string;
  readonly unit: string;
  readonly of: (row: GenreDayRow) => number;
}) {
  const days = useMemo(() => daysFrom(from, to), [from, to]);
  const series = useMemo(() => {
    const valueOn = new Map(rows.map((row) => [row.date, of(row)]));
    return [{ label: unit, values: days.map((day) => valueOn.get(day) ?? null) }];
  }, [rows, days, unit, of]);
  return <DayChart days={days} series={series} unit={unit} label={`${unit} from ${from} to ${to}`} />;
}
