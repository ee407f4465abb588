import { STAGE_EVENTS } from '@music/events';
import { type TopicMessage, isOfRun, readTopics } from '@music/messaging';
import { type Run, TERMINAL } from '@music/runs';
import type { Stores } from '@music/service';
import { lastChangeOf } from './run-view';

/** Clocks of brokers and services differ by less. */
const SLACK_MS = 60_000;

/**
 * The first `limit` stage events of a run, oldest first, as the topics still keep them. Reads what the topics got while
 * the run was under way, so it takes longer where much else was going on.
 */
export async function runEvents({ kafka }: Pick<Stores, 'kafka'>, run: Run, limit: number): Promise<TopicMessage[]> {
  const found: TopicMessage[] = [];
  const lastChange = Date.parse(lastChangeOf(run));
  await readTopics(
    kafka,
    STAGE_EVENTS.map(({ topic }) => topic),
    (message) => {
      if (isOfRun(message.key, run.runId) && found.length < 10 * limit) found.push(message);
    },
    {
      since: new Date(Date.parse(run.requestedAt) - SLACK_MS),
      until: TERMINAL.has(run.state) ? new Date(lastChange + SLACK_MS) : undefined,
    },
  );
  return found.sort((a, b) => Number(a.timestamp) - Number(b.timestamp)).slice(0, limit);
}
