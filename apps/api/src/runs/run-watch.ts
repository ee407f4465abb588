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
  | { readonly event: 'away'; readonly data: { readonly detail: string } };

export type Listener = (event: StreamEvent) => void;

const LOOK_MS = 1_000;
const RUNS_WATCHED = 50;
/** Clocks of replicas, and what a store shows late, differ by less. */
const SLACK_MS = 5_000;

/**
 * Looks at the runs once a second, for all streams of this process together, as long as there is one; tells what has
 * changed since the last look.
 */
@Injectable()
export class RunWatch {
  private readonly all = new Watched<Map<string, Run>>(
    () => this.newest(),
    (runs, before) => this.changes(runs, before),
  );
  private readonly each = new Map<string, Watched<string>>();

  constructor(private readonly runtime: ApiRuntime) {}

  /** Tells of all runs. Gives what ends it. */
  watchAll(listener: Listener): () => void {
    return this.all.add(listener);
  }

  /** Tells of one run, whole. Gives what ends it. */
  watchRun(runId: string, listener: Listener): () => void {
    const watched =
      this.each.get(runId) ??
      new Watched<string>(
        async () =>
          JSON.stringify(await runView(this.runtime.stores, runId, this.runtime.config.stallMinutes * 60_000)),
        async (view, before) => (view === before ? [] : [{ event: 'run', data: JSON.parse(view) as object }]),
      );
    this.each.set(runId, watched);
    const leave = watched.add(listener, true);
    return () => {
      leave();
      if (watched.size === 0) this.each.delete(runId);
    };
  }

  /** What a new stream begins with: the newest runs; or, where one goes on, what has changed since a time. */
  async beginning(since: number | undefined): Promise<StreamEvent[]> {
    const runs = [...(await this.newest()).values()];
    if (since === undefined) return [{ event: 'runs', data: runs.map(runRow) }];
    const changed = runs.filter((run) => Date.parse(lastChangeOf(run)) >= since - SLACK_MS).reverse();
    const events: StreamEvent[] = [];
    for (const run of changed) {
      events.push({ event: 'run', data: runRow(run) });
      events.push(...(await this.published(run)));
    }
    return events;
  }

  private async newest(): Promise<Map<string, Run>> {
    return new Map((await this.runtime.stores.runs.listRuns(RUNS_WATCHED)).map((run) => [run.runId, run]));
  }

  private async changes(runs: Map<string, Run>, before: Map<string, Run> | undefined): Promise<StreamEvent[]> {
    if (before === undefined) return [];
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
  private timer: NodeJS.Timeout | undefined;
  private seen: T | undefined;
  private away = false;

  constructor(
    private readonly look: () => Promise<T>,
    private readonly changes: (now: T, before: T | undefined) => Promise<StreamEvent[]>,
  ) {}

  get size(): number {
    return this.listeners.size;
  }

  /** `catchUp`: tell the newcomer alone what there is, as to the first one. */
  add(listener: Listener, catchUp = false): () => void {
    this.listeners.add(listener);
    if (this.timer === undefined) this.lookLater(0);
    else if (catchUp && this.seen !== undefined)
      void this.changes(this.seen, undefined).then((events) => events.forEach(listener));
    return () => {
      this.listeners.delete(listener);
      if (this.size > 0) return;
      clearTimeout(this.timer);
      this.timer = undefined;
      this.seen = undefined;
    };
  }

  private lookLater(ms: number): void {
    this.timer = setTimeout(() => {
      this.lookNow().then(
        () => this.size > 0 && this.lookLater(LOOK_MS),
        () => this.size > 0 && this.lookLater(LOOK_MS),
      );
    }, ms);
    this.timer.unref();
  }

  private async lookNow(): Promise<void> {
    try {
      const now = await this.look();
      const events = await this.changes(now, this.seen);
      this.seen = now;
      this.away = false;
      this.tell(events);
    } catch (error) {
      if (!this.away) this.tell([{ event: 'away', data: { detail: describeError(error, 200) } }]);
      this.away = true;
    }
  }

  private tell(events: readonly StreamEvent[]): void {
    for (const listener of this.listeners) for (const event of events) listener(event);
  }
}
