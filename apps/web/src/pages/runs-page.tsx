import { useState } from 'react';
import { Link, useSearchParams } from 'react-router';
import { type Asked, type RunRow, type RunsQuery, post } from '../api/client';
import { type LiveRun, useLive } from '../api/live';
import { paths, useMe, useRuns } from '../api/queries';
import { useGoToAskedRun } from '../app/asked-run';
import { Time } from '../app/zone';
import { Confirm } from '../parts/confirm';
import { CsvButton } from '../parts/csv-button';
import { RunState } from '../parts/run-state';
import { Empty, Failure, Loading, useTitle } from '../parts/states';
import { Table } from '../parts/table';
import { count, duration, isDate } from '../parts/text';

const STATES = ['pending', 'frozen', 'sensed', 'validated', 'published', 'completed', 'rejected', 'skipped', 'failed'];
const KINDS = ['scheduled', 'manual', 'arrival', 'backfill'];

export function RunsPage() {
  useTitle('Runs');
  const [params, setParams] = useSearchParams();
  const query = queryOf(params);
  const { data, error, fetchNextPage, hasNextPage, isFetching, refetch } = useRuns(query);
  const { runs: live = [] } = useLive();
  const operator = useMe().data?.role === 'operator';
  const [asking, setAsking] = useState(false);
  const set = (name: string, value: string) => {
    const next = new URLSearchParams(params);
    if (value === '') next.delete(name);
    else next.set(name, value);
    setParams(next, { replace: true });
  };
  const rows =
    data === undefined
      ? undefined
      : withLive(
          data.pages.flatMap((page) => page.rows),
          live,
          query,
        );
  return (
    <>
      <h1>
        Runs <CsvButton path={paths.runs({ ...query, limit: 100 })} name="runs" />{' '}
        {operator ? (
          <button type="button" className="small" onClick={() => setAsking(true)}>
            Ask for a run …
          </button>
        ) : null}
      </h1>
      <form className="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <Choice name="state" all="any state" words={STATES} value={query.state ?? ''} set={set} />
        <Choice name="kind" all="any kind" words={KINDS} value={query.kind ?? ''} set={set} />
        <label>
          from <input type="date" value={query.from ?? ''} onChange={({ target }) => set('from', target.value)} />
        </label>
        <label>
          to <input type="date" value={query.to ?? ''} onChange={({ target }) => set('to', target.value)} />
        </label>
        <span className="faint">asked for on these days of UTC</span>
      </form>
      {error === null ? null : <Failure error={error} retry={() => void refetch()} />}
      {rows === undefined ? error === null ? <Loading what="the runs" /> : null : <RunsTable rows={rows} />}
      {rows?.length === 0 && !hasNextPage ? <Empty>There is no such run.</Empty> : null}
      {hasNextPage ? (
        <button type="button" disabled={isFetching} onClick={() => void fetchNextPage()}>
          {isFetching ? 'Looking …' : 'Older runs'}
        </button>
      ) : null}
      {asking ? <AskForRun close={() => setAsking(false)} /> : null}
    </>
  );
}

function queryOf(params: URLSearchParams): RunsQuery {
  const one = <T extends string>(name: string, words: readonly string[]) => {
    const value = params.get(name);
    return value !== null && words.includes(value) ? (value as T) : undefined;
  };
  const date = (name: string) => {
    const value = params.get(name) ?? '';
    return isDate(value) ? value : undefined;
  };
  return { state: one('state', STATES), kind: one('kind', KINDS), from: date('from'), to: date('to') };
}

/** What the stream tells stands above what was asked for; runs that came since are shown where nothing filters them. */
function withLive(rows: readonly RunRow[], live: readonly LiveRun[], query: RunsQuery): RunRow[] {
  const liveOf = new Map(live.map((run) => [run.run_id, run]));
  const known = new Set(rows.map(({ run_id }) => run_id));
  const filtered = Object.values(query).some((value) => value !== undefined);
  const newest = rows[0]?.requested_at ?? '';
  const fresh = filtered ? [] : live.filter((run) => !known.has(run.run_id) && run.requested_at >= newest);
  return [...fresh, ...rows.map((row) => (filtered ? row : (liveOf.get(row.run_id) ?? row)))];
}

function Choice({
  name,
  all,
  words,
  value,
  set,
}: {
  readonly name: string;
  readonly all: string;
  readonly words: readonly string[];
  readonly value: string;
  readonly set: (name: string, value: string) => void;
}) {
  return (
    <label>
      {name}{' '}
      <select value={value} onChange={({ target }) => set(name, target.value)}>
        <option value="">{all}</option>
        {words.map((word) => (
          <option key={word}>{word}</option>
        ))}
      </select>
    </label>
  );
}

function RunsTable({ rows }: { readonly rows: readonly RunRow[] }) {
  if (rows.length === 0) return null;
  return (
    <Table
      caption="Runs, newest first"
      rows={rows}
      keyOf={({ run_id }) => run_id}
      columns={[
        { name: 'run', show: ({ run_id }) => <Link to={`/runs/${run_id}`}>{run_id}</Link> },
        { name: 'kind', show: ({ kind }) => kind },
        { name: 'for', show: ({ logical_date }) => logical_date },
        { name: 'state', show: (run) => <RunState {...run} /> },
        { name: 'asked for', show: ({ requested_at }) => <Time at={requested_at} /> },
        { name: 'took', show: ({ seconds }) => duration(seconds), numeric: true },
        { name: 'rows kept', show: ({ rows_kept }) => count(rows_kept), numeric: true },
        { name: 'rows rejected', show: ({ rows_rejected }) => count(rows_rejected), numeric: true },
        {
          name: 'files to look at',
          show: ({ files_rejected }) =>
            files_rejected ? <strong>! {count(files_rejected)}</strong> : count(files_rejected),
          numeric: true,
        },
        { name: 'reason', show: ({ reason }) => <span className="reason">{reason ?? ''}</span> },
      ]}
    />
  );
}

function AskForRun({ close }: { readonly close: () => void }) {
  const goToAskedRun = useGoToAskedRun();
  return (
    <Confirm
      title="Ask for a run?"
      action="Ask for it"
      close={close}
      act={async (key) => {
        const { run_id } = await post<Asked>('/v1/runs', { now: true }, key);
        await goToAskedRun(run_id);
      }}
    >
      <p>
        It takes the files that no run has taken yet, as the source bucket is now. Where there are none it is skipped at
        once.
      </p>
    </Confirm>
  );
}
