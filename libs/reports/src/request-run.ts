import { erasureHashesKey } from '@music/erasure';
import {
  type Envelope,
  ReplayRequested,
  RerunRequested,
  type RerunStage,
  RunRequested,
  type StandingAsked,
  dateIn,
  envelope,
  scheduledRunId,
} from '@music/events';
import { publishEvent } from '@music/messaging';
import { AT_REST, type Run, planRerun } from '@music/runs';
import type { Stores } from '@music/service';
import { ulid } from 'ulid';

/** Who asks, and by what. */
export interface Asker {
  /** What the request came through: the source of its event. */
  readonly through: 'cli' | 'api';
  /** A name, for the run to tell. */
  readonly name?: string;
  /** Identifies this time of asking; asking again with the same one asks for nothing new. 26 of 0-9, A-Z. */
  readonly askId?: string;
  /** The trace that the request is a part of. */
  readonly traceparent?: string;
}

const CLI: Asker = { through: 'cli' };

export interface RunRequest {
  /** YYYY-MM-DD. */
  readonly logicalDate: string;
  /** The schedule's run of a date is one, however often it is asked for. */
  readonly scheduled?: boolean;
  readonly immediately?: boolean;
  readonly force?: boolean;
}

/** Asks for a run. Gives its id once Kafka has the event. */
export async function requestRun(
  stores: Pick<Stores, 'kafka'>,
  { logicalDate, scheduled = false, immediately, force }: RunRequest,
  asker = CLI,
): Promise<string> {
  const runId = scheduled ? scheduledRunId(logicalDate) : `manual__${asker.askId ?? ulid()}`;
  return askForRun(stores, { runId, logicalDate, immediately, force }, asker);
}

/** Asks for days of the lake, both inclusive, to be computed again. Gives the run's id once Kafka has the event. */
export async function requestBackfill(
  stores: Pick<Stores, 'kafka'>,
  from: string,
  to: string,
  asker = CLI,
): Promise<string> {
  const runId = `backfill__${from}__${asker.askId ?? ulid()}`;
  const days = { backfillFrom: from, backfillTo: to };
  return askForRun(stores, { runId, logicalDate: from, immediately: true, ...days }, asker);
}

/** Asks for deliveries to be taken back or given back. Gives the run's id once Kafka has the event. */
export async function requestStanding(
  stores: Pick<Stores, 'kafka'>,
  standing: StandingAsked,
  logicalDate: string,
  asker = CLI,
): Promise<string> {
  const runId = `${standing.change}__${asker.askId ?? ulid()}`;
  return askForRun(stores, { runId, logicalDate, immediately: true, standing }, asker);
}

export interface ForgetRequest {
  /** Of the users' ids, by the key of ERASURE_KEY_FILE. */
  readonly hashes: readonly string[];
  /** What becomes of archived files that hold their listens. */
  readonly archive?: 'keep' | 'delete';
}

/** Asks for users to be forgotten. Gives the run's id once Kafka has the event; the hashes are in the lake bucket. */
export async function requestForget(
  stores: Pick<Stores, 'kafka' | 'objects'>,
  lakeBucket: string,
  { hashes, archive }: ForgetRequest,
  logicalDate: string,
  asker = CLI,
): Promise<string> {
  const id = asker.askId ?? ulid();
  const { bucket, key, etag, size } = await stores.objects.putJson(lakeBucket, erasureHashesKey(id), { hashes });
  const erasure = { what: 'forget' as const, users: hashes.length, hashes: { bucket, key, etag, size }, archive };
  return askForRun(stores, { runId: `forget__${id}`, logicalDate, immediately: true, erasure }, asker);
}

async function askForRun(
  { kafka }: Pick<Stores, 'kafka'>,
  request: Omit<RunRequested, 'requestedBy'>,
  asker: Asker,
): Promise<string> {
  await ask(kafka, asker, envelope(RunRequested, asker.through, { ...request, requestedBy: asker.name }));
  return request.runId;
}

/**
 * Asks the sensor to begin a run again from a stage, for who may not write to the tables. Throws CannotRerun where the
 * run, as it is now, could not. Gives the id of the ask once Kafka has the event.
 */
export async function requestRerun(
  { kafka, runs }: Pick<Stores, 'kafka' | 'runs'>,
  runId: string,
  fromStage: RerunStage,
  asker: Asker & { readonly name: string },
): Promise<string> {
  const { askId = ulid(), name: requestedBy, through } = asker;
  if ((await runs.asks.find(runId, askId)) !== undefined) return askId;
  await planRerun(runs, runId, fromStage);
  await ask(kafka, asker, envelope(RerunRequested, through, { runId, fromStage, askId, requestedBy }));
  return askId;
}

/** Asks the sensor to put a run's dead letters back. Gives the id of the ask once Kafka has the event. */
export async function requestReplay(
  { kafka, runs }: Pick<Stores, 'kafka' | 'runs'>,
  runId: string,
  asker: Asker & { readonly name: string },
): Promise<string> {
  const { askId = ulid(), name: requestedBy, through } = asker;
  if ((await runs.asks.find(runId, askId)) !== undefined) return askId;
  await ask(kafka, asker, envelope(ReplayRequested, through, { runId, askId, requestedBy }));
  return askId;
}

function ask(kafka: Stores['kafka'], { traceparent }: Asker, event: Envelope): Promise<void> {
  return publishEvent(kafka, event, traceparent === undefined ? {} : { traceparent });
}

const LOOK_MS = { least: 200, most: 1_000 };

/** Waits until a run has ended, or is held. Gives undefined where `timeoutMs` passed, or `signal` was aborted, first. */
export async function waitForRun(
  { runs }: Pick<Stores, 'runs'>,
  runId: string,
  {
    timeoutMs = Infinity,
    signal,
    onState = () => undefined,
  }: { timeoutMs?: number; signal?: AbortSignal; onState?: (run: Run | undefined) => void } = {},
): Promise<Run | undefined> {
  const began = Date.now();
  // Ever more seldom: who waits for long is told of the end a little later.
  const untilNextLook = () => Math.min(LOOK_MS.most, Math.max(LOOK_MS.least, (Date.now() - began) / 20));
  for (
    let last: string | undefined;
    Date.now() - began < timeoutMs && signal?.aborted !== true;
    await new Promise((resolve) => setTimeout(resolve, untilNextLook()))
  ) {
    const run = await runs.findRun(runId);
    if (run?.state !== last) onState(run);
    last = run?.state;
    if (run !== undefined && AT_REST.has(run.state)) return run;
  }
  return undefined;
}

/** The calendar day before now, in a zone: what a daily run is for. */
export function yesterday(timeZone: string, now = new Date()): string {
  return new Date(Date.parse(`${dateIn(timeZone, now)}T00:00:00Z`) - 86_400_000).toISOString().slice(0, 10);
}
