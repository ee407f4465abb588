import { type ReactNode, useMemo } from 'react';
import { Link } from 'react-router';
import { type LiveRun, isUnderWay, useLive } from '../api/live';
import { useDays, useFreshness, useMe } from '../api/queries';
import { Time } from '../app/zone';
import { DayChart } from '../parts/chart';
import { RunState } from '../parts/run-state';
import { Answer, Empty, Loading, useTitle } from '../parts/states';
import { Table } from '../parts/table';
import { addDays, change, count, daysFrom, duration, plural, today } from '../parts/text';

const DAYS_SHOWN = 14;
const RUNS_SHOWN = 5;

export function OverviewPage() {
  useTitle('Overview');
  return (
    <>
      <h1>Overview</h1>
      <FreshnessTiles />
      <section aria-labelledby="now">
        <h2 id="now">Now</h2>
        <RunsNow />
      </section>
      <section aria-labelledby="last-days">
        <h2 id="last-days">The last days</h2>
        <LastDays />
      </section>
    </>
  );
}

function FreshnessTiles() {
  return (
    <Answer of={useFreshness()} what="how fresh the numbers are">
      {(fresh) => (
        <div className="tiles">
          <Tile name="Last good run" bad={fresh.last_completed_run === undefined}>
            {fresh.last_completed_run === undefined ? (
              'none yet'
            ) : (
              <Link to={`/runs/${fresh.last_completed_run.run_id}`}>
                <Time at={fresh.last_completed_run.ended_at} seconds={false} />
              </Link>
            )}
          </Tile>
          <Tile name="Newest day that is over" bad={fresh.newest_complete_day === undefined}>
            {fresh.newest_complete_day === undefined ? (
              'none yet'
            ) : (
              <Link to={`/days/${fresh.newest_complete_day.date}`}>{fresh.newest_complete_day.date}</Link>
            )}
          </Tile>
          <Tile name="Files waiting" bad={fresh.files_waiting > 0}>
            {count(fresh.files_waiting)}
            {fresh.more_files ? ' or more' : ''}
          </Tile>
          <Tile name="Work waiting" bad={false}>
            {fresh.work.every(({ waiting }) => waiting === 0)
              ? 'none'
              : fresh.work
                  .filter(({ waiting }) => waiting > 0)
                  .map(({ stage, waiting, is_more }) => `${count(waiting)}${is_more ? ' or more' : ''} for ${stage}`)
                  .join(', ')}
          </Tile>
          <Tile name="Dead letters" bad={fresh.dead_letters !== 0}>
            {fresh.dead_letters === undefined ? 'Kafka does not answer' : count(fresh.dead_letters)}
          </Tile>
        </div>
      )}
    </Answer>
  );
}

function Tile({ name, bad, children }: { readonly name: string; readonly bad: boolean; readonly children: ReactNode }) {
  return (
    <div className={`tile ${bad ? 'look' : ''}`}>
      <div className="faint">{name}</div>
      <div className="big">
        {bad ? <span aria-hidden="true">! </span> : null}
        {children}
      </div>
    </div>
  );
}

function RunsNow() {
  const { runs } = useLive();
  if (runs === undefined) return <Loading what="what goes on" />;
  const now = runs.filter(isUnderWay);
  return (
    <>
      {now.length === 0 ? <Empty>Nothing is running.</Empty> : now.map((run) => <RunNow key={run.run_id} run={run} />)}
      {runs.length === 0 ? (
        <Empty>There has been no run yet. `music-kpis run` asks for one, or the Runs page does.</Empty>
      ) : (
        <Table
          caption="Newest runs"
          rows={runs.slice(0, RUNS_SHOWN)}
          keyOf={({ run_id }) => run_id}
          columns={[
            { name: 'run', show: ({ run_id }) => <Link to={`/runs/${run_id}`}>{run_id}</Link> },
            { name: 'state', show: (run) => <RunState {...run} /> },
            { name: 'asked for', show: ({ requested_at }) => <Time at={requested_at} /> },
            { name: 'took', show: ({ seconds }) => duration(seconds), numeric: true },
            { name: 'rows kept', show: ({ rows_kept }) => count(rows_kept), numeric: true },
          ]}
        />
      )}
    </>
  );
}

function RunNow({ run }: { readonly run: LiveRun }) {
  const { progress } = run;
  return (
    <p className="running">
      <Link to={`/runs/${run.run_id}`}>{run.run_id}</Link> <RunState {...run} />{' '}
      {progress === undefined ? null : (
        <>
          {progress.stage} <progress value={progress.share} max={1} aria-label={`${run.run_id}, ${progress.stage}`} />{' '}
          {Math.floor(progress.share * 100)} %
          {progress.seconds_left === undefined ? '' : `, about ${duration(progress.seconds_left)} left`}
        </>
      )}
    </p>
  );
}

function LastDays() {
  const zone = useMe().data?.time_zone ?? 'UTC';
  const fresh = useFreshness().data;
  // Of data that is older, the last days that there are.
  const to = fresh?.newest_day?.date ?? today(zone);
  const from = addDays(to, 1 - DAYS_SHOWN);
  const answer = useDays(from, to);
  const days = useMemo(() => daysFrom(from, to), [from, to]);
  const series = useMemo(() => {
    const listens = new Map(answer.data?.map(({ date, listen_count }) => [date, listen_count]));
    return [{ label: 'listens', values: days.map((day) => listens.get(day) ?? null) }];
  }, [answer.data, days]);
  return (
    <Answer of={answer} what="the last days" empty="No day has been published yet.">
      {(rows) => (
        <>
          <DayChart days={days} series={series} unit="listens" label={`Listens from ${from} to ${to}`} />
          <Table
            caption={`The last ${plural(rows.length, 'day')}`}
            rows={rows.toReversed()}
            keyOf={({ date }) => date}
            columns={[
              { name: 'day', show: ({ date }) => <Link to={`/days/${date}`}>{date}</Link> },
              { name: 'listens', show: ({ listen_count }) => count(listen_count), numeric: true },
              {
                name: 'against the day before',
                show: ({ date, listen_count }) =>
                  change(listen_count, rows.find((row) => row.date === addDays(date, -1))?.listen_count) ?? '–',
                numeric: true,
              },
              { name: 'listeners', show: ({ unique_listeners }) => count(unique_listeners), numeric: true },
              { name: 'genres', show: ({ genre_count }) => count(genre_count), numeric: true },
              { name: 'computed', show: ({ computed_at }) => <Time at={computed_at} /> },
            ]}
          />
        </>
      )}
    </Answer>
  );
}
