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
import { StreamsSensed } from './streams-sensed';
import { INPUT_OF, STAGE_EVENTS, consumerGroup, deadLetterTopic } from './topics';

/** What speaks to Kafka: a stage, the API, the command line. */
export const KAFKA_CLIENTS = [...STAGES, 'api', 'cli'] as const;
export type KafkaClient = (typeof KAFKA_CLIENTS)[number];

/** What brokers have to allow a client. A name that ends with `*` stands for all that begin so. */
export interface KafkaAccess {
  /** Topics. */
  readonly reads: readonly string[];
  /** Topics. */
  readonly writes: readonly string[];
  /** Topics. */
  readonly creates: readonly string[];
  /** Groups it is a member of. */
  readonly groups: readonly string[];
  /** Groups it makes, and deletes once it has read. */
  readonly ownGroups: readonly string[];
  /** Topics and groups whose offsets it asks for. */
  readonly watches: { readonly topics: readonly string[]; readonly groups: readonly string[] };
}

const ALL_TOPICS = 'music.*';
const READER_GROUPS = 'music.reader.*';
const retryTopics = (stage: Stage) => `music.${stage}.retry-*`;
const deadLetters = STAGES.map(deadLetterTopic);
const topicsOf = (events: readonly { readonly topic: string }[]) => events.map(({ topic }) => topic);
/** What stages take, and so what can become a dead letter and be put back. */
const taken = topicsOf([...STAGES.map((stage) => INPUT_OF[stage]), RerunRequested, ReplayRequested]);

/** The events that each stage sends. Those that it takes are sent again by itself where a run is begun again. */
const SENDS: Record<Stage, readonly { readonly topic: string }[]> = {
  sensor: [StreamsSensed, RunSkipped, RunFailed],
  combiner: [BatchCombined, RunFailed],
  validator: [RunValidated, RunRejected, RunFailed],
  'glue-trigger': [KpisPublished, RunHeld, RunRejected, RunFailed],
  archiver: [RunCompleted, RunFailed],
};

/** The topics of the events that a stage sends. */
export const sentBy = (stage: Stage): string[] => topicsOf(SENDS[stage]);

/** What a client does with Kafka, and nothing else; a test has a broker that refuses all else. */
export function kafkaAccess(client: KafkaClient): KafkaAccess {
  const none = { reads: [], writes: [], creates: [], groups: [], ownGroups: [], watches: { topics: [], groups: [] } };
  if (client === 'api')
    return {
      ...none,
      reads: [...topicsOf(STAGE_EVENTS), ...deadLetters],
      writes: topicsOf([RunRequested, RerunRequested, ReplayRequested]),
      ownGroups: [READER_GROUPS],
    };
  if (client === 'cli')
    return { ...none, reads: [ALL_TOPICS], writes: taken, creates: [ALL_TOPICS], ownGroups: [READER_GROUPS] };
  const group = consumerGroup(client);
  const own = {
    ...none,
    reads: [INPUT_OF[client].topic, retryTopics(client)],
    writes: [INPUT_OF[client].topic, ...sentBy(client), retryTopics(client), deadLetterTopic(client)],
    groups: [group, `${group}.retry`],
    watches: { topics: [deadLetterTopic(client)], groups: [] },
  };
  if (client !== 'sensor') return own;
  // It carries out what is asked of runs, and tells what would wake stages that have no replica.
  return {
    ...own,
    reads: [...own.reads, ...topicsOf([RerunRequested, ReplayRequested]), ...deadLetters],
    writes: [...new Set([...own.writes, ...taken])],
    ownGroups: [READER_GROUPS],
    watches: {
      topics: [...own.watches.topics, ...topicsOf([StreamsSensed, BatchCombined])],
      groups: [consumerGroup('combiner'), consumerGroup('validator')],
    },
  };
}
