import { useMemo } from 'react';
import { Link } from 'react-router';
import type { GenreRow, TopGenreRow } from '../api/client';
import { paths, useAllGenres, useMe, useTopGenresOver } from '../api/queries';
import { DayChart } from '../parts/chart';
import { CsvButton } from '../parts/csv-button';
import { NewestDay, RangeChoice, useRange } from '../parts/range';
import { Answer, useTitle } from '../parts/states';
import { Table, numbers } from '../parts/table';
import { addDays, count, daysFrom, minutes } from '../parts/text';

/** As many days as the API adds up all genres of. */
const MOST_DAYS_OF_ALL = 31;
const LINES = 5;

export function GenresPage() {
  useTitle('Genres');
  const zone = useMe().data?.time_zone ?? 'UTC';
  const { from, to, days, newest } = useRange(zone, 30);
  const ranks = useTopGenresOver(from, to);
  const ofAll = days > MOST_DAYS_OF_ALL ? addDays(to, 1 - MOST_DAYS_OF_ALL) : from;
  return (
    <>
      <h1>Genres</h1>
      <RangeChoice days={days} to={to} newest={newest} />
      {ranks.data?.length === 0 ? <NewestDay path="/genres" days={days} /> : null}
      <section aria-labelledby="ranks">
        <h2 id="ranks">
          Rank over time <CsvButton path={paths.topGenresOver(from, to)} name={`top genres ${from} ${to}`} />
        </h2>
        <Answer of={ranks} what="the ranks" empty="None of these days was published.">
          {(rows) => <Ranks rows={rows} from={from} to={to} />}
        </Answer>
      </section>
      <section aria-labelledby="all">
        <h2 id="all">
          All genres, {ofAll} to {to} <CsvButton path={paths.allGenres(ofAll, to)} name={`genres ${ofAll} ${to}`} />
        </h2>
        <Answer of={useAllGenres(ofAll, to)} what="the genres" empty="None of these days was published.">
          {(rows) => (
            <Table
              caption="all genres"
              rows={rows}
              keyOf={({ genre }) => genre}
              search={({ genre }) => genre}
              sortedBy={{ column: '#', down: false }}
              columns={[
                { name: '#', show: ({ rank }) => rank, by: ({ rank }) => rank, numeric: true },
                {
                  name: 'genre',
                  show: ({ genre }) => <Link to={`/genres/${encodeURIComponent(genre)}?to=${to}`}>{genre}</Link>,
                  by: ({ genre }) => genre,
                },
                numbers<GenreRow>('listens', (row) => row.listen_count),
                numbers<GenreRow>('most listeners a day', (row) => row.max_daily_listeners),
                numbers<GenreRow>('minutes', (row) => row.total_listening_minutes, minutes),
                numbers<GenreRow>('days', (row) => row.days),
              ]}
            />
          )}
        </Answer>
      </section>
    </>
  );
}

/** The genres that were among the first five most often. */
function Ranks({
  rows,
  from,
  to,
}: {
  readonly rows: readonly TopGenreRow[];
  readonly from: string;
  readonly to: string;
}) {
  const days = useMemo(() => daysFrom(from, to), [from, to]);
  const series = useMemo(() => {
    const often = new Map<string, number>();
    for (const { genre, rank } of rows) often.set(genre, (often.get(genre) ?? 0) + 6 - rank);
    const shown = [...often].sort(([a, n], [b, m]) => m - n || a.localeCompare(b)).slice(0, LINES);
    return shown.map(([label]) => {
      const rankOn = new Map(rows.filter(({ genre }) => genre === label).map(({ date, rank }) => [date, rank]));
      return { label, values: days.map((day) => rankOn.get(day) ?? null) };
    });
  }, [rows, days]);
  return (
    <>
      <DayChart
        days={days}
        series={series}
        unit=""
        ranks
        label={`Rank of ${series.map(({ label }) => label).join(', ')} by day`}
      />
      <details>
        <summary>As a table</summary>
        <Table
          caption="Ranks by day"
          rows={rows.toReversed()}
          keyOf={({ date, rank }) => `${date} ${rank}`}
          columns={[
            { name: 'day', show: ({ date }) => <Link to={`/days/${date}`}>{date}</Link> },
            { name: '#', show: ({ rank }) => rank, numeric: true },
            { name: 'genre', show: ({ genre }) => genre },
            { name: 'listens', show: ({ listen_count }) => count(listen_count), numeric: true },
          ]}
        />
      </details>
    </>
  );
}
