import { leavesBy } from '@music/contracts';
import { type Run, TERMINAL, versionOf } from '@music/runs';
import { fromJson } from '@music/events';
import { StageRuntime } from '@music/service';
import type { FoundObject } from '@music/storage';
import { Injectable } from '@nestjs/common';
import { type Claim, type SourceObject, claimKey } from './plan-run';
import { SensorConfig } from './sensor.config';

/** What is in the source bucket, and who took it. */
@Injectable()
export class SourceFiles {
  /** Tells keys that are no files of data, and why. */
  readonly leave: ReturnType<typeof leavesBy>;

  constructor(
    private readonly runtime: StageRuntime,
    private readonly config: SensorConfig,
  ) {
    this.leave = leavesBy(config.leaveNames);
  }

  async list(prefix: string): Promise<FoundObject[]> {
    const found: FoundObject[] = [];
    for await (const object of this.runtime.stores.objects.list(this.config.sourceBucket, prefix)) found.push(object);
    return found;
  }

  /** Whether an object is a file of data, and not a folder, a mark, or empty. */
  readonly isData = ({ key, size }: Pick<SourceObject, 'key' | 'size'>): boolean =>
    size > 0 && !key.endsWith('/') && this.leave(key) === undefined;

  /** Who took these versions of the files before. With `force` whatever a run that has ended took is free. */
  async claims(objects: readonly SourceObject[], force: boolean): Promise<Map<string, Claim>> {
    const { runs } = this.runtime.stores;
    const versioned = objects.map((object) => ({ object, key: object.key, version: versionOf(object) }));
    const entries = await runs.files.find(versioned);
    const states = new Map<string, Promise<Run | undefined>>();
    const claims = new Map<string, Claim>();
    for (const { object, key, version } of versioned) {
      const entry = entries.get(`${key}\n${version}`);
      if (entry === undefined) continue;
      if (!states.has(entry.runId)) states.set(entry.runId, runs.findRun(entry.runId));
      const holder = await states.get(entry.runId);
      const ended = holder === undefined || TERMINAL.has(holder.state);
      // Still taken by a run that completed: a second sensor took it for a manifest that the run did not get.
      const unused = entry.state === 'taken' || (entry.state === 'passed' && holder?.state !== 'completed');
      const free = entry.state === 'changed' || (ended && (force || unused));
      claims.set(claimKey(object), {
        runId: entry.runId,
        state: entry.state,
        free,
        failed: holder?.state === 'failed',
        reason: entry.reason,
      });
    }
    return claims;
  }

  /** Runs that have not taken their files yet. */
  async pendingRuns(): Promise<Run[]> {
    const { runs } = this.runtime.stores;
    const pending: Run[] = [];
    for (const item of await runs.work.list('sensor')) {
      const run = await runs.findRun(fromJson(item.message).data.runId);
      if (run?.state === 'pending') pending.push(run);
    }
    return pending;
  }
}
