import { useEffect, useState } from 'react';
import { Link, useParams } from 'react-router';
import { type Asked, type DeadLetterRow, type FileRow, type Run, post } from '../api/client';
import { isUnderWay, useLiveRun } from '../api/live';
import { paths, useDeadLetters, useEvents, useFiles, useMe, useRun } from '../api/queries';
import { useWasAsked } from '../app/asked-run';
import { Time } from '../app/zone';
import { Confirm } from '../parts/confirm';
import { CsvButton } from '../parts/csv-button';
import { RunState } from '../parts/run-state';
import { Answer, Empty, Failure, Loading, Waiting, isMissing, useTitle } from '../parts/states';
import { Table } from '../parts/table';
import { count, duration, plural } from '../parts/text';
import { Timeline } from '../parts/timeline';

const LOOK = 'rejected,changed,released,left';
const FINE = 'taken,passed,archived';
const DATES_SHOWN = 31;
const BATCHES_SHOWN = 200;

export function RunPage() {
  const { id = '' } = useParams();
  useTitle(id);
  const wasAsked = useWasAsked();
  const asked = useRun(id, wasAsked);
  const { run: live } = useLiveRun(id, !wasAsked || asked.data !== undefined);
  const run = live ?? asked.data;
  return (
    <>
      <h1 className="id">{id}</h1>
      {run !== undefined ? (
        <RunDetails key={id} run={run} />
      ) : wasAsked && (asked.error === null || isMissing(asked.error)) ? (
        <Waiting>Asked for. The sensor has not taken it up yet …</Waiting>
      ) : (
        <Answer of={asked} what="the run">
          {() => null}
        </Answer>
      )}
    </>
  );
}

function RunDetails({ run }: { readonly run: Run }) {
  const now = useNow(isUnderWay(run));
  const letters = useDeadLetters(run.run_id, run.state === 'failed');
  const operator = useMe().data?.role === 'operator';
  return (
    <>
      <p className="facts">
        <RunState {...run} /> <span>{run.kind}</span> <span>for {run.logical_date}</span>{' '}
        <span>
          asked for <Time at={run.requested_at} />
          {run.requested_by === undefined ? '' : ` by ${run.requested_by}`}
        </span>{' '}
        {run.seconds === undefined || isUnderWay(run) ? null : <span>took {duration(run.seconds)}</span>}{' '}
        {run.backfill === undefined ? null : (
          <span>
            computes {run.backfill.from} to {run.backfill.to} again
          </span>
        )}
      </p>
      {run.standing === undefined ? null : (
        <p className="notice">
          {{ retract: 'Takes back', restore: 'Gives back', replace: 'Replaces' }[run.standing.change]}{' '}
          {run.standing.deliveries === undefined
            ? 'deliveries'
            : plural(run.standing.deliveries, 'delivery', 'deliveries')}
          {run.standing.ofRun !== undefined ? (
            <>
              {' '}
              of <Link to={`/runs/${run.standing.ofRun}`}>{run.standing.ofRun}</Link>
            </>
          ) : run.standing.key === undefined ? null : (
            ` of ${run.standing.key}`
          )}
          : {run.standing.reason}
        </p>
      )}
      {run.erasure === undefined ? null : (
        <p className="notice">
          {run.erasure.what === 'expire'
            ? `Listens of days before ${run.erasure.before} leave the lake`
            : `Forgets ${plural(run.erasure.users ?? 0, 'user')}`}
        </p>
      )}
      <Findings run={run} />
      {run.reasons.length === 0 ? null : (
        <ul className={`notice ${run.state === 'skipped' ? '' : 'bad'}`}>
          {run.reasons.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      )}
      {operator ? <Actions run={run} letters={letters.data ?? []} /> : null}
      <section aria-labelledby="stages">
        <h2 id="stages">Stages</h2>
        <Timeline run={run} now={now} />
        <Batches run={run} />
      </section>
      {run.dates.length === 0 ? null : (
        <section aria-labelledby="published">
          <h2 id="published">Published</h2>
          <p>
            {plural(run.dates.length, 'day')}, version {run.version}:{' '}
            {run.dates.slice(0, DATES_SHOWN).map((date) => (
              <span key={date}>
                <Link to={`/days/${date}`}>{date}</Link>{' '}
              </span>
            ))}
            {run.dates.length > DATES_SHOWN ? `and ${run.dates.length - DATES_SHOWN} more` : ''}
          </p>
        </section>
      )}
      <Rows run={run} />
      <Files run={run} />
      <Job run={run} />
      <DeadLetters letters={letters} />
      <Asks run={run} />
      <Events run={run} />
    </>
  );
}

/** What checks found, and what became of the run for that. */
function Findings({ run: { run_id, state, findings, decision } }: { readonly run: Run }) {
  if (findings.length === 0) return null;
  return (
    <section aria-labelledby="findings">
      <h2 id="findings">What checks found</h2>
      <ul className={`notice ${findings.some(({ level }) => level === 'hold') ? 'bad' : ''}`}>
        {findings.map(({ check, level, date, text }) => (
          <li key={`${check} ${level} ${date ?? ''} ${text}`}>
            <strong>{level}</strong> {check}
            {date === undefined ? null : <> of {date}</>}: {text}
          </li>
        ))}
      </ul>
      {state === 'held' ? (
        <p>
          What was published stays until somebody decides: <code>music-kpis release {run_id}</code> or{' '}
          <code>music-kpis discard {run_id} --reason …</code>
        </p>
      ) : null}
      {decision === undefined ? null : (
        <p>
          {decision.what === 'release' ? 'Released' : 'Discarded'}
          {decision.by === undefined ? '' : ` by ${decision.by}`}, <Time at={decision.at} />
          {decision.reason === undefined ? '' : `: ${decision.reason}`}
        </p>
      )}
    </section>
  );
}

/** The time, moving while something runs. */
function useNow(moving: boolean): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!moving) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [moving]);
  return now;
}

