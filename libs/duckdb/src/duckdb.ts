import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import type { DuckDBConnection, DuckDBInstance, DuckDBResult, DuckDBValue } from '@duckdb/node-api';
import { LastingError } from '@music/errors';

export interface DuckDBLimits {
  /** Bytes; what does not fit is spilled to the scratch folder. */
  readonly memoryBytes: number;
  readonly threads: number;
  /** Rows need not come in the order of their files, which is faster to read and write. */
  readonly unordered?: boolean;
}

export type Row = Record<string, unknown>;

/**
 * Thrown when a statement needs more memory, or more room to spill to, than the engine may take. Trying again cannot
 * help.
 */
export class EngineExhausted extends LastingError {
  constructor(what: 'memory' | 'scratch', memoryBytes: number, cause: Error) {
    const mib = Math.round(memoryBytes / 2 ** 20);
    super(
      what === 'memory'
        ? `DuckDB does not get by with ${mib} MiB: raise DUCKDB_MEMORY_MB (${cause.message.split('\n')[0]})`
        : `DuckDB has no room to spill to beside its ${mib} MiB of memory: give the folder of SCRATCH_DIR more room, or raise DUCKDB_MEMORY_MB (${cause.message.split('\n')[0]})`,
    );
    this.cause = cause;
  }
}

/** The library takes 40 MiB of memory, so it is loaded by the first piece of work that needs it. */
const loadDuckDB = (): Promise<typeof import('@duckdb/node-api')> => import('@duckdb/node-api');

/**
 * For services that need it in every run: they load it when they start, and not while a run waits. Its first statement
 * would take 20 MiB more of an idle service, and what it costs is done beside the first files' coming.
 */
export function loadDuckDBAhead(): void {
  loadDuckDB().catch(() => undefined); // who opens an engine is told
}

/**
 * One embedded DuckDB, held to its limits and to one scratch folder: it can read and write no other file, loads no
 * extension, and its settings cannot be changed by a statement.
 */
export class Engine {
  private readonly besides: Engine[] = [];

  private constructor(
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection,
    private readonly memoryBytes: number,
  ) {}

  static async open(scratch: string, limits: DuckDBLimits): Promise<Engine> {
    const spill = path.join(scratch, 'spill');
    await mkdir(spill, { recursive: true });
    const duckdb = await loadDuckDB();
    const instance = await duckdb.DuckDBInstance.create(':memory:', {
      memory_limit: `${Math.round(limits.memoryBytes / 1024)}KiB`,
      threads: String(limits.threads),
      temp_directory: spill,
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      preserve_insertion_order: String(!limits.unordered),
    });
    const connection = await instance.connect();
    const engine = new Engine(instance, connection, limits.memoryBytes);
    await engine.run(
      `SET TimeZone = 'UTC'; SET allowed_directories = [${text(scratch)}]; SET enable_external_access = false; SET lock_configuration = true`,
    );
    return engine;
  }

  /**
   * A second connection, for statements that run beside those of this one. It shares tables and limits, and ends with
   * this one.
   */
  async beside(): Promise<Engine> {
    const engine = new Engine(this.instance, await this.instance.connect(), this.memoryBytes);
    this.besides.push(engine);
    return engine;
  }

  /** Gives how many rows the statement changed. Throws EngineExhausted, and otherwise as DuckDB does. */
  async run(sql: string, values?: Record<string, DuckDBValue>): Promise<number> {
    return (await this.execute(sql, values)).rowsChanged;
  }

  /**
   * All rows, for results that are known to be small. Integers come as bigint, dates as text where the SQL casts them.
   */
  async rows<T extends Row>(sql: string, values?: Record<string, DuckDBValue>): Promise<T[]> {
    return (await (await this.execute(sql, values)).getRowObjectsJS()) as T[];
  }

  /** Row by row: the result is kept by the engine, and few rows at a time become objects. */
  async *stream<T extends Row>(sql: string): AsyncGenerator<T, undefined> {
    for await (const rows of (await this.execute(sql)).yieldRowObjectJs()) yield* rows as T[];
    return undefined;
  }

  /** One whole number, the only value of a query. */
  async count(sql: string, values?: Record<string, DuckDBValue>): Promise<number> {
    const [row] = await this.rows(sql, values);
    return Number(Object.values(row ?? { n: 0 })[0] ?? 0);
  }

  private async execute(sql: string, values?: Record<string, DuckDBValue>): Promise<DuckDBResult> {
    try {
      return await this.connection.run(sql, values);
    } catch (error) {
      const { message } = error as Error;
      if (!/^Out of Memory Error/.test(message)) throw error;
      const what = /max_temp_directory_size|No space left|temp_directory/i.test(message.split('\n')[0] ?? '')
        ? 'scratch'
        : 'memory';
      throw new EngineExhausted(what, this.memoryBytes, error as Error);
    }
  }

  close(): void {
    for (const { connection } of this.besides) connection.closeSync();
    this.connection.closeSync();
    this.instance.closeSync();
  }
}

/** Opens an engine in a new folder below `scratch`, named by what it is for; both are gone when `use` has ended. */
export async function withEngine<T>(
  scratch: string,
  what: string,
  limits: DuckDBLimits,
  use: (engine: Engine, dir: string) => Promise<T>,
): Promise<T> {
  const dir = await mkdtemp(path.join(scratch, `${what}-`));
  try {
    const engine = await Engine.open(dir, limits);
    try {
      return await use(engine, dir);
    } finally {
      engine.close();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
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
 * How listens are written: zstd finds what repeats at a third of the processor time that dictionaries of ids take.
 * Columns with few values, such as days, have dictionaries all the same. See docs/decisions/0011. Not in Parquet's
 * second version: Spark 3.5 reads other values than were written (docs/decisions/0014).
 */
export const PARQUET = 'COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 122880, DICTIONARY_SIZE_LIMIT 1000';
