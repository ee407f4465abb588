import { useMemo, useState } from 'react';
import { Link, useSearchParams } from 'react-router';
import { type Backfill, type DayRow, type RunRow, post } from '../api/client';
import { paths, useDays, useMe, useRuns } from '../api/queries';
import { useGoToAskedRun } from '../app/asked-run';
import { Confirm } from '../parts/confirm';
import { CsvButton } from '../parts/csv-button';
import { type DayKind, HeatMap, KIND_SIGN, KIND_TEXT } from '../parts/heat-map';
import { NewestDay, RangeChoice, useRange } from '../parts/range';
import { Answer, Failure, useTitle } from '../parts/states';
import { count, daysFrom, isDate, plural } from '../parts/text';

const SHOWN: readonly DayKind[] = ['served', 'stale', 'rejected', 'missing'];

export function DaysPage() {
  useTitle('Days');
  const me = useMe().data;
  const zone = me?.time_zone ?? 'UTC';
  const range = useRange(zone, 90);
  const { from, to, days, newest } = range;
  const answer = useDays(from, to);
  const rejected = useRuns({ state: 'rejected', limit: 100 }).data?.pages[0]?.rows;
  const failed = useRuns({ state: 'failed', limit: 100 }).data?.pages[0]?.rows;
  const [params, setParams] = useSearchParams();
  const chosen = chosenOf(params);
  const choose = (date: string) => {
    const next = new URLSearchParams(params);
    const { from: first, to: second } = chosen;
    if (first !== undefined && second === undefined && date !== first) {
      next.set('first', first < date ? first : date);
      next.set('last', first < date ? date : first);
    } else {
      next.set('first', date);
      next.delete('last');
    }
    setParams(next, { replace: true, preventScrollReset: true });
  };
  const heat = useMemo(
    () => heatDays(daysFrom(from, to), answer.data ?? [], [...(rejected ?? []), ...(failed ?? [])], newest),
    [from, to, answer.data, rejected, failed, newest],
  );
  return (
    <>
      <h1>Days</h1>
      <RangeChoice days={days} to={to} newest={newest} />
      {answer.data?.length === 0 ? <NewestDay path="/days" days={days} /> : null}
      <Answer of={answer} what="the days">
        {(rows) => (
          <>
            <HeatMap days={heat} chosen={chosen} choose={choose} />
            <ul className="legend">
              {SHOWN.map((kind) => (
                <li key={kind}>
                  <span className={`cell ${kind} shade-3`} aria-hidden="true">
                    {KIND_SIGN[kind]}
                  </span>{' '}
                  {kind === 'served' ? 'served: the darker, the more listens' : KIND_TEXT[kind]}
                </li>
              ))}
            </ul>
            <p>
              {plural(rows.length, 'day')} of {days} published,{' '}
              {count(rows.reduce((sum, day) => sum + day.listen_count, 0))} listens, from {from} to {to}.{' '}
              <CsvButton path={paths.days(from, to)} name={`days ${from} ${to}`} />
            </p>
            <Chosen
              chosen={chosen}
              operator={me?.role === 'operator'}
              row={rows.find(({ date }) => date === chosen.from)}
            />
          </>
        )}
      </Answer>
    </>
  );
}

function chosenOf(params: URLSearchParams): { from?: string; to?: string } {
  const [first, last] = [params.get('first') ?? '', params.get('last') ?? ''];
  return { from: isDate(first) ? first : undefined, to: isDate(first) && isDate(last) ? last : undefined };
}

/** What is chosen, with what can be done with it. */
function Chosen({
  chosen: { from, to },
  operator,
  row,
}: {
  readonly chosen: { readonly from?: string; readonly to?: string };
  readonly operator: boolean;
  readonly row: DayRow | undefined;
}) {
  const goToAskedRun = useGoToAskedRun();
  const [preview, setPreview] = useState<Backfill>();
  const [problem, setProblem] = useState<Error>();
  if (from === undefined)
    return <p className="faint">Choose a day, or a first and a last one, to look at it or to compute it again.</p>;
  const last = to ?? from;
  const ask = () => {
    setProblem(undefined);
    post<Backfill>('/v1/backfills', { from, to: last, dry_run: true }).then(setPreview, setProblem);
  };
  return (
    <section className="card" aria-labelledby="chosen">
      <h2 id="chosen">{to === undefined ? from : `${from} to ${to}`}</h2>
      <p>
        {row === undefined
          ? 'Nothing was published for the first of these days.'
          : `${count(row.listen_count)} listens of ${plural(row.unique_listeners, 'listener')} on ${from}.`}{' '}
        {row === undefined ? null : <Link to={`/days/${from}`}>Look at {from}</Link>}
      </p>
      {operator ? (
        <button type="button" onClick={ask}>
          Compute {to === undefined ? 'it' : 'them'} again …
        </button>
      ) : (
        <p className="faint">An operator can have {to === undefined ? 'it' : 'them'} computed again.</p>
      )}
      {problem === undefined ? null : <Failure error={problem} />}
      {preview === undefined ? null : (
        <Confirm
          title={`Compute ${plural(preview.days.length, 'day')} again?`}
          action="Compute again"
          close={() => setPreview(undefined)}
          act={async (key) => {
            const { run_id } = await post<Backfill>('/v1/backfills', { from, to: last }, key);
            if (run_id !== undefined) await goToAskedRun(run_id);
          }}
        >
          <p>
            A backfill computes {plural(preview.days.length, 'day')} of the lake, {preview.days[0]?.date} to{' '}
            {preview.days.at(-1)?.date}, again: with songs and users as they are now, and without new files.{' '}
            {count(preview.listen_count)} listens are served for them now. Each day is replaced as a whole once it is
            computed.
          </p>
        </Confirm>
      )}
    </section>
  );
}

function heatDays(days: readonly string[], rows: readonly DayRow[], badRuns: readonly RunRow[], newest: string) {
  const rowOf = new Map(rows.map((row) => [row.date, row]));
  const latest = rows.toSorted((a, b) => b.computed_at.localeCompare(a.computed_at))[0];
  return days.map((date) => {
    const row = rowOf.get(date);
    const bad = badRuns.some(
      (run) => run.logical_date === date && (row === undefined || run.requested_at > row.computed_at),
    );
    const old =
      row !== undefined && (row.songs_version !== latest?.songs_version || row.sql_version !== latest.sql_version);
    const kind: DayKind = bad
      ? 'rejected'
      : row === undefined
        ? date >= newest
          ? 'future'
          : 'missing'
        : old
          ? 'stale'
          : 'served';
    return { date, kind, listens: row?.listen_count };
  });
}
