import { describeError } from '@music/errors';
import { daysBefore, firstKept } from '@music/erasure';
import { RunRequested, dateIn, envelope } from '@music/events';
import { AT_REST, messageOf } from '@music/runs';
import { StageRuntime } from '@music/service';
import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { ulid } from 'ulid';
import { SensorConfig } from './sensor.config';

const LOOK_MS = 10 * 60_000;

/** Asks for a run where the lake has listens of days that are not to be kept any longer. Any number of sensors can look. */
@Injectable()
export class Expiry implements OnApplicationBootstrap, OnApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly runtime: StageRuntime,
    private readonly config: SensorConfig,
  ) {}

  onApplicationBootstrap(): void {
    if (this.config.listensKeepDays > 0) this.look();
  }

  onApplicationShutdown(): void {
    clearTimeout(this.timer);
  }

  private look(): void {
    this.askIfDue()
      .catch((error: unknown) =>
        this.runtime.logger.warn({ error: describeError(error) }, 'could not look for days that expire; trying again'),
      )
      .finally(() => {
        this.timer = setTimeout(() => this.look(), LOOK_MS).unref();
      });
  }

  private async askIfDue(): Promise<void> {
    const { stores, logger } = this.runtime;
    const { listensKeepDays, kpiTimeZone, lakeBucket } = this.config;
    const now = new Date();
    const logicalDate = dateIn(kpiTimeZone, now);
    const before = firstKept(logicalDate, listensKeepDays);
    const days = await daysBefore(stores.objects, lakeBucket, before);
    if (days.length === 0) return;
    const last = await stores.runs.expiry.last();
    const asked = last === undefined ? undefined : await stores.runs.findRun(last.runId);
    if (asked !== undefined && !AT_REST.has(asked.state)) return;
    if (last !== undefined && now.getTime() - Date.parse(last.askedAt) < LOOK_MS) return;
    const runId = `expire__${ulid(now.getTime())}`;
    const erasure = { what: 'expire' as const, before };
    const request = messageOf(
      envelope(RunRequested, 'sensor', { runId, logicalDate, immediately: true, erasure }, now),
    );
    if (!(await stores.runs.expiry.ask({ runId, askedAt: now.toISOString() }, last, request))) return;
    logger.info({ runId, days: days.length, before }, 'days expire');
  }
}
