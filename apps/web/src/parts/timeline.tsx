import type { Run } from '../api/client';
import { useZone, timeText } from '../app/zone';
import { duration } from './text';

/** Bars are never narrower, so that each can be seen and pointed at. Percent. */
const NARROWEST = 1.2;

/** The five stages as bars over the time of the run, moving while it runs. */
export function Timeline({ run, now }: { readonly run: Run; readonly now: number }) {
  const { zone } = useZone();
  const begin = Date.parse(run.requested_at);
  const last = Math.max(
    begin + 1_000,
    ...run.stages.flatMap(({ started_at, ended_at }) =>
      started_at === undefined ? [] : [ended_at === undefined ? now : Date.parse(ended_at)],
    ),
  );
  const share = (at: number) => Math.min(100, Math.max(0, ((at - begin) / (last - begin)) * 100));
  return (
    <ol className="timeline" aria-label="Stages">
      {run.stages.map(({ stage, started_at, ended_at, seconds }) => {
        const from = started_at === undefined ? undefined : Date.parse(started_at);
        const to = ended_at === undefined ? now : Date.parse(ended_at);
        const left = from === undefined ? 0 : Math.min(100 - NARROWEST, share(from));
        const width = from === undefined ? 0 : Math.max(NARROWEST, share(to) - left);
        const works = run.progress?.stage === stage ? run.progress : undefined;
        const stalled = run.stalled?.find((each) => each.stage === stage);
        const text =
          from === undefined
            ? 'not begun'
            : works !== undefined
              ? `${Math.floor(works.share * 100)} %${works.seconds_left === undefined ? '' : `, about ${duration(works.seconds_left)} left`}`
              : ended_at === undefined
                ? `${duration(Math.max(0, now - from) / 1_000)} so far`
                : duration(seconds);
        return (
          <li key={stage}>
            <span className="stage">{stage}</span>
            <span className="track">
              {from === undefined ? null : (
                <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
                  <rect
                    x={left}
                    width={width}
                    height="10"
                    className={ended_at === undefined || works ? 'busy' : 'done'}
                  >
                    <title>{`${stage}: ${timeText(started_at ?? '', zone)} to ${ended_at === undefined ? 'now' : timeText(ended_at, zone)}`}</title>
                  </rect>
                  {works === undefined ? null : (
                    <rect x={left} width={width * works.share} height="10" className="done" />
                  )}
                </svg>
              )}
            </span>
            <span className="took">
              {text}
              {stalled === undefined ? null : <strong> stalled since {timeText(stalled.since, zone)}</strong>}
            </span>
          </li>
        );
      })}
    </ol>
  );
}
