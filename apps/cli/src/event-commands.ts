import { STAGES, STAGE_EVENTS, type Stage } from '@music/events';
import { type TopicMessage, isOfRun, listOpenDeadLetters, readTopics, replay } from '@music/messaging';
import { followRun, printable, table } from '@music/reports';
import { type Command, InvalidArgumentError } from 'commander';
import { letterForPrograms } from './letter-for-programs';
import { print, printJson, withStores } from './with-stores';

export function addEventCommands(program: Command): void {
  program
    .command('events')
    .description('the stage events as they stand in the topics, oldest first')
    .option('--run <run>', 'of one run')
    .option('--follow', 'go on with what comes, until Ctrl-C', false)
    .option('--json', 'one event a line, for programs', false)
    .action(async ({ run, follow, json }: { run?: string; follow: boolean; json: boolean }) =>
      withStores(async ({ kafka, runs }) => {
        const isAsked = ({ key }: TopicMessage) => run === undefined || isOfRun(key, run);
        const show = (message: TopicMessage) => print(json ? JSON.stringify(forPrograms(message)) : eventLine(message));
        const topics = STAGE_EVENTS.map(({ topic }) => topic);
        const seen: TopicMessage[] = [];
        const stop = new AbortController();
        process.once('SIGINT', () => stop.abort());
        // On standard error, so that the events stay clean.
        if (follow && run !== undefined) void followRun({ runs }, run, { signal: stop.signal }).catch(() => undefined);
        await readTopics(
          kafka,
          topics,
          (message) => {
            if (isAsked(message)) (follow ? show : (each: TopicMessage) => seen.push(each))(message);
          },
          { follow, signal: stop.signal },
        );
        for (const message of seen.sort((a, b) => Number(a.timestamp) - Number(b.timestamp))) show(message);
      }),
    );

  program
    .command('replay')
    .description('put dead letters back where they came from; failed runs go on')
    .option('--run <run>', 'of one run')
    .option('--stage <stage>', 'of one stage', (stage: string): Stage => {
      if (!(STAGES as readonly string[]).includes(stage))
        throw new InvalidArgumentError(`expected one of ${STAGES.join(', ')}.`);
      return stage as Stage;
    })
    .option('--list', 'only show them; the exit code is 1 where there are any', false)
    .option('--json', 'for programs', false)
    .action(async ({ run, stage, list, json }: { run?: string; stage?: Stage; list: boolean; json: boolean }) =>
      withStores(async ({ kafka, runs }) => {
        const open = await listOpenDeadLetters(kafka, runs, stage === undefined ? STAGES : [stage]);
        const letters = open.filter(({ message }) => run === undefined || isOfRun(message.key, run));
        if (!list) await replay(kafka, runs, letters);
        else if (letters.length > 0) process.exitCode = 1;
        if (json)
          printJson(
            letters.map((letter) => ({ ...letterForPrograms(letter), offset: letter.message.offset, replayed: !list })),
          );
        else if (letters.length === 0) print('there are no dead letters that were not put back');
        else
          print(
            `${table(
              ['stage', 'topic', 'key', 'at', 'reason'],
              letters.map(({ stage: of, topic, reason, at, message }) => [of, topic, message.key, at, reason]),
            )}\n\n${letters.length} ${list ? 'dead letters' : 'put back'}`,
          );
      }),
    );
}

function eventLine({ topic, partition, offset, timestamp, value }: TopicMessage): string {
  let data: unknown = value;
  try {
    data = (JSON.parse(value) as { data?: unknown }).data;
  } catch {
    // shown as it is
  }
  return printable(
    `${new Date(Number(timestamp)).toISOString()} ${topic} ${partition}/${offset} ${typeof data === 'string' ? data : JSON.stringify(data)}`,
  );
}

function forPrograms({ topic, partition, offset, value, headers }: TopicMessage): object {
  let event: unknown = value;
  try {
    event = JSON.parse(value);
  } catch {
    // given as it is
  }
  return { topic, partition, offset, headers, event };
}
