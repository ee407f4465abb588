import { CONTRACTS, type FileKind } from '@music/contracts';
import type { TimeZones } from './type-rows';

/** Delimiters that a CSV file may have. */
export const DELIMITERS = [',', ';', '\t', '|'] as const;
export type Delimiter = (typeof DELIMITERS)[number];

/** How files are read, by setting. */
export interface Reading {
  readonly zones: TimeZones;
  /** Longer rows are malformed. Bytes. */
  readonly maxRowBytes: number;
  readonly delimiter: Delimiter | 'auto';
  /** Other names of a contract's columns, `kind.column=name`, in the order in which they are tried. */
  readonly columnNames: readonly string[];
  /** Texts that stand for a missing value. */
  readonly nullText: readonly string[];
  /** What a `listen_time` that is a number counts since 1970; undefined: it is none. */
  readonly epoch?: 's' | 'ms';
  /** Listens before it are rejected: ISO 8601, UTC. */
  readonly earliest?: string;
  /** A listen may be so many hours after its run's manifest was frozen. */
  readonly maxFutureHours?: number;
  /** Listens of days before it are rejected, since those have left the lake: YYYY-MM-DD. */
  readonly keptFrom?: string;
  /** A table of the engine with the ids of users who are forgotten, as far as the files have them. */
  readonly forgotten?: string;
}

/**
 * The columns of a file by the names of its contract: where a setting gives another name for one, the first of those
 * that is there is it. Names that are not meant stay as they are. Pure.
 */
export function contractNames(
  kind: FileKind,
  columns: readonly string[],
  { columnNames }: Pick<Reading, 'columnNames'>,
): string[] {
  const named = [...columns];
  for (const column of CONTRACTS[kind].required) {
    const prefix = `${kind}.${column}=`;
    const others = columnNames.filter((each) => each.startsWith(prefix)).map((each) => each.slice(prefix.length));
    const other = others.find((name) => columns.includes(name));
    if (other === undefined) continue;
    for (const [i, name] of columns.entries()) {
      if (name === other) named[i] = column;
      else if (name === column) named[i] = `${column} (not read)`;
    }
  }
  return named;
}
