import { Matches } from 'class-validator';

/**
 * What asks for runs: the schedule, a person, files that arrived, a person for days of the lake, a person who takes
 * deliveries back or gives them back, a person who wants to be forgotten, days that are not to be kept.
 */
export const RUN_KINDS = [
  'scheduled',
  'manual',
  'arrival',
  'backfill',
  'retract',
  'restore',
  'forget',
  'expire',
] as const;
export type RunKind = (typeof RUN_KINDS)[number];

/** `scheduled__2024-06-25`, `backfill__<date>__<ulid>`, or a kind with a ULID: `manual__<ulid>`. */
export const RUN_ID =
  /^(scheduled__\d{4}-\d{2}-\d{2}|(manual|arrival|retract|restore|forget|expire)__[0-9A-Z]{26}|backfill__\d{4}-\d{2}-\d{2}__[0-9A-Z]{26})$/;

/** The kind of a run, which its id begins with. */
export function runKind(runId: string): RunKind {
  return RUN_KINDS.find((kind) => runId.startsWith(`${kind}__`)) ?? 'manual';
}

/** The id of the daily run of a date, YYYY-MM-DD: there is one. */
export const scheduledRunId = (logicalDate: string): string => `scheduled__${logicalDate}`;

export const LOGICAL_DATE = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/;

/** The calendar day of an instant in a zone, YYYY-MM-DD. */
export function dateIn(timeZone: string, instant: Date): string {
  const format = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' });
  return format.format(instant);
}

/** What every event says: which run it belongs to. A subclass names its topic, which is also its CloudEvents type. */
export abstract class StageEvent {
  @Matches(RUN_ID) readonly runId!: string;

  /** Events of one key keep their order. */
  static keyOf(event: StageEvent): string {
    return event.runId;
  }
}

/** A concrete event class: its schema is its decorators. */
export interface StageEventClass<T extends StageEvent = StageEvent> {
  new (): T;
  readonly topic: string;
  keyOf(event: StageEvent): string;
}
