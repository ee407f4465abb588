import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import {
  BLANKS,
  CONTRACTS,
  type FileKind,
  type FileReason,
  type RowCounts,
  type RowReason,
  ambiguousColumns,
  missingColumns,
  totalOf,
} from '@music/contracts';
import { type DuckDBLimits, Engine, PARQUET, text } from '@music/duckdb';
import { describeError, isLasting } from '@music/errors';
import type { ObjectRef } from '@music/events';
import type { BatchEvidence, FileEvidence, ListensPart, Manifest, TableEvidence } from '@music/runs';
import { ObjectChanged, type ObjectStore, type StoredObject } from '@music/storage';
import { ulid } from 'ulid';
import { TABLE_VERSION, typeTable } from './catalogue-tables';
import { MALFORMED, csvSource, dropMalformed } from './csv-source';
import { CsvInspector } from './inspect-csv';
import { readHeader } from './read-header';
import { type TimeZones, typeRows, zoneParameters } from './type-rows';

export interface CombineLimits {
  readonly engine: DuckDBLimits;
  /** Larger files are not read. Bytes. */
  readonly maxFileBytes: number;
  /** Longer rows are malformed. Bytes. */
  readonly maxRowBytes: number;
  /** A Parquet object is closed when it has so many rows. */
  readonly rowsPerPart: number;
  /** Small files that are read by one statement. */
  readonly filesTogether: number;
  /** Files that are fetched while another is read. */
  readonly filesAhead: number;
}

/** Small files with one header are read together: planning a statement takes as long as reading some hundred kilobytes. */
const GROUP_BYTES = 16 * 2 ** 20;
const SMALL_BYTES = 2 ** 20;
/** SQL of a stream file's number, which its local file is named by. */
const FILE_OF_PATH = String.raw`CAST(regexp_extract(filename, '(\d+)\.csv$', 1) AS INTEGER)`;

/** A file as it was fetched. Its rows can be read where it is CSV text with the columns of its contract. */
interface Fetched {
  readonly path: string;
  readonly readable: boolean;
  /** See CsvInspection. */
  readonly sequential: boolean;
  /** Bytes. */
  readonly size: number;
  readonly evidence: Omit<FileEvidence, 'rows' | 'rejected'>;
}

/** Reads the files of one batch, each once, and writes Parquet and evidence below an own prefix of the run's staging area. */
export class CombineBatch {
  constructor(
    private readonly store: ObjectStore,
    private readonly buckets: { readonly intermediate: string; readonly lake: string },
    private readonly zones: TimeZones,
    private readonly limits: CombineLimits,
    private readonly scratch: string,
  ) {}

  /**
   * Gives where the batch's BatchEvidence is. What a file is like never ends the batch; that the store or the engine
   * fails does. Each call writes below a new prefix, so that a second replica cannot disturb the first.
   */
  async execute(manifest: Manifest, batch: number, signal: AbortSignal): Promise<ObjectRef> {
    const prefix = `runs/${manifest.runId}/staging/batch-${String(batch).padStart(5, '0')}/${ulid()}/`;
    const dir = await mkdtemp(path.join(this.scratch, 'combine-'));
    let engine: Engine | undefined;
    try {
      engine = await Engine.open(dir, this.limits.engine);
      const tables = batch === 0 ? await this.combineTables(engine, manifest, dir) : {};
      const listens = await this.combineStreams(engine, manifest, batch, prefix, dir, signal);
      const evidence: BatchEvidence = { runId: manifest.runId, batch, ...listens, ...tables };
      return await this.store.putJson(this.buckets.intermediate, `${prefix}evidence.json`, evidence);
    } finally {
      engine?.close();
      await rm(dir, { recursive: true, force: true });
    }
  }

