import { Fragment, useState } from 'react';
import { Link, useParams } from 'react-router';
import type { DayRow, GenreDayRow, TopSongRow } from '../api/client';
import { paths, useDay, useDays, useGenresOfDay, useLineage, useTopGenres, useTopSongs } from '../api/queries';
import { Time } from '../app/zone';
import { CsvButton } from '../parts/csv-button';
import { Answer, Empty, Failure, Loading, useTitle } from '../parts/states';
import { Table, numbers } from '../parts/table';
import { addDays, change, count, isDate, minutes, weekday } from '../parts/text';
import { NotFoundPage } from './not-found-page';

export function DayPage() {
  const { date = '' } = useParams();
  return isDate(date) ? <Day key={date} date={date} /> : <NotFoundPage />;
}

function Day({ date }: { readonly date: string }) {
  useTitle(date);
  const [explained, setExplained] = useState<string>();
  return (
    <>
      <h1>
        {date} <small>{weekday(date)}</small>
      </h1>
      <p className="range">
        <Link to={`/days/${addDays(date, -1)}`}>← {addDays(date, -1)}</Link>{' '}
        <Link to={`/days/${addDays(date, 1)}`}>{addDays(date, 1)} →</Link>
      </p>
      <Answer of={useDay(date)} what={date}>
        {([day]) =>
          day === undefined ? (
            <Empty>Nothing was published for this day.</Empty>
          ) : (
            <>
              <Totals day={day} />
              <div className="columns">
                <TopGenres date={date} />
                <TopSongs date={date} />
              </div>
              <AllGenres date={date} explained={explained} explain={setExplained} />
              {explained === undefined ? null : <Lineage day={day} genre={explained} />}
            </>
          )
        }
      </Answer>
    </>
  );
}

function Totals({ day }: { readonly day: DayRow }) {
  const { date } = day;
  const around = useDays(addDays(date, -7), date).data ?? [];
  const before = around.find((row) => row.date === addDays(date, -1));
  const week = around.find((row) => row.date === addDays(date, -7));
  const numbers = [
    ['listens', 'listen_count'],
    ['listeners', 'unique_listeners'],
    ['genres', 'genre_count'],
  ] as const;
  return (
    <>
      <div className="tiles">
        {numbers.map(([name, field]) => (
          <div className="tile" key={name}>
            <div className="faint">{name}</div>
            <div className="big">{count(day[field])}</div>
            <div className="faint">
              {change(day[field], before?.[field]) ?? '–'} against the day before,{' '}
              {change(day[field], week?.[field]) ?? '–'} against the week before
            </div>
          </div>
        ))}
      </div>
      <p className="faint">
        Version {day.version}, computed <Time at={day.computed_at} /> by{' '}
        <Link to={`/runs/${day.run_id}`}>{day.run_id}</Link> with {day.engine}. The day is one of {day.time_zone}.
      </p>
    </>
  );
}

function TopGenres({ date }: { readonly date: string }) {
  return (
    <section aria-labelledby="top-genres">
      <h2 id="top-genres">
        Top 5 genres <CsvButton path={paths.topGenres(date)} name={`top genres ${date}`} />
      </h2>
      <Answer of={useTopGenres(date)} what="the top genres" empty="Nobody listened on this day.">
        {(rows) => (
          <Table
            caption="Top 5 genres"
            rows={rows}
            keyOf={({ rank }) => String(rank)}
            columns={[
              { name: '#', show: ({ rank }) => rank, numeric: true },
              { name: 'genre', show: ({ genre }) => <Link to={`/genres/${encodeURIComponent(genre)}`}>{genre}</Link> },
              { name: 'listens', show: ({ listen_count }) => count(listen_count), numeric: true },
            ]}
          />
        )}
      </Answer>
    </section>
  );
}

function TopSongs({ date }: { readonly date: string }) {
  const [all, setAll] = useState(false);
  const top = useTopGenres(date).data?.map(({ genre }) => genre) ?? [];
  return (
    <section aria-labelledby="top-songs">
      <h2 id="top-songs">
        Top 3 songs {all ? 'of each genre' : 'of these genres'}{' '}
        <CsvButton path={paths.topSongs(date)} name={`top songs ${date}`} />
      </h2>
      <Answer of={useTopSongs(date)} what="the top songs" empty="Nobody listened on this day.">
        {(rows) => (
          <>
            <div className="scroll" tabIndex={0} role="region" aria-label="Top 3 songs">
              <table>
                <caption className="unseen">Top 3 songs</caption>
                <thead>
                  <tr>
                    <th scope="col" className="number">
                      #
                    </th>
                    <th scope="col">song</th>
                    <th scope="col">artists</th>
                    <th scope="col" className="number">
                      listens
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {songsByGenre(rows, all ? undefined : top).map(([genre, songs]) => (
                    <Fragment key={genre}>
                      <tr>
                        <th scope="rowgroup" colSpan={4} className="group">
                          {genre}
                        </th>
                      </tr>
                      {songs.map(({ rank, song, artists, track_id, listen_count }) => (
                        <tr key={rank}>
                          <td className="number">{rank}</td>
                          <td title={track_id}>{song}</td>
                          <td>{artists}</td>
                          <td className="number">{count(listen_count)}</td>
                        </tr>
                      ))}
                    </Fragment>
                  ))}
                </tbody>
              </table>
            </div>
            <button type="button" className="small" onClick={() => setAll(!all)}>
              {all ? 'Only of the top genres' : 'Of all genres'}
            </button>
          </>
        )}
      </Answer>
    </section>
  );
}

