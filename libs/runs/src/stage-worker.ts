import { randomUUID } from 'node:crypto';
import { describeError, isLasting } from '@music/errors';
import { type Envelope, type Stage, fromJson, toJson, traceIdOf } from '@music/events';
import { REPLAYED_HEADER, deadLetter } from './dead-letter';
import { failRun } from './fail-run';
import type { Progress } from './store/progress-store';
import type { RunStore } from './store/run-store';
import type { WorkItem } from './work-item';

export interface WorkLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** One piece of work under its lease. */
export interface Work {
  readonly event: Envelope;
  readonly headers: Readonly<Record<string, string>>;
  /** Aborted when the lease is lost or the service stops: leave off, somebody else goes on. */
  readonly signal: AbortSignal;
  readonly log: WorkLogger;
  /**
   * To be called whenever a part of the work is done, so that work which gets nowhere can be told; with how far it is,
   * where that can be said, so that people see it: then it may be called at any time, and counts where it is further.
   */
  progress(howFar?: Progress): void;
}

/**
 * `done`, or look again after so many milliseconds. `unchanged`: what it waits for has not got on since the last look.
 */
export type WorkOutcome = 'done' | { readonly again: number; readonly unchanged?: boolean };

export interface StageWorkerOptions {
  readonly stage: Stage;
  /** How many pieces are worked on at once. */
  readonly concurrency: number;
  readonly leaseMs: number;
  /** How often work of others that stopped, and work that is due again, is looked for. */
  readonly sweepMs: number;
  /** Tries before a passing fault counts as a lasting one. */
  readonly maxAttempts: number;
  readonly retryMs: number;
  /** Work that gets nowhere for so long counts as stalled. */
  readonly stallMs: number;
}

const MAX_RETRY_MS = 60_000;
const TELL_MS = 1_000;

/**
 * Does a stage's work beside its message handlers. Work is remembered in `pipeline_runs` before its message is
 * acknowledged, done under a lease, and taken over by another replica when the lease runs out. `perform` must be
 * idempotent: it may be called again after any crash, and by two replicas at once when clocks differ by more than a
 * lease.
 */
export class StageWorker {
  private readonly owner = randomUUID();
  private readonly active = new Map<string, { abort: AbortController; ended: Promise<void>; progressAt: number }>();
  /** How many pieces are being claimed, to be begun. */
  private claiming = 0;
  /** When pieces that tell how far they are were begun, how far they were, and when that was last told. */
  private readonly told = new Map<string, { readonly startedAt: number; at: number; done: number }>();
  /** Pieces of all replicas that were stalled at the last sweep. */
  private readonly stalledWork = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private sweeping: Promise<void> | undefined;
  private rung = false;
  /** Whether the last sweep left work that was due, for want of room. */
  private leftDue = false;
  private swept = false;
  private stopped = false;

  constructor(
    private readonly store: RunStore,
    private readonly options: StageWorkerOptions,
    private readonly perform: (work: Work) => Promise<WorkOutcome>,
    /** Called at each sweep: messages may be owed that a process before this one did not live to send. */
    private readonly flush: () => Promise<void>,
    private readonly log: WorkLogger,
    /** Told how each piece ended, and after how many seconds. */
    private readonly observe: (outcome: 'done' | 'again' | 'retried' | 'given_up', seconds: number) => void = () =>
      undefined,
  ) {}

  /** Whether it could look for work when it last tried. */
  get reachesStore(): boolean {
    return this.swept;
  }

  /** How many pieces of the stage's work, whoever does them, get nowhere. As of the last sweep. */
  get stalled(): number {
    return this.stalledWork.size;
  }

  start(): void {
    this.ring();
  }

  /**
   * Remembers what an event asks for; then its offset may be committed. Where there is room for it, it is begun here and
   * now, without a look at what else there is.
   */
  async accept(event: Envelope, headers: Readonly<Record<string, string>>): Promise<void> {
    if (headers[REPLAYED_HEADER] !== undefined) await this.reopen(event.data.runId);
    const { stage, leaseMs } = this.options;
    const offered = { id: event.id, topic: event.topic, message: toJson(event), headers };
    if (this.stopped || this.isFull) {
      await this.store.work.offer(stage, offered);
      this.ring();
      return;
    }
    const lease = { owner: this.owner, until: Date.now() + leaseMs };
    if (!(await this.beginClaimed(() => this.store.work.offer(stage, offered, lease)))) this.ring();
  }

