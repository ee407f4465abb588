import { ReplayRequested, RerunRequested } from './asked-again';
import { BatchCombined } from './batch-combined';
import { KpisPublished } from './kpis-published';
import { RunCompleted } from './run-completed';
import { RunFailed } from './run-failed';
import { RunHeld } from './run-held';
import { RunRejected } from './run-rejected';
import { RunRequested } from './run-requested';
import { RunSkipped } from './run-skipped';
import { RunValidated } from './run-validated';
import { STAGES, type Stage } from './stage';
import type { StageEvent, StageEventClass } from './stage-event';
import { StreamsSensed } from './streams-sensed';

/** Every event, in the order of the data's way. */
export const STAGE_EVENTS = [
  RunRequested,
  StreamsSensed,
  BatchCombined,
  RunValidated,
  RunRejected,
  RunHeld,
  KpisPublished,
  RunCompleted,
  RunSkipped,
  RunFailed,
  RerunRequested,
  ReplayRequested,
] as const satisfies readonly StageEventClass[];

const byTopic = new Map<string, StageEventClass>(STAGE_EVENTS.map((event) => [event.topic, event]));

export function eventClassOf(topic: string): StageEventClass<StageEvent> | undefined {
  return byTopic.get(topic);
}

/** The events a stage takes. */
export const INPUT_OF: Record<Stage, StageEventClass> = {
  sensor: RunRequested,
  combiner: StreamsSensed,
  validator: BatchCombined,
  'glue-trigger': RunValidated,
  archiver: KpisPublished,
};

/** The Kafka group that a stage's replicas are members of. */
export const consumerGroup = (stage: Stage): string => `music.${stage}`;

/** Events wait here before the n-th further try, n from 1. All events of one such topic wait equally long. */
export const retryTopic = (stage: Stage, n: number): string => `music.${stage}.retry-${n}`;

/** Events that a stage gave up on, with the reason in their headers. */
export const deadLetterTopic = (stage: Stage): string => `music.${stage}.dead-letter`;

export interface TopicSpec {
  readonly topic: string;
  readonly partitions: number;
  /** Milliseconds. */
  readonly retentionMs: number;
  /** Bytes. Topics for what went wrong take a message together with the headers that say so. */
  readonly maxMessageBytes: number;
}

const DAY_MS = 86_400_000;
const MESSAGE_BYTES = 2 ** 20;

/** For how many days topics keep events; those of dead letters keep them until somebody has looked. */
export interface Retention {
  readonly eventDays: number;
  readonly deadLetterDays: number;
}

export const RETENTION: Retention = { eventDays: 14, deadLetterDays: 90 };

/** All topics of the pipeline. Batches spread over more partitions, so that their stages can be scaled. */
export function topicSpecs(retryLevels: number, { eventDays, deadLetterDays } = RETENTION): TopicSpec[] {
  const parallel: ReadonlySet<string> = new Set([StreamsSensed.topic, BatchCombined.topic]);
  return [
    ...STAGE_EVENTS.map(({ topic }) => ({
      topic,
      partitions: parallel.has(topic) ? 12 : 3,
      retentionMs: eventDays * DAY_MS,
      maxMessageBytes: MESSAGE_BYTES,
    })),
    ...STAGES.flatMap((stage) => [
      ...Array.from({ length: retryLevels }, (_, i) => ({
        topic: retryTopic(stage, i + 1),
        partitions: 1,
        retentionMs: eventDays * DAY_MS,
        maxMessageBytes: 2 * MESSAGE_BYTES,
      })),
      {
        topic: deadLetterTopic(stage),
        partitions: 1,
        retentionMs: deadLetterDays * DAY_MS,
        maxMessageBytes: 2 * MESSAGE_BYTES,
      },
    ]),
  ];
}
