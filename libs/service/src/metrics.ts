import type { MessageOutcome } from '@music/messaging';
import type { RunKind, Stage } from '@music/events';
import type { RunState } from '@music/runs';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { HttpPort } from './http-port';

/** How long what is asked of a store at a scrape stays good. Milliseconds. */
const FRESH_MS = 15_000;

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
    collectDefaultMetrics({ register: this.registry });
  }

  /** A counter: each value that its label may have begins at 0, so that none is missed. */
  counter<L extends string>(name: string, help: string, labels: Readonly<Record<L, readonly string[]>>): Counter<L> {
    const names = Object.keys(labels) as L[];
    const counter = new Counter<L>({ name, help, labelNames: names, registers: [this.registry] });
    for (const label of names)
      for (const value of labels[label]) counter.inc({ [label]: value } as Partial<Record<L, string>>, 0);
    return counter;
  }

  /** A counter whose labels' values are not known here: its owner starts it at 0 for those that may come. */
  counterOf<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter<L>({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  /** A number that is asked for at a scrape, at most every 15 s. While it cannot be had it is missing. */
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
        gauge.reset();
        for (const [labels, value] of await read().catch(() => [])) gauge.set(labels as Record<L, string>, value);
      },
    });
  }

  histogram<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    buckets: readonly number[],
  ): Histogram<L> {
    return new Histogram({
      name,
      help,
      labelNames: [...labelNames],
      buckets: [...buckets],
      registers: [this.registry],
    });
  }
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
    const registers = [this.registry];
    this.messages = new Counter({
      name: 'music_messages_total',
      help: 'Messages by topic and what became of them: handled, retried, dead_lettered',
      labelNames: ['topic', 'outcome'],
      registers,
    });
    this.work = new Histogram({
      name: 'music_work_seconds',
      help: 'Seconds that a piece of work took, by how it ended: done, again (it waits for something), retried, given_up',
      labelNames: ['outcome'],
      buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3_600],
      registers,
    });
    this.rows = new Counter({
      name: 'music_rows_total',
      help: 'Rows of published runs: read, kept, and rejected ones by their reason',
      labelNames: ['outcome'],
      registers,
    });
    this.bytes = new Counter({
      name: 'music_bytes_total',
      help: 'Bytes of stream files that were combined or archived',
      labelNames: ['what'],
      registers,
    });
    this.runs = new Counter({
      name: 'music_runs_total',
      help: 'Runs that this stage moved to a state, by what asked for them',
      labelNames: ['state', 'kind'],
      registers,
    });
    this.served = new Histogram({
      name: 'music_arrival_to_served_seconds',
      help: 'Seconds from when a stream file was put into the source bucket until its days were served',
      labelNames: ['kind'],
      buckets: [2, 5, 10, 30, 60, 120, 300, 900, 3_600, 14_400, 86_400],
      registers,
    });
  }

  observeMessage(outcome: MessageOutcome, topic: string): void {
    this.messages.inc({ outcome, topic });
  }

  observeState(state: RunState, kind: RunKind): void {
    this.runs.inc({ state, kind });
  }
}