  private async combineStreams(engine: Engine, manifest: Manifest, batch: number, prefix: string, dir: string, signal: AbortSignal) {
    const files = manifest.streams.filter((file) => file.batch === batch);
    const evidence: FileEvidence[] = [];
    const parts: Promise<ListensPart>[] = [];
    await engine.run(
      'CREATE TABLE bad (file INTEGER, "row" BIGINT, reason VARCHAR, user_id VARCHAR, track_id VARCHAR, listen_time VARCHAR)',
    );
    const beginPart = async () => {
      await engine.run(
        'CREATE OR REPLACE TABLE listens (file INTEGER, user_id VARCHAR, track_id VARCHAR, listened_at TIMESTAMP, listen_date DATE, reason VARCHAR, listen_time VARCHAR)',
      );
      await engine.run('CREATE OR REPLACE TABLE unread (file INTEGER, "row" BIGINT)');
    };
    let rows = 0;
    let inPart: Fetched[] = [];
    const endPart = async () => {
      if (inPart.length === 0) return;
      const seen = await this.countRows(engine, inPart);
      evidence.push(...seen);
      const good = seen.reduce((sum, file) => sum + file.rows - totalOf(file.rejected), 0);
      if (good > 0) {
        const name = `listens-${String(parts.length).padStart(4, '0')}.parquet`;
        await engine.run(
          `COPY (SELECT file, user_id, track_id, listened_at, listen_date FROM listens WHERE reason IS NULL) TO ${text(path.join(dir, name))} (FORMAT parquet, ${PARQUET})`,
        );
        const members = seen.filter((file) => file.rows > 0).map(({ file }) => file);
        parts.push(this.uploadPart(`${prefix}${name}`, path.join(dir, name), members, good));
      }
      rows = 0;
      inPart = [];
      await beginPart();
    };
    await beginPart();
    try {
      for await (const group of groupFiles(this.fetchAhead(files, dir), this.limits.filesTogether)) {
        signal.throwIfAborted();
        const read = await this.readStreamFiles(engine, group);
        await Promise.all(group.map((fetched) => rm(fetched.path, { force: true })));
        rows += read.rows;
        evidence.push(...read.unread);
        const unread = new Set(read.unread.map(({ file }) => file));
        inPart.push(...group.filter((fetched) => !unread.has(fetched.evidence.file)));
        if (rows >= this.limits.rowsPerPart) await endPart();
      }
      await endPart();
    } finally {
      await Promise.allSettled(parts);
    }
    evidence.sort((a, b) => a.file - b.file);
    return { files: evidence, parts: await Promise.all(parts), rejectedRows: await this.uploadRejectedRows(engine, files, prefix, dir) };
  }

  private async uploadPart(key: string, file: string, files: readonly number[], rows: number): Promise<ListensPart> {
    const object = await this.store.upload(this.buckets.intermediate, key, file);
    await rm(file);
    return { object, files, rows };
  }

  /**
   * Adds the rows of files to `listens`, and the places of those that cannot be read to `unread`. Gives how many rows, and the
   * evidence of files that cannot be read at all. Several files are read by one statement; where that fails, each by its own.
   */
  private async readStreamFiles(engine: Engine, group: readonly Fetched[]): Promise<{ rows: number; unread: FileEvidence[] }> {
    const [first] = group;
    if (first === undefined) return { rows: 0, unread: [] };
    if (!first.readable) return { rows: 0, unread: [{ ...first.evidence, rows: 0, rejected: {} }] };
    let rows = 0;
    const failure = await this.readCsv(engine, group, async (csv) => {
      rows = await engine.run(
        `INSERT INTO listens SELECT ${FILE_OF_PATH}, user_id, track_id, listened_at, listen_date, reason, listen_time FROM (${typeRows(csv, this.zones)})`,
        { blanks: BLANKS, ...zoneParameters(this.zones) },
      );
    });
    if (failure !== undefined && group.length > 1) {
      const each = [];
      for (const fetched of group) each.push(await this.readStreamFiles(engine, [fetched]));
      return { rows: each.reduce((sum, one) => sum + one.rows, 0), unread: each.flatMap(({ unread }) => unread) };
    }
    if (failure !== undefined) return { rows: 0, unread: [{ ...first.evidence, rows: 0, rejected: {}, ...failure }] };
    rows += await engine.run(
      `INSERT INTO unread SELECT DISTINCT ${FILE_OF_PATH}, line - 1 FROM (SELECT line, file_path AS filename FROM ${MALFORMED} JOIN ${MALFORMED}_scan USING (scan_id, file_id))`,
    );
    return { rows, unread: [] };
  }

