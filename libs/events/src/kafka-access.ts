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
import { INPUT_OF, consumerGroup, deadLetterTopic } from './topics';

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
/** What begins a run again, or goes on with it, from each stage. */
const inputs = STAGES.map((stage) => INPUT_OF[stage].topic);

/** The events that each stage sends, besides those that it could not handle. */
const SENDS: Record<Stage, readonly { readonly topic: string }[]> = {
  sensor: [RunSkipped, RunFailed, ...STAGES.map((stage) => INPUT_OF[stage])], // it carries reruns and replays out
  combiner: [BatchCombined, RunRejected, RunFailed],
  validator: [RunValidated, RunRejected, RunFailed],
  'glue-trigger': [KpisPublished, RunHeld, RunCompleted, RunFailed],
  archiver: [RunCompleted, RunFailed],
};

/** What a client does with Kafka, and nothing else; a test holds it against what a broker was asked. */
export function kafkaAccess(client: KafkaClient): KafkaAccess {
  if (client === 'api')
    return {
      reads: [],
      writes: [RunRequested, RerunRequested, ReplayRequested].map(({ topic }) => topic),
      creates: [],
      groups: [],
      ownGroups: [],
      watches: { topics: deadLetters, groups: [] },
    };
  if (client === 'cli')
    return {
      reads: [ALL_TOPICS],
      writes: [...inputs, ...STAGES.map(retryTopics)],
      creates: [ALL_TOPICS],
      groups: [],
      ownGroups: [READER_GROUPS],
      watches: { topics: [], groups: [] },
    };
  const reads = [INPUT_OF[client].topic, ...(client === 'sensor' ? [RerunRequested.topic, ReplayRequested.topic] : [])];
  const group = consumerGroup(client);
  const scaledToZero: readonly Stage[] = client === 'sensor' ? ['combiner', 'validator'] : [];
  return {
    reads: [...reads, retryTopics(client), ...(client === 'sensor' ? deadLetters : [])],
    writes: [...new Set([...SENDS[client].map(({ topic }) => topic), retryTopics(client), deadLetterTopic(client)])],
    creates: [],
    groups: [group, `${group}.retry`],
    ownGroups: client === 'sensor' ? [READER_GROUPS] : [],
    watches: {
      topics: [deadLetterTopic(client), ...scaledToZero.map((stage) => INPUT_OF[stage].topic)],
      groups: scaledToZero.map(consumerGroup),
    },
  };
}