function Batches({ run }: { readonly run: Run }) {
  if (run.batch_count === 0) return null;
  const of = (state: string) => run.batches.filter((batch) => batch.state === state).length;
  return (
    <>
      <p>
        {plural(run.batch_count, 'batch', 'batches')}: {of('sensed')} to be combined, {of('combined')} to be judged,{' '}
        {of('judged')} judged.
      </p>
      <ol className="batches" aria-label="Batches">
        {run.batches.slice(0, BATCHES_SHOWN).map(({ batch, state, files_passed = 0, files_rejected = 0 }) => {
          const text = `batch ${batch}: ${state}${state === 'judged' ? `, ${files_passed} files passed, ${files_rejected} rejected` : ''}`;
          return (
            <li key={batch} className={`${state}${files_rejected > 0 ? ' bad' : ''}`} title={text}>
              <span className="unseen">{text}</span>
              <span aria-hidden="true">
                {files_rejected > 0 ? '✕' : state === 'judged' ? '✓' : state === 'combined' ? '·' : ''}
              </span>
            </li>
          );
        })}
      </ol>
    </>
  );
}

function Rows({ run }: { readonly run: Run }) {
  if (run.rows_read === undefined) return null;
  const reasons = Object.entries(run.rejected_rows).sort(([, a], [, b]) => b - a);
  const { unknownTrackListens = 0, unknownUserListens = 0, unreadableDurations = 0 } = run.notes ?? {};
  return (
    <section aria-labelledby="rows">
      <h2 id="rows">Rows</h2>
      <p>
        {count(run.rows_read)} read, {count(run.rows_kept)} kept, {count(run.rows_rejected)} not.
        {run.notes === undefined
          ? ''
          : ` ${count(unknownTrackListens)} listens of unknown tracks, ${count(unknownUserListens)} of unknown users; ${count(unreadableDurations)} songs without a readable duration.`}
      </p>
      {reasons.length === 0 ? null : (
        <Table
          caption="Rows that do not count"
          rows={reasons}
          keyOf={([reason]) => reason}
          columns={[
            { name: 'reason', show: ([reason]) => reason },
            { name: 'rows', show: ([, rows]) => count(rows), numeric: true },
          ]}
        />
      )}
    </section>
  );
}