  /** Adds the rejected rows of a part's files to `bad`, each with its place below the header, and counts by file and reason. */
  private async countRows(engine: Engine, part: readonly Fetched[]): Promise<FileEvidence[]> {
    // The n-th row of a file: those that were read, in order, with those that could not be read in between.
    await engine.run(`
      INSERT INTO bad
      WITH firsts AS (SELECT file, min(rowid) AS first FROM listens GROUP BY file),
      broken AS (SELECT listens.rowid - first + 1 AS place, listens.* FROM listens JOIN firsts USING (file) WHERE reason IS NOT NULL),
      gaps AS (SELECT file, "row", row_number() OVER (PARTITION BY file ORDER BY "row") AS place FROM unread)
      SELECT file, "row", 'malformed_row', NULL, NULL, NULL FROM gaps
      UNION ALL
      SELECT file, place + (SELECT count(*) FROM gaps WHERE gaps.file = broken.file AND gaps."row" - gaps.place < broken.place), reason, user_id, track_id, listen_time FROM broken`);
    const good = new Map(
      (await engine.rows<{ file: number; n: bigint }>('SELECT file, count(*) AS n FROM listens WHERE reason IS NULL GROUP BY file')).map(
        ({ file, n }) => [file, Number(n)],
      ),
    );
    const rejected = new Map<number, RowCounts>();
    const counts = 'SELECT file, reason, count(*) AS n FROM bad WHERE file BETWEEN $first AND $last GROUP BY file, reason';
    const range = { first: part[0]?.evidence.file ?? 0, last: part.at(-1)?.evidence.file ?? 0 };
    for (const { file, reason, n } of await engine.rows<{ file: number; reason: RowReason; n: bigint }>(counts, range)) {
      rejected.set(file, { ...rejected.get(file), [reason]: Number(n) });
    }
    return part.map(({ evidence }) => {
      const bad = rejected.get(evidence.file) ?? {};
      return { ...evidence, rows: (good.get(evidence.file) ?? 0) + totalOf(bad), rejected: bad };
    });
  }

  private async uploadRejectedRows(
    engine: Engine,
    files: Manifest['streams'],
    prefix: string,
    dir: string,
  ): Promise<ObjectRef | undefined> {
    if ((await engine.count('SELECT count(*) FROM bad')) === 0) return undefined;
    const file = path.join(dir, 'rejected-rows.csv');
    await engine.run('CREATE TABLE names (file INTEGER, key VARCHAR)');
    for (const { file: id, key } of files) await engine.run('INSERT INTO names VALUES ($id, $key)', { id, key });
    await engine.run(
      `COPY (SELECT key AS file, "row", reason, user_id, track_id, listen_time FROM bad JOIN names USING (file) ORDER BY bad.file, "row") TO ${text(file)} (FORMAT csv, HEADER)`,
    );
    return this.store.upload(this.buckets.intermediate, `${prefix}rejected-rows.csv`, file);
  }

  private async combineTables(engine: Engine, manifest: Manifest, dir: string): Promise<Pick<BatchEvidence, 'songs' | 'users'>> {
    const tables = async (kind: 'songs' | 'users') => {
      const seen: TableEvidence[] = [];
      for (const [file, object] of manifest[kind].entries()) seen.push(await this.combineTable(engine, kind, { ...object, file }, dir));
      return seen;
    };
    return { songs: await tables('songs'), users: await tables('users') };
  }

  /** A songs or users file becomes Parquet once per content; after that its evidence is read back. */
  private async combineTable(
    engine: Engine,
    kind: 'songs' | 'users',
    object: StoredObject & { file: number },
    dir: string,
  ): Promise<TableEvidence> {
    const fetched = await this.fetch(kind, object, path.join(dir, `${kind}-${object.file}.csv`));
    const { path: file, readable, evidence } = fetched;
    const known = { lake: this.buckets.lake, key: `${kind}/${evidence.sha256}.v${TABLE_VERSION}.json` };
    const before = evidence.sha256 === undefined ? undefined : await this.store.head(known.lake, known.key);
    if (before !== undefined) {
      await rm(file, { force: true });
      return { ...(await this.store.readJson<TableEvidence>(before)), file: object.file, key: object.key };
    }
    const none = { ...evidence, rows: 0, rejected: {} };
    if (!readable) return none;
    const parquet = path.join(dir, `${kind}-${object.file}.parquet`);
    const failure = await this.readCsv(engine, [fetched], (csv) =>
      engine.run(`COPY (${typeTable(kind, csv)}) TO ${text(parquet)} (FORMAT parquet)`, { blanks: BLANKS }),
    );
    if (failure !== undefined) return { ...none, ...failure };
    const rows = await engine.count(`SELECT count(*) FROM read_parquet(${text(parquet)})`);
    const unread = await engine.count(`SELECT count(DISTINCT line) FROM ${MALFORMED}`);
    await engine.run(dropMalformed);
    const stored = await this.store.uploadOnce(this.buckets.lake, `${kind}/${evidence.sha256}.v${TABLE_VERSION}.parquet`, parquet);
    await Promise.all([rm(file), rm(parquet)]);
    const seen: TableEvidence = {
      ...evidence,
      rows: rows + unread,
      rejected: unread > 0 ? { malformed_row: unread } : {},
      parquet: stored,
    };
    await this.store.putJsonOnce(known.lake, known.key, seen);
    return seen;
  }

