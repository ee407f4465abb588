import { describeError } from '@music/errors';
import { RunRequested, dateIn, envelope } from '@music/events';
import { type AskedRun, type SourceObject, claimKey, messageOf, takesFiles } from '@music/runs';
import { StageRuntime } from '@music/service';
import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { ulid } from 'ulid';
import { NotificationQueue } from './notification-queue';
import { planArrival } from './plan-arrival';
import { SensorConfig } from './sensor.config';
import { SourceFiles } from './source-files';

/** A request that no sensor has taken from its topic after so long is made again. */
const LOST_MS = 10 * 60_000;

/**
 * Asks for a run when files have arrived. It looks again and again, and at once when a notification rings; what it sees
 * is in the bucket and in `pipeline_runs` alone, so that any number of sensors can look, and one that dies leaves
 * nothing behind.
 */
@Injectable()
export class Arrivals implements OnApplicationBootstrap {
  private readonly queue: NotificationQueue | undefined;
  private readonly ended = new AbortController();
  private looking: Promise<void> | undefined;
  private next: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private failure: string | undefined;

  constructor(
    private readonly runtime: StageRuntime,
    private readonly config: SensorConfig,
    private readonly source: SourceFiles,
  ) {
    if (config.arrivals === 'sqs')
      this.queue = new NotificationQueue(runtime, { ...config, queueUrl: config.arrivalQueueUrl ?? '' }, () =>
        this.look(),
      );
  }

  /** What keeps it from seeing files arrive. */
  get problems(): readonly string[] {
    return [
      ...(this.failure === undefined ? [] : [`arrivals cannot be looked for: ${this.failure}`]),
      ...(this.queue?.problems ?? []),
    ];
  }

  onApplicationBootstrap(): void {
    if (this.config.arrivals === 'off') return;
    void this.look().catch(() => undefined); // told by `problems`
    this.queue?.start();
  }

  /** Ends what goes on; a look that is under way is waited for. */
  async close(): Promise<void> {
    this.ended.abort();
    clearTimeout(this.timer);
    await this.queue?.close();
    await this.looking?.catch(() => undefined);
  }

  /**
   * Resolves when a look that began after this call has ended; calls that come during one share the next. Throws as the
   * stores do.
   */
  private look(): Promise<void> {
    if (this.looking === undefined) return this.begin();
    this.next ??= this.looking.catch(() => undefined).then(() => this.begin());
    return this.next;
  }

  private begin(): Promise<void> {
    this.next = undefined;
    clearTimeout(this.timer);
    const { pollSeconds, arrivalListSeconds, arrivals } = this.config;
    const atLatest = (arrivals === 'sqs' ? arrivalListSeconds : pollSeconds) * 1_000;
    let lookInMs: number | undefined;
    this.looking = this.askIfDue()
      .then(
        (inMs) => {
          lookInMs = inMs;
          this.failure = undefined;
        },
        (error: unknown) => {
          this.failure = describeError(error);
          lookInMs = pollSeconds * 1_000;
          this.runtime.logger.warn({ error: this.failure }, 'could not look for arrivals; trying again');
          throw error;
        },
      )
      .finally(() => {
        this.looking = undefined;
        if (this.ended.signal.aborted || this.next !== undefined) return;
        const wait = Math.max(1, Math.min(atLatest, lookInMs ?? Infinity));
        this.timer = setTimeout(() => void this.look().catch(() => undefined), wait).unref();
      });
    return this.looking;
  }

  /** Asks for a run where one is due. Gives in how many milliseconds one may be. */
  private async askIfDue(): Promise<number | undefined> {
    const there = this.ended.signal.aborted ? [] : (await this.source.list('streams/')).filter(this.source.isData);
    if (there.length === 0) return undefined;
    const { pollSeconds, quietSeconds, arrivalMaxWaitSeconds, arrivalMinIntervalSeconds, kpiTimeZone } = this.config;
    const { runs } = this.runtime.stores;
    const last = await runs.arrivals.last();
    // Before it is looked who took which file: a run that is pending now may take them at any moment, and one that is
    // not has taken all that it takes.
    const comesAlong = await this.isRunToCome(last);
    const files = await this.untaken(there);
    const now = new Date();
    const plan = planArrival({
      now,
      files,
      quietMs: quietSeconds * 1_000,
      maxWaitMs: arrivalMaxWaitSeconds * 1_000,
      minIntervalMs: arrivalMinIntervalSeconds * 1_000,
      lastAskedAt: last === undefined ? undefined : new Date(last.askedAt),
    });
    if (!plan.ask) return plan.lookInMs;
    if (comesAlong) return pollSeconds * 1_000;
    const runId = `arrival__${ulid(now.getTime())}`;
    const logicalDate = dateIn(kpiTimeZone, now);
    const request = messageOf(envelope(RunRequested, 'sensor', { runId, logicalDate, immediately: true }, now));
    if (!(await runs.arrivals.ask({ runId, askedAt: now.toISOString() }, last, request))) return pollSeconds * 1_000;
    this.runtime.logger.info({ runId, files: plan.files }, 'files arrived');
    return pollSeconds * 1_000; // for those that still change, and have rung already
  }

  /** Whether there is a run that has not taken its files yet: it takes these, too. */
  private async isRunToCome(last: AskedRun | undefined): Promise<boolean> {
    if (last !== undefined) {
      const asked = await this.runtime.stores.runs.findRun(last.runId);
      const onItsWay = asked === undefined && Date.now() - Date.parse(last.askedAt) < LOST_MS;
      if (onItsWay || asked?.state === 'pending') return true; // also where nobody has accepted it as work yet
    }
    return (await this.source.pendingRuns()).some(takesFiles);
  }

  /**
   * Those that no run has taken. Not those of a run that failed: a person has that run go on, or a later run takes them
   * along, but they do not ask for one run after the other that fails like it.
   */
  private async untaken(objects: readonly SourceObject[]): Promise<SourceObject[]> {
    const claims = await this.source.claims(objects, false);
    return objects.filter((object) => {
      const claim = claims.get(claimKey(object));
      return claim === undefined || (claim.free && !claim.failed);
    });
  }
}
