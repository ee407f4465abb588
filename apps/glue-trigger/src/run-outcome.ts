import { createHash } from 'node:crypto';
import path from 'node:path';
import { addCounts, totalOf } from '@music/contracts';
import type { KpiJobSummary } from '@music/job-runners';
import type { ObjectRef } from '@music/events';
import type { RowTotals, RunNotes } from '@music/runs';

/**
 * What a run's rows came to once its KPI job is done: read = kept + rejected. What an earlier job of the run came to is
 * forgotten. Pure.
 */
export function finalRows(validated: RowTotals, summary: KpiJobSummary, keepUnknownTracks: boolean): RowTotals {
  const { duplicate: _, unknown_track: __, retracted: ___, ...byValidator } = validated.rejected;
  const rejected = addCounts(byValidator, {
    duplicate: summary.runRows - summary.newListens,
    unknown_track: keepUnknownTracks ? 0 : summary.unknownTrackListens,
    retracted: validated.read - totalOf(byValidator) - summary.runRows,
  });
  return { read: validated.read, kept: validated.read - totalOf(rejected), rejected };
}

export function notesOf(summary: KpiJobSummary): RunNotes {
  const { unknownTrackListens, unknownUserListens, unreadableDurations, songRows } = summary;
  return { unknownTrackListens, unknownUserListens, unreadableDurations, songRows };
}

/** Names the catalogue by its content: the hash of its one file, or of all their hashes. */
export function songsVersion(songs: readonly ObjectRef[]): string {
  const hashes = songs.map(({ key }) => path.basename(key).split('.')[0] ?? '').sort();
  return hashes.length === 1 ? (hashes[0] ?? '') : createHash('sha256').update(hashes.join('\n')).digest('hex');
}
