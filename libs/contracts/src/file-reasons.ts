/** Why a file as a whole was not taken, and what a person can do about it. */
export const FILE_REASONS = {
  missing_columns: 'required columns are not in the header: add them and send the file again',
  duplicate_columns: 'a required column stands twice in the header: remove one and send the file again',
  no_rows: 'there is no row below the header: send the file again when it has rows',
  unsupported_form:
    'it is of a form that is not read: send CSV, JSON lines or Parquet, as it is or packed with gzip or zstd',
  not_parquet: 'the Parquet file cannot be read: write it again and send it',
  unsupported_type:
    'a column is of a type of which no id or time can be made: write ids as text or whole numbers, times as timestamps or text',
  damaged: 'it cannot be unpacked: pack it again and send it',
  cut_off: 'it ends before its end, so it was probably cut off: send it again, whole',
  bomb: 'it unpacks to far more than its size allows: it is not unpacked',
  not_utf8: 'the file is not UTF-8 text: write it as UTF-8 CSV and send it again',
  not_csv: 'the file cannot be read as CSV: write it as RFC 4180 CSV and send it again',
  unterminated_quote: 'the file ends inside a quoted field, so it was probably cut off: send it again, whole',
  too_many_bad_rows:
    'more rows than the limit allows break a row rule: mend them (see the quarantined rows) and send the file again',
  too_large: 'the file is larger than the limit: split it and send the parts',
  source_changed: 'the object was replaced or removed while the run worked on it: a later run takes what is there now',
  unreadable: 'the object cannot be read: see the run for the error',
} as const;
export type FileReason = keyof typeof FILE_REASONS;

/** A reason for a person: what, and what to do. */
export function explainFile(reason: FileReason, detail?: string): string {
  return detail === undefined ? FILE_REASONS[reason] : `${detail}; ${FILE_REASONS[reason]}`;
}