  /** Looks for work now instead of at the next sweep. */
  ring(): void {
    this.rung = true;
    if (this.stopped || this.sweeping !== undefined) return;
    clearTimeout(this.timer);
    this.sweeping = this.sweep()
      .then(
        (dueInMs) => {
          this.swept = true;
          return dueInMs;
        },
        (error: unknown) => {
          this.swept = false;
          this.log.warn({ error: describeError(error) }, 'could not look for work; trying again');
          return undefined;
        },
      )
      .then((dueInMs) => {
        this.sweeping = undefined;
        if (this.stopped) return;
        if (this.rung) this.ring();
        else
          this.timer = setTimeout(
            () => this.ring(),
            Math.min(this.options.sweepMs, Math.max(1, dueInMs ?? this.options.sweepMs)),
          ).unref();
      });
  }

  /** Begins nothing more, waits until what was begun has ended or `graceMs` are over, then gives the leases back. */
  async stop(graceMs: number): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.sweeping;
    const all = Promise.all([...this.active.values()].map(({ ended }) => ended));
    const timeout = new Promise<'timeout'>((resolve) => setTimeout(() => resolve('timeout'), graceMs).unref());
    if ((await Promise.race([all, timeout])) === 'timeout') {
      for (const { abort } of this.active.values()) abort.abort(new Error('the service is stopping'));
      await all;
    }
  }

  /** Gives in how many milliseconds the next piece is due. */
  private async sweep(): Promise<number | undefined> {
    this.rung = false;
    this.leftDue = false;
    let next: number | undefined;
    const now = Date.now();
    const [items] = await Promise.all([this.store.work.list(this.options.stage), this.flush()]);
    this.noteStalled(items, now);
    for (const item of items) {
      if (this.stopped) break;
      if (this.active.has(item.id)) continue;
      const dueAt = Math.max(item.notBefore, item.leaseUntil);
      if (dueAt > now) {
        next = Math.min(next ?? Infinity, dueAt - now + 1);
        continue;
      }
      if (this.isFull) {
        this.leftDue = true; // the end of a piece rings
        break;
      }
      const { stage, leaseMs } = this.options;
      await this.beginClaimed(() => this.store.work.claim(stage, item.id, this.owner, now, leaseMs));
    }
    return next;
  }

  private get isFull(): boolean {
    return this.active.size + this.claiming >= this.options.concurrency;
  }

  /** Begins the piece that is claimed, if it can be, and gives whether it was. Keeps a place for it meanwhile. */
  private async beginClaimed(claim: () => Promise<WorkItem | undefined>): Promise<boolean> {
    this.claiming += 1;
    try {
      const claimed = await claim();
      if (claimed !== undefined) this.begin(claimed);
      return claimed !== undefined;
    } finally {
      this.claiming -= 1;
    }
  }

  private noteStalled(items: readonly WorkItem[], now: number): void {
    const stalled = items.filter(
      ({ id, progressAt = now }) => now - (this.active.get(id)?.progressAt ?? progressAt) > this.options.stallMs,
    );
    for (const { id, message } of stalled) {
      if (!this.stalledWork.has(id))
        this.log.warn({ work: id, runId: fromJson(message).data.runId }, 'work gets nowhere');
    }
    this.stalledWork.clear();
    for (const { id } of stalled) this.stalledWork.add(id);
  }

  private begin(item: WorkItem): void {
    const abort = new AbortController();
    const entry = { abort, ended: Promise.resolve(), progressAt: item.progressAt ?? Date.now() };
    this.active.set(item.id, entry);
    entry.ended = this.work(item, entry)
      .catch((error: unknown) => {
        this.log.warn(
          { work: item.id, error: describeError(error) },
          'could not record the end of a piece of work; its lease will run out',
        );
        return 'left' as const;
      })
      .then((end) => {
        this.active.delete(item.id);
        // What is done leaves nothing to look for, but where more waits for its place.
        if (end !== 'done' || this.leftDue) this.ring();
      });
  }

  /** `left`: the piece stays, to be looked at again, or its run has failed. */
  private async work(
    item: WorkItem,
    entry: { readonly abort: AbortController; progressAt: number },
  ): Promise<'done' | 'left'> {
    const { abort } = entry;
    const progress = (howFar?: Progress) => {
      if (howFar === undefined || this.tell(item, howFar)) entry.progressAt = Date.now();
    };
    const { stage, leaseMs, maxAttempts } = this.options;
    const event = fromJson(item.message);
    const fields = { runId: event.data.runId, work: item.id, traceId: traceIdOf(item.headers['traceparent']) };
    const log: WorkLogger = {
      info: (more, message) => this.log.info({ ...fields, ...more }, message),
      warn: (more, message) => this.log.warn({ ...fields, ...more }, message),
      error: (more, message) => this.log.error({ ...fields, ...more }, message),
    };
    const began = performance.now();
    const observe = (outcome: Parameters<typeof this.observe>[0]) =>
      this.observe(outcome, (performance.now() - began) / 1_000);
    const renewal = setInterval(() => {
      this.store.work.renew(stage, item.id, this.owner, Date.now() + leaseMs, entry.progressAt).then(
        (held) => {
          if (!held) abort.abort(new Error('the lease was lost'));
        },
        (error: unknown) => log.warn({ error: describeError(error) }, 'could not renew the lease'),
      );
    }, leaseMs / 3);
    try {
      // A process that dies on a piece of work leaves no error behind, only one more claim.
      if (item.claims > maxAttempts)
        throw new WorkKillsProcess(`the work was begun ${item.claims - 1} times and no process lived to end it`);
      const outcome = await this.perform({ event, headers: item.headers, signal: abort.signal, log, progress });
      observe(outcome === 'done' ? 'done' : 'again');
      if (outcome === 'done') {
        this.told.delete(item.id);
        await this.store.work.finish(stage, item.id, this.owner);
        return 'done';
      } else {
        if (outcome.unchanged !== true) progress();
        const next = { notBefore: Date.now() + outcome.again, attempts: 0, claims: 0, progressAt: entry.progressAt };
        await this.store.work.release(stage, item.id, this.owner, next);
      }
    } catch (error) {
      const attempts = item.attempts + 1;
      if (abort.signal.aborted) {
        await this.store.work.release(stage, item.id, this.owner, {
          notBefore: 0,
          attempts: item.attempts,
          claims: 0,
          lastError: describeError(error),
          progressAt: entry.progressAt,
        });
      } else if (isLasting(error) || attempts >= maxAttempts) {
        log.error({ error: describeError(error), attempts }, 'giving up');
        observe('given_up');
        await this.giveUp(
          item,
          event,
          isLasting(error) ? describeError(error) : `after ${attempts} tries: ${describeError(error)}`,
        );
      } else {
        const delay = Math.min(this.options.retryMs * 2 ** (attempts - 1), MAX_RETRY_MS);
        log.warn({ error: describeError(error), attempts, delay }, 'did not succeed; trying again');
        observe('retried');
        await this.store.work.release(stage, item.id, this.owner, {
          notBefore: Date.now() + delay,
          attempts,
          claims: 0,
          lastError: describeError(error),
          progressAt: entry.progressAt,
        });
      }
    } finally {
      clearInterval(renewal);
    }
    return 'left';
  }

  /**
   * Writes down how far a piece is, at most once a second, and never for what takes less. Gives whether it is further
   * than before.
   */
  private tell({ id, message }: WorkItem, progress: Progress): boolean {
    const now = Date.now();
    const told = this.told.get(id) ?? { startedAt: now, at: now, done: NaN };
    this.told.set(id, told);
    const further = told.done !== progress.done;
    told.done = progress.done;
    if (now - told.at < TELL_MS) return further;
    told.at = now;
    const { stage } = this.options;
    const times = { startedAt: new Date(told.startedAt).toISOString(), at: new Date(now).toISOString() };
    this.store.progress
      .tell(fromJson(message).data.runId, id, { ...progress, stage, ...times })
      .catch((error: unknown) => this.log.warn({ error: describeError(error) }, 'could not tell how far the work is'));
    return further;
  }

  /** Fails the run, in one step with the dead letter; then the work is no longer remembered. */
  private async giveUp(item: WorkItem, event: Envelope, reason: string): Promise<void> {
    const { stage } = this.options;
    this.told.delete(item.id);
    const dead = deadLetter(
      stage,
      { id: item.id, topic: item.topic, key: event.key, value: item.message, headers: item.headers },
      reason,
    );
    await failRun(this.store, stage, event, reason, item.headers, [dead]);
    await this.store.work.finish(stage, item.id, this.owner);
  }

  /** A replayed dead letter lets its failed run go on where it was. */
  private async reopen(runId: string): Promise<void> {
    const run = await this.store.findRun(runId);
    if (run?.state !== 'failed' || run.failedFrom === undefined) return;
    await this.store.transition(runId, 'failed', run.failedFrom, this.options.stage, { reasons: [] });
    this.log.info({ runId }, `resumed as ${run.failedFrom}`);
  }
}

class WorkKillsProcess extends Error {
  override readonly name = 'WorkKillsProcess';
  readonly lasting = true;
}