function Files({ run }: { readonly run: Run }) {
  if (
    run.backfill !== undefined ||
    ['retract', 'restore', 'forget', 'expire'].includes(run.kind) ||
    run.batch_count + run.reasons.length === 0
  )
    return null;
  return (
    <section aria-labelledby="files">
      <h2 id="files">
        Files <CsvButton path={paths.files(run.run_id)} name={`files ${run.run_id}`} />
      </h2>
      {/* Asked again when the run moves on. */}
      <FileList
        key={`look ${run.state}`}
        run={run}
        states={LOOK}
        title="Files that need a look"
        none="No file needs a look."
      />
      <FileList
        key={`fine ${run.state}`}
        run={run}
        states={FINE}
        title="Files that are well"
        none="No file was taken."
      />
    </section>
  );
}

function FileList({
  run,
  states,
  title,
  none,
}: {
  readonly run: Run;
  readonly states: string;
  readonly title: string;
  readonly none: string;
}) {
  const { data, error, fetchNextPage, hasNextPage, isFetching, refetch } = useFiles(run.run_id, states);
  const rows = data?.pages.flatMap((page) => page.rows);
  return (
    <>
      <h3>{title}</h3>
      {error === null ? null : <Failure error={error} retry={() => void refetch()} />}
      {rows === undefined ? (
        error === null ? (
          <Loading what="the files" />
        ) : null
      ) : rows.length === 0 && !hasNextPage ? (
        <Empty>{none}</Empty>
      ) : (
        <Table
          caption={title}
          rows={rows}
          keyOf={({ key, state }) => `${state} ${key}`}
          columns={[
            { name: 'file', show: ({ key }) => <span className="long">{key}</span> },
            { name: 'form', show: ({ form }) => form ?? '–' },
            { name: 'state', show: ({ state }) => state },
            { name: 'rows', show: ({ rows_read }) => count(rows_read), numeric: true },
            { name: 'rows rejected', show: ({ rows_rejected }) => count(rows_rejected), numeric: true },
            { name: 'why, and what to do', show: (file) => <Why file={file} /> },
          ]}
        />
      )}
      {hasNextPage ? (
        <button type="button" disabled={isFetching} onClick={() => void fetchNextPage()}>
          More files
        </button>
      ) : null}
    </>
  );
}

function Why({ file: { reason, detail, what_to_do, copy_of, retracted, moved_to } }: { readonly file: FileRow }) {
  return (
    <div className="long">
      {reason === undefined ? null : <strong>{reason}</strong>} {detail}
      {copy_of === undefined ? null : <div>The same content as {copy_of}.</div>}
      {retracted === undefined ? null : <div>Does not count: {retracted}</div>}
      {what_to_do === undefined ? null : <div>To do: {what_to_do}</div>}
      {moved_to === undefined ? null : <div className="faint long">{moved_to}</div>}
    </div>
  );
}

function Job({ run: { job } }: { readonly run: Run }) {
  if (job === undefined) return null;
  return (
    <section aria-labelledby="job">
      <h2 id="job">KPI job</h2>
      <p>
        {job.engine}, {job.jobRunId ?? 'not started'}
        {job.seconds === undefined ? '' : `, ${duration(job.seconds)}`}
        {job.message === undefined && job.waiting === undefined ? '' : `: ${job.message ?? job.waiting}`}{' '}
        {job.logs === undefined ? null : /^https:\/\//.test(job.logs) ? (
          <a href={job.logs}>its logs</a>
        ) : (
          <>Logs: {job.logs}</>
        )}
      </p>
    </section>
  );
}

function DeadLetters({ letters }: { readonly letters: ReturnType<typeof useDeadLetters> }) {
  if (letters.data?.length === 0) return null;
  return (
    <section aria-labelledby="letters">
      <h2 id="letters">Dead letters</h2>
      <Answer of={letters} what="dead letters">
        {(rows) => (
          <Table
            caption="Dead letters"
            rows={rows}
            keyOf={({ topic, key, at }) => `${topic} ${key} ${at}`}
            columns={[
              { name: 'stage', show: ({ stage }) => stage },
              { name: 'topic', show: ({ topic }) => topic },
              { name: 'at', show: ({ at }) => <Time at={at} /> },
              { name: 'reason', show: ({ reason }) => <span className="reason">{reason}</span> },
            ]}
          />
        )}
      </Answer>
    </section>
  );
}

