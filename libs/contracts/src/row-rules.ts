/** Why a row of a stream file is not a listen, and what a person can do about it. */
export const ROW_REASONS = {
  missing_user_id: 'user_id is empty: fill it in and send the row again',
  missing_track_id: 'track_id is empty: fill it in and send the row again',
  missing_listen_time: 'listen_time is empty: fill it in and send the row again',
  invalid_listen_time:
    'listen_time is no instant: write YYYY-MM-DD HH:MM:SS[.ffffff], with Z or an offset where it is not in the source time zone',
  future_listen_time:
    'listen_time is later than MAX_FUTURE_HOURS allows: mend the clock that wrote it and send the row again',
  early_listen_time: 'listen_time is before EARLIEST_LISTEN: mend it and send the row again',
  malformed_row:
    'the row is no row of CSV (RFC 4180: it has more fields than the header, or stray quotes), no JSON object with plain values, or too long',
  forgotten_user: 'the user was forgotten on request: nothing to do, and no text of the row is kept',
  expired_day: 'the listens of its day have left the lake (LISTENS_KEEP_DAYS): its numbers stay as they are',
  duplicate: 'the same user, track and instant was counted before: nothing to do',
  retracted: 'its file was taken back before: `music-kpis restore` makes it count again',
  unknown_track: 'the track is not in songs: send a songs file that has it',
} as const;
export type RowReason = keyof typeof ROW_REASONS;

/** How many rows of each reason; reasons without rows are left out. */
export type RowCounts = Partial<Record<RowReason, number>>;

export function addCounts(...counts: readonly RowCounts[]): RowCounts {
  const sum: RowCounts = {};
  for (const each of counts) {
    for (const [reason, n] of Object.entries(each) as [RowReason, number][]) {
      if (n > 0) sum[reason] = (sum[reason] ?? 0) + n;
    }
  }
  return sum;
}

export function totalOf(counts: RowCounts): number {
  return Object.values(counts).reduce((sum, n) => sum + n, 0);
}

/**
 * The written form of `listen_time` (rule 2): date, blank or T, time, up to nine digits of a second, and Z, UTC, GMT or
 * an offset where there is one. RE2 and JavaScript read it alike.
 */
export const LISTEN_TIME = String.raw`\d{4}-\d{2}-\d{2}[ Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?( ?(Z|z|[+-]\d{2}(:?\d{2})?)| UTC| GMT)?`;

/** What is taken off both ends of ids and texts: ASCII white space, the no-break space and the byte order mark. */
export const BLANKS = ' \t\n\v\f\r\u00a0\ufeff';
