import { type ReactNode, useMemo, useState } from 'react';
import { count } from './text';

export interface ColumnOf<T> {
  readonly name: string;
  readonly show: (row: T) => ReactNode;
  /** What rows are sorted by; without it the column cannot be sorted. */
  readonly by?: (row: T) => string | number;
  readonly numeric?: boolean;
}

/** A column of numbers, which are shown as `show` has them. */
export function numbers<T>(name: string, of: (row: T) => number, show: (value: number) => string = count): ColumnOf<T> {
  return { name, show: (row) => show(of(row)), by: of, numeric: true };
}

/** A table that can be sorted by its heads; where `search` is given, rows are found by its text, too. */
export function Table<T>({
  caption,
  rows,
  columns,
  keyOf,
  search,
  sortedBy,
}: {
  readonly caption: string;
  readonly rows: readonly T[];
  readonly columns: readonly ColumnOf<T>[];
  readonly keyOf: (row: T) => string;
  readonly search?: (row: T) => string;
  readonly sortedBy?: { readonly column: string; readonly down: boolean };
}) {
  const [sort, setSort] = useState(sortedBy);
  const [wanted, setWanted] = useState('');
  const shown = useMemo(() => {
    const by = columns.find(({ name }) => name === sort?.column)?.by;
    const found =
      search === undefined || wanted === ''
        ? [...rows]
        : rows.filter((row) => search(row).toLowerCase().includes(wanted.toLowerCase()));
    if (by !== undefined) found.sort((a, b) => compare(by(a), by(b)) * (sort?.down === true ? -1 : 1));
    return found;
  }, [rows, columns, sort, search, wanted]);
  return (
    <>
      {search === undefined ? null : (
        <label className="search">
          Search in {caption} <input type="search" value={wanted} onChange={({ target }) => setWanted(target.value)} />
        </label>
      )}
      <div className="scroll" tabIndex={0} role="region" aria-label={caption}>
        <table>
          <caption className="unseen">{caption}</caption>
          <thead>
            <tr>
              {columns.map(({ name, by, numeric }) => {
                const sorted = sort?.column === name ? (sort.down ? 'descending' : 'ascending') : undefined;
                return (
                  <th key={name} scope="col" aria-sort={sorted} className={numeric ? 'number' : undefined}>
                    {by === undefined ? (
                      name
                    ) : (
                      <button
                        type="button"
                        className="head"
                        onClick={() =>
                          setSort({ column: name, down: sort?.column === name ? !sort.down : numeric === true })
                        }
                      >
                        {name} <span aria-hidden="true">{sorted === undefined ? '↕' : sort?.down ? '↓' : '↑'}</span>
                      </button>
                    )}
                  </th>
                );
              })}
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={keyOf(row)}>
                {columns.map(({ name, show, numeric }) => (
                  <td key={name} className={numeric ? 'number' : undefined}>
                    {show(row)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {shown.length === 0 && rows.length > 0 ? <p className="state">Nothing here has “{wanted}”.</p> : null}
    </>
  );
}

function compare(a: string | number, b: string | number): number {
  return typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
}
