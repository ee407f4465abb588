import { setTimeout as pause } from 'node:timers/promises';
import { RUN_KINDS, type RunKind, type Stage } from '@music/events';
import { MESSAGE_OUTCOMES, type MessageOutcome } from '@music/messaging';
import { type RunState, TERMINAL } from '@music/runs';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { HttpPort } from './http-port';

/** How long what is asked of a store at a scrape stays good. Milliseconds. */
const FRESH_MS = 15_000;

/** How long what is asked may take. Prometheus gives a scrape 10 s. Milliseconds. */
const READ_MS = 5_000;

/** Numbers of one scrape are of one look. Milliseconds. */
const ONE_LOOK_MS = 1_000;

/** What several gauges tell of, asked for once a scrape. */
export function oneLook<T>(read: () => Promise<T>): () => Promise<T> {
  let last: { readonly at: number; readonly read: Promise<T> } | undefined;
  return () => {
    if (last === undefined || Date.now() - last.at > ONE_LOOK_MS) last = { at: Date.now(), read: read() };
    return last.read;
  };
}

/** What a service tells Prometheus, on a port of its own. */
export class Metrics extends HttpPort {
  protected readonly registry: Registry;

  /** `stage`: the service, as all its numbers are labelled. */
  constructor(stage: string) {
    const registry = new Registry();
    super((request, response) => {
      if (request.method !== 'GET' || request.url !== '/metrics') return void response.writeHead(404).end();
      registry.metrics().then(
        (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
        () => response.writeHead(500).end(),
      );
    });
    this.registry = registry;
    this.registry.setDefaultLabels({ stage });
    // How often it wakes to see whether the event loop is late, in ms, from which that lag counts. By default, 10, these
    // were three quarters of the system calls of an idle service.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 100 });
  }

  /**
   * A counter with the values that its labels may have. It begins at 0 for each combination of them, so that the first
   * event is an increase; where a label has none that are known here (`[]`), its owner begins it with `inc(labels, 0)`.
   */
  counter<L extends string>(name: string, help: string, labels: LabelValues<L>): Counter<L> {
    const counter = new Counter<L>({ name, help, labelNames: namesOf(labels), registers: [this.registry] });
    for (const each of combinationsOf(labels)) counter.inc(each, 0);
    return counter;
  }

  /**
   * A number that is asked for at a scrape, at most every 15 s. While it cannot be had, or not within 5 s, it is missing:
   * what does not answer holds up no other number.
   */
  gauge<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    read: () => Promise<readonly [Record<L, string>, number][]>,
  ): void {
    let readAt = 0;
    const gauge: Gauge<L> = new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      collect: async () => {
        if (Date.now() - readAt < FRESH_MS) return;
        readAt = Date.now();
        const late = pause(READ_MS, [], { ref: false });
        const values = await Promise.race([read(), late]).catch(() => []);
        gauge.reset();
        if (labelNames.length === 0) gauge.remove({}); // where it has no labels, resetting it would tell 0
        for (const [labels, value] of values) gauge.set(labels as Record<L, string>, value);
      },
    });
  }

  /** Like a counter, of observations in buckets. */
  histogram<L extends string>(
    name: string,
    help: string,
    labels: LabelValues<L>,
    buckets: readonly number[],
  ): Histogram<L> {
    const histogram = new Histogram<L>({
      name,
      help,
      labelNames: namesOf(labels),
      buckets: [...buckets],
      registers: [this.registry],
    });
    for (const each of combinationsOf(labels)) histogram.zero(each);
    return histogram;
  }

  /** Whether nothing is missing that `/readyz` asks for. */
  watchReadiness(problems: () => readonly string[]): void {
    this.gauge('music_ready', '1: the service is ready; 0: /readyz says what is missing', [], async () => [
      [{}, problems().length === 0 ? 1 : 0],
    ]);
  }
}

type LabelValues<L extends string> = Readonly<Record<L, readonly string[]>>;

const namesOf = <L extends string>(labels: LabelValues<L>) => Object.keys(labels) as L[];

function combinationsOf<L extends string>(labels: LabelValues<L>): Partial<Record<L, string>>[] {
  return namesOf(labels).reduce<Partial<Record<L, string>>[]>(
    (before, name) => before.flatMap((each) => labels[name].map((value) => ({ ...each, [name]: value }))),
    [{}],
  );
}

/** What every stage tells besides. */
export class StageMetrics extends Metrics {
  readonly messages: Counter<'topic' | 'outcome'>;
  readonly work: Histogram<'outcome'>;
  readonly rows: Counter<'outcome'>;
  readonly bytes: Counter<'what'>;
  readonly runs: Counter<'state' | 'kind'>;
  readonly served: Histogram<'kind'>;

  constructor(stage: Stage) {
    super(stage);
    this.messages = this.counter(
      'music_messages_total',
      'Messages by topic and what became of them: handled, retried, dead_lettered',
      { topic: [], outcome: MESSAGE_OUTCOMES },
    );
    this.work = this.histogram(
      'music_work_seconds',
      'Seconds that a piece of work took, by how it ended: done, again (it waits for something), retried, given_up',
      { outcome: ['done', 'again', 'retried', 'given_up'] },
      [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3_600],
    );
    this.rows = this.counter(
      'music_rows_total',
      'Rows of published runs: read, kept, and rejected ones by their reason',
      {
        outcome: ['read', 'kept'],
      },
    );
    this.bytes = this.counter('music_bytes_total', 'Bytes of stream files that were combined or archived', {
      what: ['combined', 'archived'],
    });
    this.runs = this.counter('music_runs_total', 'Runs that this stage moved to a state, by what asked for them', {
      state: [...TERMINAL],
      kind: RUN_KINDS,
    });
    this.served = this.histogram(
      'music_arrival_to_served_seconds',
      'Seconds from when a stream file was put into the source bucket until its days were served',
      { kind: ['scheduled', 'manual', 'arrival'] },
      [2, 5, 10, 30, 60, 120, 300, 900, 3_600, 14_400, 86_400],
    );
  }

  /** Begins the counting of a stage's topics. */
  observeTopics(topics: readonly string[]): void {
    for (const topic of topics) for (const outcome of MESSAGE_OUTCOMES) this.messages.inc({ topic, outcome }, 0);
  }

  observeMessage(outcome: MessageOutcome, topic: string): void {
    this.messages.inc({ outcome, topic });
  }

  observeState(state: RunState, kind: RunKind): void {
    this.runs.inc({ state, kind });
  }
}