  /**
   * Runs a statement that reads CSV files with one header. Line ends of several kinds in one file need the reader's lenient
   * mode, which is tried for one file only. Gives what is wrong where they cannot be read as CSV.
   */
  private async readCsv(
    engine: Engine,
    files: readonly Fetched[],
    read: (csv: ReturnType<typeof csvSource>) => Promise<unknown>,
  ): Promise<{ defect: FileReason; detail: string } | undefined> {
    let failure: unknown;
    const paths = files.map((file) => file.path);
    const { sequential, evidence } = files[0] as Fetched;
    for (const strict of files.length === 1 ? [true, false] : [true]) {
      await engine.run(dropMalformed);
      try {
        await read(csvSource(paths, evidence.columns, { maxRowBytes: this.limits.maxRowBytes, sequential, strict }));
        return undefined;
      } catch (error) {
        if (!/Invalid Input Error/.test(describeError(error))) throw error; // out of memory, disk full: no fault of the file
        failure = error;
      }
    }
    await engine.run(dropMalformed);
    return { defect: 'not_csv', detail: describeError(failure, 300).replaceAll(path.dirname(paths[0] ?? ''), '…') };
  }

  /** Fetches files in order, a few ahead of the one that is being read. */
  private async *fetchAhead(files: Manifest['streams'], dir: string): AsyncGenerator<Fetched> {
    const ahead: Promise<Fetched>[] = [];
    let next = 0;
    const more = () => {
      for (; next < files.length && ahead.length < this.limits.filesAhead; next += 1) {
        const file = files[next] as Manifest['streams'][number];
        const fetched = this.fetch('streams', file, path.join(dir, `${file.file}.csv`));
        fetched.catch(() => undefined); // awaited in its turn
        ahead.push(fetched);
      }
    };
    try {
      for (more(); ahead.length > 0; more()) yield await (ahead.shift() as Promise<Fetched>);
    } finally {
      await Promise.allSettled(ahead);
    }
  }

  /** Streams one object to a local file and looks at its bytes and its header. */
  private async fetch(kind: FileKind, object: StoredObject & { file: number }, to: string): Promise<Fetched> {
    const { key, file, size } = object;
    const without = (defect: FileReason, detail: string, more: Partial<FileEvidence> = {}): Fetched => ({
      path: to,
      readable: false,
      sequential: true,
      size,
      evidence: { file, key, columns: [], ...more, defect, detail },
    });
    if (size > this.limits.maxFileBytes) return without('too_large', `${size} bytes, more than ${this.limits.maxFileBytes}`);
    const inspector = new CsvInspector();
    try {
      await pipeline(await this.store.open(object), inspector, createWriteStream(to, { highWaterMark: 2 ** 20 }));
    } catch (error) {
      if (error instanceof ObjectChanged) return without('source_changed', error.message);
      if (isLasting(error)) return without('unreadable', describeError(error));
      throw error;
    }
    const { sha256, sequential, defect, detail } = inspector.result();
    if (defect !== undefined) return without(defect, detail ?? '', { sha256 });
    let columns: string[];
    try {
      columns = await readHeader(to);
    } catch (error) {
      return without('not_csv', (error as Error).message, { sha256 });
    }
    const readable = missingColumns(CONTRACTS[kind], columns).length === 0 && ambiguousColumns(CONTRACTS[kind], columns).length === 0;
    return { path: to, readable, sequential, size, evidence: { file, key, sha256, columns } };
  }
}

/** Parts files, in order, into groups that are read by one statement: small ones with the same header, or one alone. */
async function* groupFiles(files: AsyncIterable<Fetched>, most: number): AsyncGenerator<Fetched[]> {
  let group: Fetched[] = [];
  let bytes = 0;
  const small = ({ readable, sequential, size }: Fetched) => readable && !sequential && size <= SMALL_BYTES;
  for await (const file of files) {
    const [first] = group;
    const fits =
      first !== undefined &&
      small(first) &&
      small(file) &&
      group.length < most &&
      bytes + file.size <= GROUP_BYTES &&
      JSON.stringify(first.evidence.columns) === JSON.stringify(file.evidence.columns);
    if (!fits && group.length > 0) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(file);
    bytes += file.size;
  }
  if (group.length > 0) yield group;
}