/** Songs in the order of some genres, or all of them by name. */
function songsByGenre(rows: readonly TopSongRow[], genres: readonly string[] | undefined): [string, TopSongRow[]][] {
  const of = new Map<string, TopSongRow[]>();
  for (const row of rows) of.set(row.genre, [...(of.get(row.genre) ?? []), row]);
  if (genres === undefined) return [...of].sort(([a], [b]) => a.localeCompare(b));
  return genres.flatMap((genre): [string, TopSongRow[]][] => {
    const songs = of.get(genre);
    return songs === undefined ? [] : [[genre, songs]];
  });
}

function AllGenres({
  date,
  explained,
  explain,
}: {
  readonly date: string;
  readonly explained: string | undefined;
  readonly explain: (genre: string) => void;
}) {
  const of = (rows: readonly GenreDayRow[] | undefined) =>
    new Map(rows?.map(({ genre, listen_count }) => [genre, listen_count]));
  const published = useDays(addDays(date, -7), date).data?.map((day) => day.date) ?? [];
  const [dayBefore, weekBefore] = [addDays(date, -1), addDays(date, -7)];
  const before = of(useGenresOfDay(dayBefore, published.includes(dayBefore)).data);
  const week = of(useGenresOfDay(weekBefore, published.includes(weekBefore)).data);
  return (
    <section aria-labelledby="genres">
      <h2 id="genres">
        All genres <CsvButton path={paths.genres(date)} name={`genres ${date}`} />
      </h2>
      <Answer of={useGenresOfDay(date)} what="the genres" empty="Nobody listened on this day.">
        {(rows) => (
          <Table
            caption="all genres"
            rows={rows}
            keyOf={({ genre }) => genre}
            search={({ genre }) => genre}
            sortedBy={{ column: 'listens', down: true }}
            columns={[
              {
                name: 'genre',
                show: ({ genre }) => <Link to={`/genres/${encodeURIComponent(genre)}`}>{genre}</Link>,
                by: ({ genre }) => genre,
              },
              numbers<GenreDayRow>('listens', ({ listen_count }) => listen_count),
              {
                name: 'day before',
                show: ({ genre, listen_count }) => change(listen_count, before.get(genre)) ?? '–',
                numeric: true,
              },
              {
                name: 'week before',
                show: ({ genre, listen_count }) => change(listen_count, week.get(genre)) ?? '–',
                numeric: true,
              },
              numbers<GenreDayRow>('listeners', (row) => row.unique_listeners),
              numbers<GenreDayRow>('minutes', (row) => row.total_listening_minutes, minutes),
              numbers<GenreDayRow>('minutes a listener', (row) => row.avg_listening_minutes_per_user, minutes),
              {
                name: 'where from',
                show: ({ genre }) => (
                  <button
                    type="button"
                    className="small"
                    aria-expanded={genre === explained}
                    aria-label={`explain ${genre}`}
                    onClick={() => explain(genre)}
                  >
                    explain
                  </button>
                ),
              },
            ]}
          />
        )}
      </Answer>
    </section>
  );
}

/** From the numbers of a genre down to the files. */
function Lineage({ day, genre }: { readonly day: DayRow; readonly genre: string }) {
  const { data, error, fetchNextPage, hasNextPage, isFetching, refetch } = useLineage(day.date, genre, true);
  return (
    <section className="card" aria-labelledby="lineage">
      <h2 id="lineage">Where the numbers of {genre} come from</h2>
      <p>
        <Link to={`/runs/${day.run_id}`}>{day.run_id}</Link> computed them with {day.engine}, SQL {day.sql_version} and
        songs {day.songs_version.slice(0, 12)}, from the listens of these files. Which of them have listens of the genre
        is not kept.
      </p>
      {error === null ? null : <Failure error={error} retry={() => void refetch()} />}
      {data === undefined ? (
        error === null ? (
          <Loading what="the files" />
        ) : null
      ) : (
        <Table
          caption="Files"
          rows={data.pages.flatMap(({ rows }) => rows)}
          keyOf={({ run_id, key, version }) => `${run_id} ${key} ${version}`}
          columns={[
            { name: 'file', show: ({ key }) => <span className="long">{key}</span> },
            { name: 'taken by', show: ({ run_id }) => <Link to={`/runs/${run_id}`}>{run_id}</Link> },
            { name: 'version', show: ({ version }) => version },
            { name: 'sha-256', show: ({ sha256 }) => <span title={sha256}>{sha256?.slice(0, 12) ?? '–'}</span> },
            { name: 'now at', show: ({ now_at }) => <span className="long">{now_at ?? '–'}</span> },
            { name: 'counts', show: ({ retracted }) => (retracted === undefined ? 'yes' : `no: ${retracted}`) },
          ]}
        />
      )}
      {hasNextPage ? (
        <button type="button" disabled={isFetching} onClick={() => void fetchNextPage()}>
          More runs
        </button>
      ) : null}
    </section>
  );
}
