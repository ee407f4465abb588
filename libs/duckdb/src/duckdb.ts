import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { DuckDBConnection, DuckDBInstance, DuckDBValue } from '@duckdb/node-api';

export interface DuckDBLimits {
  /** Bytes; what does not fit is spilled to the scratch folder. */
  readonly memoryBytes: number;
  readonly threads: number;
  /** Rows need not come in the order of their files, which is faster to read and write. */
  readonly unordered?: boolean;
}

export type Row = Record<string, unknown>;

/**
 * One embedded DuckDB, held to its limits and to one scratch folder: it can read and write no other file, loads no
 * extension, and its settings cannot be changed by a statement.
 */
export class Engine {
  private constructor(
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection,
  ) {}

  static async open(scratch: string, limits: DuckDBLimits): Promise<Engine> {
    const spill = path.join(scratch, 'spill');
    await mkdir(spill, { recursive: true });
    // The library takes 40 MiB of memory, so it is loaded by the first piece of work that needs it.
    const duckdb = await import('@duckdb/node-api');
    const instance = await duckdb.DuckDBInstance.create(':memory:', {
      memory_limit: `${Math.round(limits.memoryBytes / 1024)}KiB`,
      threads: String(limits.threads),
      temp_directory: spill,
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      preserve_insertion_order: String(!limits.unordered),
    });
    const connection = await instance.connect();
    const engine = new Engine(instance, connection);
    await engine.run("SET TimeZone = 'UTC'");
    await engine.run(`SET allowed_directories = [${text(scratch)}]`);
    await engine.run('SET enable_external_access = false');
    await engine.run('SET lock_configuration = true');
    return engine;
  }

  /** Gives how many rows the statement changed. */
  async run(sql: string, values?: Record<string, DuckDBValue>): Promise<number> {
    return (await this.connection.run(sql, values)).rowsChanged;
  }

  /** All rows, for results that are known to be small. Integers come as bigint, dates as text where the SQL casts them. */
  async rows<T extends Row>(sql: string, values?: Record<string, DuckDBValue>): Promise<T[]> {
    const reader = await this.connection.runAndReadAll(sql, values);
    return reader.getRowObjectsJS() as T[];
  }

  /** One whole number, the only value of a query. */
  async count(sql: string, values?: Record<string, DuckDBValue>): Promise<number> {
    const [row] = await this.rows(sql, values);
    return Number(Object.values(row ?? { n: 0 })[0] ?? 0);
  }

  close(): void {
    this.connection.closeSync();
    this.instance.closeSync();
  }
}

/** A SQL text literal. For paths of our own making only; what comes from input goes through parameters. */
export function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

/** A SQL list of text literals. */
export function textList(values: readonly string[]): string {
  return `[${values.map(text).join(', ')}]`;
}

/**
 * How listens are written: zstd finds what repeats at a third of the processor time that dictionaries of ids take. Columns
 * with few values, such as days, have dictionaries all the same. See docs/decisions/0011.
 */
export const PARQUET = 'COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 122880, DICTIONARY_SIZE_LIMIT 1000';
