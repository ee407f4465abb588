import type { Stage } from '@music/events';
import type { Run } from '@music/runs';
import type { Stores } from '@music/service';
import { number } from './text';

/** How far the stage that works on a run is. */
export interface RunProgress {
  readonly stage: Stage;
  /** 0 to 1. */
  readonly share: number;
  /** Of the pieces that are under way, all replicas together. */
  readonly per_second?: { readonly amount: number; readonly unit: 'bytes' | 'days' | 'files' };
  /** Once it can be told. */
  readonly seconds_left?: number;
}

/** Less than so much of a stage tells nothing of the rest. */
const TELLING = { share: 0.05, seconds: 2 };

/** Undefined where no stage works on the run, or it has not told yet how far it is. */
export async function runProgress(
  { runs }: Pick<Stores, 'runs'>,
  run: Run,
  now = Date.now(),
): Promise<RunProgress | undefined> {
  if (run.state === 'sensed') return combineProgress({ runs }, run, now);
  const stage = { validated: 'glue-trigger', published: 'archiver' }[run.state as string] as Stage | undefined;
  if (stage === undefined) return undefined;
  const [told] = (await runs.progress.list(run.runId, stage)).slice(-1);
  if (told === undefined) return undefined;
  const elapsed = (Date.parse(told.at) - Date.parse(told.startedAt)) / 1_000;
  return progressOf(stage, share(told), secondsSince(told.startedAt, now), {
    amount: told.done / Math.max(elapsed, 1),
    unit: told.unit,
  });
}

/** The combiner is ahead of the validator, which takes a batch as soon as it is combined. */
async function combineProgress(
  { runs }: Pick<Stores, 'runs'>,
  { runId, stages }: Run,
  now: number,
): Promise<RunProgress | undefined> {
  const batches = await runs.batches.list(runId);
  if (batches.length === 0) return undefined;
  const waiting = batches.filter(({ state }) => state === 'sensed');
  const started = stages.combiner?.startedAt;
  if (waiting.length === 0) {
    const judged = batches.filter(({ state }) => state === 'judged').length;
    return progressOf('validator', judged / batches.length, secondsSince(stages.validator?.startedAt ?? started, now));
  }
  const told = (await runs.progress.list(runId, 'combiner')).filter(
    ({ at, done, of }) => done < of && secondsSince(at, now) < 60,
  );
  const done = batches.length - waiting.length + told.reduce((sum, each) => sum + share(each), 0);
  const bytes = told.reduce(
    (sum, each) => sum + each.done / Math.max(1, (Date.parse(each.at) - Date.parse(each.startedAt)) / 1_000),
    0,
  );
  if (done === 0) return undefined;
  return progressOf(
    'combiner',
    Math.min(1, done / batches.length),
    secondsSince(started, now),
    bytes > 0 ? { amount: bytes, unit: 'bytes' } : undefined,
  );
}

/** One line for people. */
export function describeProgress({ stage, share: part, per_second, seconds_left }: RunProgress): string {
  const rate =
    per_second === undefined
      ? []
      : per_second.unit === 'bytes'
        ? [`${number(Math.round(per_second.amount / 2 ** 20))} MiB/s`]
        : [`${per_second.amount.toFixed(1)} ${per_second.unit}/s`];
  const left = seconds_left === undefined ? [] : [`about ${number(seconds_left)} s left`];
  return [`${stage} ${Math.floor(part * 100)} %`, ...rate, ...left].join(', ');
}

function progressOf(stage: Stage, part: number, seconds: number, perSecond?: RunProgress['per_second']): RunProgress {
  const tells = part >= TELLING.share && seconds >= TELLING.seconds;
  return {
    stage,
    share: part,
    per_second: perSecond,
    seconds_left: tells ? Math.ceil((seconds * (1 - part)) / part) : undefined,
  };
}

const share = ({ done, of }: { readonly done: number; readonly of: number }): number =>
  of === 0 ? 1 : Math.min(1, done / of);
const secondsSince = (at: string | undefined, now: number): number =>
  at === undefined ? 0 : Math.max(0, (now - Date.parse(at)) / 1_000);
