import type { Engine } from '@music/duckdb';

/** The rows of a table day by day. Ask for days in ascending order: those that are passed over are gone. */
export interface RowsByDay<T> {
  of(date: string): Promise<T[]>;
}

/**
 * Reads a table that has a `listen_date` in order, so that memory holds the rows of a day and not of all. Whole numbers
 * come as numbers; throws RangeError on one that would not stay exact.
 */
export async function rowsByDay<T>(engine: Engine, table: string, order: string): Promise<RowsByDay<T>> {
  const rows = engine.stream<Record<string, unknown>>(
    `SELECT CAST(listen_date AS VARCHAR) AS listen_date, * EXCLUDE (listen_date) FROM ${table} ORDER BY ${table}.listen_date, ${order}`,
  );
  let ahead: Record<string, unknown> | undefined = await next();
  return {
    async of(date) {
      const found: T[] = [];
      while (ahead !== undefined && (ahead['listen_date'] as string) <= date) {
        const { listen_date, ...row } = ahead;
        if (listen_date === date) found.push(withNumbers(row) as T);
        ahead = await next();
      }
      return found;
    },
  };

  async function next(): Promise<Record<string, unknown> | undefined> {
    const result = await rows.next();
    return result.done === true ? undefined : result.value;
  }
}

/** Whole numbers as numbers. Throws on one that would not stay exact. */
function withNumbers(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => {
      if (typeof value !== 'bigint') return [name, value];
      if (value > Number.MAX_SAFE_INTEGER) throw new RangeError(`${name} is ${value}, more than can be kept exactly`);
      return [name, Number(value)];
    }),
  );
}
