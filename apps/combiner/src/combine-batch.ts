import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { type DuckDBLimits, Engine, text } from '@music/duckdb';
import { type ErasureKey, Forgotten } from '@music/erasure';
import type { ObjectRef } from '@music/events';
import type { BatchEvidence, ErasedState, FileEvidence, ListensPart, Manifest, TableEvidence, Work } from '@music/runs';
import { type ObjectStore, ensureRoom, mapLimited } from '@music/storage';
import { ulid } from 'ulid';
import { SeenTables, combineTable } from './combine-table';
import {
  type AtOnce,
  type FetchOptions,
  type Fetched,
  type ParquetColumn,
  fetchAhead,
  fetchFile,
  groupFiles,
} from './fetch-file';
import { CREATE_BAD } from './place-bad-rows';
import { type ListensFile, type ReadOptions, readListens } from './read-listens';
import type { Reading } from './reading';

export interface CombineLimits {
  readonly engine: DuckDBLimits;
  /** Larger files are not read. Bytes. */
  readonly maxFileBytes: number;
  /** Files that are read by one statement. */
  readonly together: AtOnce;
  /** Files that are fetched while others are read. */
  readonly ahead: AtOnce;
}

/** What is not to come back, and the key of the hashes, where there are any. */
export type Erased = ErasedState & { readonly key?: ErasureKey };

/** What a file's rows take as Parquet, at most, beside its CSV. */
const PARQUET_SHARE = 1;

/**
 * Reads the files of one batch, each once, and writes Parquet and evidence below an own prefix of the run's staging
 * area.
 */
export class CombineBatch {
  private readonly seen: SeenTables;

  constructor(
    private readonly store: ObjectStore,
    private readonly buckets: { readonly intermediate: string; readonly lake: string },
    private readonly reading: Reading,
    private readonly limits: CombineLimits,
    private readonly scratch: string,
  ) {
    this.seen = new SeenTables(store);
  }

  /**
   * Gives where the batch's BatchEvidence is. What a file is like never ends the batch; that the store or the engine
   * fails does. Each call writes below a new prefix, so that a second replica cannot disturb the first.
   */
  async execute(
    manifest: Manifest,
    batch: number,
    { signal, progress }: Pick<Work, 'signal' | 'progress'>,
    erased: Erased = { hashes: [] },
  ): Promise<ObjectRef> {
    const prefix = `runs/${manifest.runId}/staging/batch-${String(batch).padStart(5, '0')}/${ulid()}/`;
    const dir = await mkdtemp(path.join(this.scratch, 'combine-'));
    let opened: Promise<Engine> | undefined;
    // Where there is nothing new to read, it is not needed.
    const open = () => (opened ??= Engine.open(dir, this.limits.engine));
    let looking: Promise<Engine> | undefined;
    let opening: Promise<Forgotten> | undefined;
    const { key, hashes } = erased;
    const openForgotten =
      key === undefined || hashes.length === 0
        ? undefined
        : (engine: Engine) => (opening ??= Forgotten.open(engine, key, hashes));
    const reading = { ...this.reading, keptFrom: erased.before };
    try {
      const files = manifest.streams.filter((file) => file.batch === batch);
      await this.ensureRoom(files, dir);
      const all = files.reduce((sum, { size }) => sum + size, 0);
      // A byte counts half when it is there, and half when its row is read.
      let halves = 0;
      const got = (bytes: number) => {
        halves += bytes;
        progress({ done: Math.min(all, Math.round(halves / 2)), of: all, unit: 'bytes' });
      };
      const options = {
        got,
        maxFileBytes: this.limits.maxFileBytes,
        reading,
        describe: async (file: string) =>
          describeParquet(await (looking ??= open().then((engine) => engine.beside())), file),
      };
      const fetched = fetchAhead(files, this.limits.ahead, (file) =>
        fetchFile(this.store, 'streams', file, path.join(dir, `${file.file}.rows`), options),
      );
      const combineListens = async () =>
        files.length === 0
          ? { files: [], parts: [] }
          : this.combineStreams(await open(), manifest, files, fetched, prefix, dir, {
              signal,
              got,
              reading,
              forgotten: await openForgotten?.(await open()),
            });
      const tables =
        batch === 0
          ? this.combineTables(open, manifest, dir, { ...options, openForgotten, got: () => progress() })
          : undefined;
      const listens = combineListens();
      await Promise.allSettled([tables, listens]); // both have ended before the engine is closed
      const evidence: BatchEvidence = {
        runId: manifest.runId,
        batch,
        ...(await listens),
        ...(await tables),
        ...(hashes.length === 0 ? {} : { forgotten: hashes.length }),
      };
      return await this.store.putJson(this.buckets.intermediate, `${prefix}evidence.json`, evidence);
    } finally {
      await opened?.then(
        (engine) => engine.close(),
        () => undefined,
      );
      await rm(dir, { recursive: true, force: true });
    }
  }