function Asks({ run: { asks } }: { readonly run: Run }) {
  if (asks.length === 0) return null;
  return (
    <section aria-labelledby="asks">
      <h2 id="asks">Asked since</h2>
      <Table
        caption="Asked since"
        rows={asks}
        keyOf={({ id }) => id}
        columns={[
          { name: 'at', show: ({ at }) => <Time at={at} /> },
          {
            name: 'what',
            show: ({ what, fromStage }) => (fromStage === undefined ? what : `${what} from ${fromStage}`),
          },
          { name: 'by', show: ({ by }) => by },
          {
            name: 'outcome',
            show: ({ refused, replayed }) =>
              refused ?? (replayed === undefined ? 'begun again' : `${plural(replayed, 'dead letter')} put back`),
          },
        ]}
      />
    </section>
  );
}

function Events({ run }: { readonly run: Run }) {
  const [open, setOpen] = useState(false);
  const events = useEvents(run.run_id, open);
  return (
    <details onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>Stage events</summary>
      {open ? (
        <Answer
          of={events}
          what="the events, which are read from the topics"
          empty="The topics no longer keep its events."
        >
          {(rows) => (
            <Table
              caption="Stage events"
              rows={rows}
              keyOf={({ topic, partition, offset }) => `${topic} ${partition} ${offset}`}
              columns={[
                { name: 'at', show: ({ at }) => <Time at={at} /> },
                { name: 'topic', show: ({ topic }) => topic },
                { name: 'key', show: ({ key }) => <span className="long">{key}</span> },
                { name: 'event', show: ({ event }) => <code className="event">{event}</code> },
              ]}
            />
          )}
        </Answer>
      ) : null}
    </details>
  );
}

/** What an operator can do with a run that did not end well. Each asks once more. */
function Actions({ run, letters }: { readonly run: Run; readonly letters: readonly DeadLetterRow[] }) {
  const [asking, setAsking] = useState<'rerun' | 'replay'>();
  const [stage, setStage] = useState(run.rerun_stages.at(-1));
  const from = stage !== undefined && run.rerun_stages.includes(stage) ? stage : run.rerun_stages.at(-1);
  const path = `/v1/runs/${encodeURIComponent(run.run_id)}`;
  if (from === undefined && letters.length === 0) return null;
  return (
    <p className="buttons">
      {from === undefined ? null : (
        <>
          <label>
            Begin again from{' '}
            <select value={from} onChange={({ target }) => setStage(target.value as typeof from)}>
              {run.rerun_stages.map((each) => (
                <option key={each}>{each}</option>
              ))}
            </select>
          </label>
          <button type="button" onClick={() => setAsking('rerun')}>
            Rerun …
          </button>
        </>
      )}
      {letters.length === 0 ? null : (
        <button type="button" onClick={() => setAsking('replay')}>
          Replay {plural(letters.length, 'dead letter')} …
        </button>
      )}
      {asking === 'rerun' && from !== undefined ? (
        <Confirm
          title={`Begin again from the ${from}?`}
          action="Rerun"
          close={() => setAsking(undefined)}
          act={async (key) => void (await post<Asked>(`${path}/rerun`, { from_stage: from }, key))}
        >
          <p>
            The run goes through the {from} and the stages after it once more, with what the stages before it left. What
            those stages left before is forgotten; files that were taken stay taken; no listen counts twice.
          </p>
        </Confirm>
      ) : null}
      {asking === 'replay' ? (
        <Confirm
          title={`Put ${plural(letters.length, 'dead letter')} back?`}
          action="Replay"
          close={() => setAsking(undefined)}
          act={async (key) => void (await post<Asked>(`${path}/replay`, {}, key))}
        >
          <p>
            {letters.map(({ stage: of }) => of).join(', ')}: each message goes back to the topic it came from, and the
            run goes on from where it failed. If the cause is still there, it fails again.
          </p>
        </Confirm>
      ) : null}
    </p>
  );
}
