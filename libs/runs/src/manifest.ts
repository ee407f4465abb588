import { createHash } from 'node:crypto';
import type { ObjectRef } from '@music/events';
import type { ChangedDelivery } from './standing';

/** A stream file of a run. */
export interface ManifestFile extends ObjectRef {
  /** Counts from 0; rows carry it as the id of their file. */
  readonly file: number;
  readonly batch: number;
  readonly lastModified: string;
}

/** An object below `streams/` that the run did not take, with why. */
export interface LeftObject {
  readonly key: string;
  readonly reason: LeftReason;
  readonly detail?: string;
}

export const LEFT_REASONS = {
  folder_marker: 'a folder marker, not a file',
  not_data: 'its name says that it is a mark, or half of a file',
  empty_object: 'the object has no bytes',
  still_arriving: 'it changed too recently; a later run takes it',
  taken: 'an earlier run took this version',
  rejected_before: 'an earlier run rejected this version; send a corrected one',
  vanished: 'it was replaced or removed while the manifest was frozen; a later run takes what is there',
} as const;
export type LeftReason = keyof typeof LEFT_REASONS;

/** The frozen list of a run's source objects. Every later stage reads it; none lists the bucket again. */
export interface Manifest {
  readonly runId: string;
  readonly logicalDate: string;
  readonly frozenAt: string;
  readonly batches: number;
  readonly streams: readonly ManifestFile[];
  readonly songs: readonly ObjectRef[];
  readonly users: readonly ObjectRef[];
  readonly left: readonly LeftObject[];
  /** Of a backfill, which has no stream files: the days that are computed again. */
  readonly dates?: readonly string[];
  /** Deliveries that it takes back or gives back. */
  readonly changed?: readonly ChangedDelivery[];
}

/**
 * Tells one version of an object from every other by what a listing shows, so also in a bucket without versions. The
 * same content written twice within a second is one version.
 */
export function versionOf({
  etag,
  lastModified,
}: {
  readonly etag: string;
  readonly lastModified: string | Date;
}): string {
  return `${etag}@${new Date(lastModified).toISOString().slice(0, 19)}Z`;
}

/**
 * Where in the lake bucket a run's manifest is; named by its content, so that an earlier attempt is never overwritten.
 */
export function manifestKey(manifest: Manifest): string {
  const hash = createHash('sha256')
    .update(
      JSON.stringify([
        manifest.streams,
        manifest.songs,
        manifest.users,
        manifest.left,
        manifest.dates,
        ...(manifest.changed === undefined ? [] : [manifest.changed]),
      ]),
    )
    .digest('hex');
  return `${manifestPrefix(manifest.runId)}${hash.slice(0, 16)}.json`;
}

/** What the keys of a run's manifests begin with; one of each attempt that froze other files. */
export const manifestPrefix = (runId: string): string => `runs/${runId}/manifest-`;