  private async combineStreams(
    engine: Engine,
    manifest: Pick<Manifest, 'frozenAt'>,
    files: Manifest['streams'],
    fetched: AsyncIterable<Fetched>,
    prefix: string,
    dir: string,
    {
      signal,
      got,
      reading,
      forgotten,
    }: {
      readonly signal: AbortSignal;
      readonly got: (bytes: number) => void;
      readonly reading: Reading;
      readonly forgotten: Forgotten | undefined;
    },
  ) {
    const evidence: FileEvidence[] = [];
    const parts: Promise<ListensPart>[] = [];
    await engine.run(CREATE_BAD);
    const options: ReadOptions = {
      reading,
      forgotten,
      frozenAt: manifest.frozenAt,
      beside: [await engine.beside(), await engine.beside()],
    };
    let placed = Promise.resolve();
    try {
      const sizes = new Map(files.map(({ file, size }) => [file, size]));
      let groups = 0;
      for await (const group of groupFiles(fetched, files, this.limits.together)) {
        signal.throwIfAborted();
        const read = await readListens(engine, group, path.join(dir, `group-${groups}`), options);
        groups += 1;
        got(group.reduce((sum, { evidence: { file } }) => sum + (sizes.get(file) ?? 0), 0));
        evidence.push(...read.evidence);
        for (const listens of read.listens) {
          const name = `listens-${String(parts.length).padStart(4, '0')}.parquet`;
          const part = this.uploadPart(`${prefix}${name}`, listens);
          part.catch(() => undefined); // awaited below
          parts.push(part);
        }
        await placed;
        placed = read.placed.then(
          async () => void (await Promise.all(group.map((file) => rm(file.path, { force: true })))),
        );
        placed.catch(() => undefined); // awaited with the next group, or below
      }
      await placed;
    } finally {
      await Promise.allSettled([...parts, placed]);
    }
    const hasBad = (await engine.count('SELECT count(*) FROM bad')) > 0;
    const examples = hasBad ? await examplesOf(engine) : new Map<number, string[]>();
    evidence.sort((a, b) => a.file - b.file);
    return {
      files: evidence.map((each) => ({ ...each, examples: examples.get(each.file) })),
      parts: await Promise.all(parts),
      rejectedRows: hasBad ? await this.uploadRejectedRows(engine, files, prefix, dir) : undefined,
    };
  }

  /** The files that are under way, those of one statement and of the one before it, and their rows as Parquet. */
  private async ensureRoom(files: Manifest['streams'], dir: string): Promise<void> {
    const { together, ahead, maxFileBytes } = this.limits;
    const sizes = files.map(({ size }) => size).filter((size) => size <= maxFileBytes);
    const largest = Math.max(0, ...sizes);
    const all = sizes.reduce((sum, size) => sum + size, 0);
    const atOnce = Math.min(all, 2 * Math.max(together.bytes, largest) + Math.max(ahead.bytes, largest));
    await ensureRoom(dir, atOnce * (1 + PARQUET_SHARE), 'for the files of a batch');
  }

  private async uploadPart(key: string, { path: file, date, files }: ListensFile): Promise<ListensPart> {
    const object = await this.store.upload(this.buckets.intermediate, key, file);
    await rm(file);
    return { object: { ...object, date }, files };
  }

  private async uploadRejectedRows(
    engine: Engine,
    files: Manifest['streams'],
    prefix: string,
    dir: string,
  ): Promise<ObjectRef> {
    const file = path.join(dir, 'rejected-rows.csv');
    await engine.run('CREATE TABLE names (file INTEGER, key VARCHAR)');
    for (const { file: id, key } of files) await engine.run('INSERT INTO names VALUES ($id, $key)', { id, key });
    await engine.run(
      `COPY (SELECT key AS file, "row", reason, user_id, track_id, listen_time FROM bad JOIN names USING (file) ORDER BY bad.file, "row") TO ${text(file)} (FORMAT csv, HEADER)`,
    );
    return this.store.upload(this.buckets.intermediate, `${prefix}rejected-rows.csv`, file);
  }

  private async combineTables(
    open: () => Promise<Engine>,
    manifest: Manifest,
    dir: string,
    options: FetchOptions & {
      readonly reading: Reading;
      readonly openForgotten: ((engine: Engine) => Promise<Forgotten>) | undefined;
    },
  ): Promise<Pick<BatchEvidence, 'songs' | 'users'>> {
    const [songs = [], users = []] = await mapLimited(['songs', 'users'] as const, 2, async (kind) => {
      let engine: Promise<Engine> | undefined;
      const beside = () => (engine ??= open().then((first) => first.beside()));
      const seen: TableEvidence[] = [];
      for (const [file, object] of manifest[kind].entries())
        seen.push(
          await combineTable(beside, this.store, this.buckets.lake, kind, { ...object, file }, dir, {
            ...options,
            seen: this.seen,
          }),
        );
      return seen;
    });
    return { songs, users };
  }
}

/** The columns of a local Parquet file. Throws where it is none. */
async function describeParquet(engine: Engine, file: string): Promise<ParquetColumn[]> {
  const columns = await engine.rows<{ column_name: string; column_type: string }>(
    `DESCRIBE SELECT * FROM read_parquet(${text(file)}, binary_as_string = true)`,
  );
  return columns.map(({ column_name: name, column_type: type }) => ({ name, type }));
}

/** Up to so many rejected rows of each file, the first ones: `row 3: invalid_listen_time "10:00"`. */
const EXAMPLES = 3;
const EXAMPLE_LENGTH = 40;

async function examplesOf(engine: Engine): Promise<Map<number, string[]>> {
  const rows = await engine.rows<{ file: number; row: bigint; reason: string; value: string | null }>(
    `SELECT file, "row", reason, left(CASE WHEN reason LIKE '%_listen_time' THEN listen_time END, ${EXAMPLE_LENGTH + 1}) AS value
     FROM bad QUALIFY row_number() OVER (PARTITION BY file ORDER BY "row", reason) <= ${EXAMPLES} ORDER BY file, "row", reason`,
  );
  const examples = new Map<number, string[]>();
  for (const { file, row, reason, value } of rows) {
    const shown =
      value === null
        ? ''
        : ` ${JSON.stringify(value.length > EXAMPLE_LENGTH ? `${value.slice(0, EXAMPLE_LENGTH)}…` : value)}`;
    examples.set(file, [...(examples.get(file) ?? []), `row ${row}: ${reason}${shown}`]);
  }
  return examples;
}
