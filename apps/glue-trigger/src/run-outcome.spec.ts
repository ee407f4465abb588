import type { KpiJobSummary } from '@music/job-runners';
import { finalRows, songsVersion } from './run-outcome';

const summary: KpiJobSummary = {
  runId: 'r',
  engine: 'duckdb',
  sqlVersion: 'v',
  days: [],
  runRows: 90,
  newListens: 70,
  unknownTrackListens: 5,
  unknownUserListens: 1,
  unreadableDurations: 0,
  seconds: 1,
};
const validated = { read: 100, kept: 90, rejected: { missing_user_id: 10 } };

describe('what the rows of a run came to', () => {
  it('is kept and rejected rows that add up to those that were read', () => {
    expect(finalRows(validated, summary, true)).toEqual({
      read: 100,
      kept: 70,
      rejected: { missing_user_id: 10, duplicate: 20 },
    });
  });
  it('has unknown tracks among the rejected where the setting says so', () => {
    expect(finalRows(validated, summary, false)).toEqual({
      read: 100,
      kept: 65,
      rejected: { missing_user_id: 10, duplicate: 20, unknown_track: 5 },
    });
  });
});

it('names a catalogue by its content, whatever the order of its files', () => {
  const ref = (key: string) => ({ bucket: 'b', key, etag: 'e', size: 1 });
  expect(songsVersion([ref('songs/abc.v1.parquet')])).toBe('abc');
  expect(songsVersion([ref('songs/a.v1.parquet'), ref('songs/b.v1.parquet')])).toBe(
    songsVersion([ref('songs/b.v1.parquet'), ref('songs/a.v1.parquet')]),
  );
});
