import type { Claim, LeftObject, LeftReason, SourceObject } from '@music/runs';

export interface Sensing {
  readonly runId: string;
  readonly now: Date;
  /** A file is ready when it has not changed for so many milliseconds. */
  readonly quietMs: number;
  readonly deadline: Date;
  /** A file that is ready waits no longer than so many milliseconds for others that keep coming. */
  readonly patienceMs: number;
  /** Gives the part of a key that says it is no file of data, and the pattern that says so. */
  readonly leave: (key: string) => { readonly part: string; readonly pattern: string } | undefined;
  readonly objects: readonly SourceObject[];
  readonly claimOf: (object: SourceObject) => Claim | undefined;
}

export type Plan =
  | { readonly decision: 'wait'; readonly why: string }
  | { readonly decision: 'skip'; readonly why: string; readonly left: readonly LeftObject[] }
  | { readonly decision: 'take'; readonly files: readonly SourceObject[]; readonly left: readonly LeftObject[] };

/**
 * What a run does with the objects below `streams/` now. It waits while files are still arriving, so that one delivery
 * is one run, but not beyond its deadline; then it takes what is ready, or is skipped. Pure.
 */
export function planRun(sensing: Sensing): Plan {
  const { now, deadline, patienceMs, objects } = sensing;
  const files: SourceObject[] = [];
  const left: LeftObject[] = [];
  for (const object of objects) {
    const reason = whyLeft(object, sensing);
    if (reason === undefined) files.push(object);
    else left.push({ key: object.key, ...reason });
  }
  const arriving = left.filter(({ reason }) => reason === 'still_arriving').length;
  const late = now >= deadline;
  const oldest = files.reduce((at, { lastModified }) => Math.min(at, lastModified.getTime()), Infinity);
  if (files.length > 0 && (arriving === 0 || late || now.getTime() - oldest >= patienceMs))
    return { decision: 'take', files, left };
  if (!late)
    return { decision: 'wait', why: arriving > 0 ? `${arriving} files are still arriving` : 'no stream file to take' };
  return { decision: 'skip', why: describeNothing(left), left };
}

function whyLeft(
  object: SourceObject,
  { runId, now, quietMs, leave, claimOf }: Sensing,
): { reason: LeftReason; detail?: string } | undefined {
  const { key, size, lastModified } = object;
  if (key.endsWith('/')) return { reason: 'folder_marker' };
  const left = leave(key);
  if (left !== undefined) return { reason: 'not_data', detail: `${left.part} is as ${left.pattern} of LEAVE_NAMES` };
  if (size === 0) return { reason: 'empty_object' };
  const claim = claimOf(object);
  if (claim !== undefined && claim.runId !== runId && !claim.free) {
    return claim.state === 'rejected'
      ? { reason: 'rejected_before', detail: `${claim.runId}: ${claim.reason ?? ''}` }
      : { reason: 'taken', detail: claim.runId };
  }
  // By S3's clock, which may be ahead of ours: what changed in our future changed just now.
  if (Math.max(0, now.getTime() - lastModified.getTime()) < quietMs)
    return { reason: 'still_arriving', detail: `changed ${lastModified.toISOString()}` };
  return undefined;
}

function describeNothing(left: readonly LeftObject[]): string {
  if (left.length === 0) return 'no stream files: there is nothing below streams/';
  const counts = new Map<string, number>();
  for (const { reason } of left) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return `no stream files to take: ${[...counts].map(([reason, n]) => `${n} ${reason}`).join(', ')}`;
}

/**
 * Parts files into batches of about `batchBytes`, in order; a larger file is a batch of its own. Gives each file's
 * batch.
 */
export function planBatches(sizes: readonly number[], batchBytes: number): number[] {
  let batch = 0;
  let filled = 0;
  return sizes.map((size) => {
    if (filled > 0 && filled + size > batchBytes) {
      batch += 1;
      filled = 0;
    }
    filled += size;
    return batch;
  });
}
