import { CONTRACTS } from '@music/contracts';
import type { FileEvidence } from '@music/runs';
import { judgeFile, judgeTables } from './judge-file';

const file = (more: Partial<FileEvidence> = {}): FileEvidence => ({
  file: 0,
  key: 'streams/a.csv',
  columns: ['user_id', 'track_id', 'listen_time'],
  rows: 100,
  rejected: {},
  ...more,
});
const judge = (evidence: FileEvidence) => judgeFile(evidence, CONTRACTS.streams, { rejectedShare: 0.05 });

describe('the verdict on a file', () => {
  it('is good for one with bad rows up to the limit', () => {
    expect(judge(file({ rejected: { missing_user_id: 3, invalid_listen_time: 2 } }))).toEqual({ passed: true });
  });

  it.each([
    [
      'too_many_bad_rows',
      file({ rejected: { missing_user_id: 3, invalid_listen_time: 3 } }),
      /6 of 100 rows: 3 missing_user_id, 3 invalid_listen_time; the limit is 5 %/,
    ],
    [
      'missing_columns',
      file({ columns: ['user_id', 'time'], rows: 0 }),
      /track_id, listen_time missing; the header is \["user_id","time"\]/,
    ],
    [
      'missing_columns',
      file({ columns: ['user_id;track_id;listen_time'], rows: 0 }),
      /the header is \["user_id;track_id;listen_time"\]; CSV_DELIMITER=auto finds its delimiter/,
    ],
    [
      'too_many_bad_rows',
      file({ rejected: { invalid_listen_time: 50 }, examples: ['row 1: invalid_listen_time "10:00"'] }),
      /the limit is 5 %; the first: row 1: invalid_listen_time "10:00"$/,
    ],
    [
      'too_many_bad_rows',
      file({ rejected: { invalid_listen_time: 50 }, examples: ['row 1: invalid_listen_time "1719309600"'] }),
      /; a time that is a number is read where LISTEN_TIME_EPOCH says what it counts, s or ms$/,
    ],
    ['duplicate_columns', file({ columns: ['user_id', 'track_id', 'listen_time', 'user_id'], rows: 0 }), /user_id/],
    ['no_rows', file({ rows: 0 }), /^$/],
    ['not_utf8', file({ defect: 'not_utf8', detail: 'byte 3', columns: [] }), /byte 3/],
  ])('is %s, with what and where', (reason, evidence, detail) => {
    expect(judge(evidence)).toEqual({ passed: false, reason, detail: expect.stringMatching(detail) });
  });
});

describe('songs and users', () => {
  const judgeSongs = (files: FileEvidence[]) => judgeTables('songs', files, CONTRACTS.songs, { rejectedShare: 0.05 });
  it('are unusable when they are missing or lack a column, and it says which file and column', () => {
    expect(judgeSongs([])).toEqual([expect.stringContaining('no file below songs/')]);
    expect(
      judgeSongs([
        file({ key: 'songs/s.csv', columns: ['track_id', 'track_name', 'artists', 'track_genre', 'popularity'] }),
      ]),
    ).toEqual([expect.stringMatching(/songs\/s\.csv: missing_columns: duration_ms missing/)]);
  });
  it('are usable otherwise', () => {
    expect(judgeSongs([file({ columns: CONTRACTS.songs.required })])).toEqual([]);
  });
});
