import { leavesBy } from '@music/contracts';
import { type Claim, type Run, type SourceObject, findClaims } from '@music/runs';
import { fromJson } from '@music/events';
import { StageRuntime } from '@music/service';
import type { FoundObject } from '@music/storage';
import { Injectable } from '@nestjs/common';
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
  claims(objects: readonly SourceObject[], force: boolean): Promise<Map<string, Claim>> {
    return findClaims(this.runtime.stores.runs, objects, { force });
  }

  /** Runs that have not taken their files yet, but for one. */
  async pendingRuns(but?: string): Promise<Run[]> {
    const { runs } = this.runtime.stores;
    const pending: Run[] = [];
    for (const item of await runs.work.list('sensor')) {
      const { runId } = fromJson(item.message).data;
      const run = runId === but ? undefined : await runs.findRun(runId);
      if (run?.state === 'pending') pending.push(run);
    }
    return pending;
  }
}
