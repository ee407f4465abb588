import Table from 'cli-table3';

export type Cell = string | number | undefined;

/** A table for people: aligned columns, thousands separators, no control characters from data. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const isNumber = (cell: Cell) => cell === undefined || typeof cell === 'number' || /^-?[\d,]+(\.\d+)?$/.test(cell);
  const numeric = head.map((_, i) => rows.length > 0 && rows.every((row) => isNumber(row[i])));
  const blank = {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  };
  const made = new Table({
    head: [...head],
    chars: blank,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: numeric.map((is) => (is ? 'right' : 'left')),
  });
  for (const row of rows)
    made.push(row.map((cell) => (typeof cell === 'number' ? number(cell) : printable(cell ?? ''))));
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Minutes as they are kept, with two decimals. */
export function minutesText(minutes: number): string {
  return minutes.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

/** 1234567.5 as 1,234,567.5 */
export function number(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 3 });
}

/** Text from data as it may stand on a terminal: control characters and direction marks become �. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex -- they are what has to go
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
}
