import { setTimeout as pause } from 'node:timers/promises';
import { describeError } from '@music/errors';
import { type RunRow, lastChangeOf, publishedDates, runProgress, runRow, runView } from '@music/reports';
import { type Run, TERMINAL } from '@music/runs';
import { Injectable } from '@nestjs/common';
import { ApiRuntime } from '../api-runtime';

/** What a stream tells. Each says how something is now, so that one which is told twice harms nobody. */
export type StreamEvent =
  /** The newest runs: the beginning of a stream. */
  | { readonly event: 'runs'; readonly data: readonly RunRow[] }
  /** A run has moved, with how far it is. */
  | { readonly event: 'run'; readonly data: object }
  /** Days were published. */
  | {
      readonly event: 'days';
      readonly data: { readonly run_id: string; readonly version?: number; readonly dates: readonly string[] };
    }
  /** A store does not answer; the stream goes on once it does. */
  | { readonly event: 'away'; readonly data: { readonly detail: string } }
  /** It does again. */
  | { readonly event: 'back'; readonly data: Readonly<Record<string, never>> };

export type Listener = (event: StreamEvent) => void;

const LOOK_MS = 1_000;
const RUNS_WATCHED = 50;
/** Clocks of replicas, and what a store shows late, differ by less. */
const SLACK_MS = 5_000;

/** What a stream begins with, and what tells it of all that comes after. */
export interface Following {
  readonly events: readonly StreamEvent[];
  /** Gives what ends it. */
  listen(listener: Listener): () => void;
}

/**
 * Looks at the runs once a second, for all streams of this process together, as long as there is one; tells what has
 * changed since the last look.
 */
@Injectable()
export class RunWatch {
  private readonly all = new Watched<ReadonlyMap<string, Run>>(
    () => this.newest(),
    (runs, before) => this.changes(runs, before),
  );
  private readonly each = new Map<string, Watched<string>>();

  constructor(private readonly runtime: ApiRuntime) {}

  /** All runs: from the newest ones on; or, where a stream goes on, from what has changed since a time (epoch ms). */
  async followAll(since: number | undefined): Promise<Following> {
    const runs = await this.newest();
    const events: StreamEvent[] = [];
    if (since === undefined) events.push({ event: 'runs', data: [...runs.values()].map(runRow) });
    else
      for (const run of [...runs.values()].reverse()) {
        if (Date.parse(lastChangeOf(run)) < since - SLACK_MS) continue;
        events.push({ event: 'run', data: runRow(run) }, ...(await this.published(run)));
      }
    return { events, listen: (listener) => this.all.add(listener, runs) };
  }

  /** One run, whole. Undefined where there is none. */
  async followRun(runId: string): Promise<Following | undefined> {
    const look = async () =>
      JSON.stringify(await runView(this.runtime.stores, runId, this.runtime.config.stallMinutes * 60_000));
    const tell = (view: string): StreamEvent => ({ event: 'run', data: JSON.parse(view) as object });
    const first = (await look()) as string | undefined;
    if (first === undefined) return undefined;
    return {
      events: [tell(first)],
      listen: (listener) => {
        const watched =
          this.each.get(runId) ??
          new Watched<string>(look, async (view, before) => (view === before ? [] : [tell(view)]));
        this.each.set(runId, watched);
        const leave = watched.add(listener, first);
        return () => {
          leave();
          if (watched.size === 0 && this.each.get(runId) === watched) this.each.delete(runId);
        };
      },
    };
  }

  private async newest(): Promise<ReadonlyMap<string, Run>> {
    return new Map((await this.runtime.stores.runs.listRuns(RUNS_WATCHED)).map((run) => [run.runId, run]));
  }

  private async changes(runs: ReadonlyMap<string, Run>, before: ReadonlyMap<string, Run>): Promise<StreamEvent[]> {
    const events: StreamEvent[] = [];
    for (const run of [...runs.values()].reverse()) {
      const old = before.get(run.runId);
      const underWay = !TERMINAL.has(run.state);
      const progress = underWay ? await runProgress(this.runtime.stores, run) : undefined;
      if (underWay || JSON.stringify(runRow(run)) !== JSON.stringify(old === undefined ? undefined : runRow(old)))
        events.push({ event: 'run', data: { ...runRow(run), progress } });
      if (run.version !== undefined && (old === undefined || old.days !== run.days || old.version !== run.version))
        events.push(...(await this.published(run)));
    }
    return events;
  }

  private async published(run: Run): Promise<StreamEvent[]> {
    const dates = await publishedDates(this.runtime.stores, run);
    return dates.length === 0 ? [] : [{ event: 'days', data: { run_id: run.runId, version: run.version, dates } }];
  }
}

/** Something that is looked at as long as anybody listens. */
class Watched<T> {
  private readonly listeners = new Set<Listener>();
  private seen: T | undefined;
  private looking = false;
  private away = false;

  constructor(
    private readonly look: () => Promise<T>,
    private readonly changes: (now: T, before: T) => Promise<StreamEvent[]>,
  ) {}

  get size(): number {
    return this.listeners.size;
  }

  /** `known`: what the listener has seen already; what has changed since is told. */
  add(listener: Listener, known: T): () => void {
    this.listeners.add(listener);
    this.seen ??= known;
    if (!this.looking) {
      this.looking = true;
      void this.lookOn();
    }
    return () => this.listeners.delete(listener);
  }

  private async lookOn(): Promise<void> {
    while (this.size > 0) {
      await this.lookOnce();
      await pause(LOOK_MS, undefined, { ref: false });
    }
    this.looking = false;
    this.seen = undefined;
  }

  private async lookOnce(): Promise<void> {
    try {
      const now = await this.look();
      const events = await this.changes(now, this.seen ?? now);
      this.seen = now;
      this.tell(this.away ? [{ event: 'back', data: {} }, ...events] : events);
      this.away = false;
    } catch (error) {
      if (!this.away) this.tell([{ event: 'away', data: { detail: describeError(error, 200) } }]);
      this.away = true;
    }
  }

  private tell(events: readonly StreamEvent[]): void {
    for (const listener of this.listeners) for (const event of events) listener(event);
  }
}
