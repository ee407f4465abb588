import { INPUT_OF, type Stage, consumerGroup, deadLetterTopic } from '@music/events';
import { type Kafka, consumerLags, messagesEver } from '@music/messaging';
import { type RunStore, waitingSeconds } from '@music/runs';
import { type Metrics, oneLook } from './metrics';

/** Stages that may have no replica while there is nothing to do: the sensor tells what would wake them, too. */
const SCALED_TO_ZERO: readonly Stage[] = ['combiner', 'validator'];

/**
 * What waits for a stage, of all its replicas: each tells the same, so it is not to be added up over them. `topics`:
 * those that the stage takes, once it knows them.
 */
export function watchBacklog(
  metrics: Metrics,
  stage: Stage,
  { runs, kafka }: { readonly runs: RunStore; readonly kafka: Kafka },
  topics: () => readonly string[],
): void {
  const stages = stage === 'sensor' ? [stage, ...SCALED_TO_ZERO] : [stage];
  const backlogs = oneLook(() =>
    Promise.all(stages.map(async (each) => ({ stage: each, backlog: await runs.work.backlog(each) }))),
  );
  metrics.gauge(
    'music_work',
    'Pieces of work of the stage, on all replicas alike: waiting, running, delayed (tried again later)',
    ['stage', 'state'],
    async () =>
      (await backlogs()).flatMap(({ stage, backlog: { waiting, running, delayed } }) =>
        Object.entries({ waiting, running, delayed }).map(([state, n]): [{ stage: string; state: string }, number] => [
          { stage, state },
          n,
        ]),
      ),
  );
  metrics.gauge(
    'music_work_oldest_waiting_seconds',
    'Seconds that the piece of work waits that has waited longest, on all replicas alike; 0: none waits',
    ['stage'],
    async () => (await backlogs()).map(({ stage, backlog }) => [{ stage }, waitingSeconds(backlog, Date.now())]),
  );
  metrics.gauge('music_consumer_lag', 'Messages that wait in a topic', ['stage', 'topic'], async () => {
    const consumed = stages.map((each) => ({
      stage: each,
      groupId: consumerGroup(each),
      topics: each === stage ? topics() : [INPUT_OF[each].topic],
    }));
    return (await consumerLags(kafka, consumed)).map(({ of, topic, waiting }) => [{ stage: of.stage, topic }, waiting]);
  });
  metrics.gauge(
    'music_dead_letter_offset',
    'Messages that the dead-letter topic of the stage ever got, from all replicas; each tells the same',
    [],
    async () => [[{}, await messagesEver(kafka, deadLetterTopic(stage))]],
  );
}
