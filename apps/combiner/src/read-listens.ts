import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BLANKS, type RowCounts, type RowReason } from '@music/contracts';
import { type Engine, PARQUET, text, textList } from '@music/duckdb';
import type { Forgotten } from '@music/erasure';
import type { FileEvidence } from '@music/runs';
import type { Fetched } from './fetch-file';
import { FILE_OF_PATH, type FileCounts, placeBadRows } from './place-bad-rows';
import { readFiles } from './read-files';
import type { Reading } from './reading';
import { MALFORMED, type RowSource, dropMalformed } from './row-source';
import { typeRows, typingParameters } from './type-rows';

/**
 * Rows of more days than this are not parted by day: of a delivery of years each file would have a few rows. The KPI
 * job parts them, all those of a run together.
 */
const DAYS_PARTED = 31;
/**
 * Days are told by all rows of a group that has no more bytes than this, otherwise by the beginning of its first file.
 */
const BYTES_LOOKED_AT = 4 * 2 ** 20;
const BEGINNING_BYTES = 2 ** 18;
const ROWS_LOOKED_AT = 10_000;

/** A local Parquet file of good rows, of one day where it has a `date`. */
export interface ListensFile {
  readonly path: string;
  readonly date?: string;
  /** The numbers of the files whose rows are in it, or may be. */
  readonly files: readonly number[];
}

/** What became of a group of files. */
export interface ReadGroup {
  readonly evidence: readonly FileEvidence[];
  readonly listens: readonly ListensFile[];
  /** The places of rejected rows are being looked for, in the files of the group, until this ends. */
  readonly placed: Promise<void>;
}

export interface ReadOptions {
  /** For what is read beside the statements of the first. */
  readonly beside: readonly [Engine, ...Engine[]];
  readonly reading: Reading;
  /** Users who are forgotten, where there are any. */
  readonly forgotten?: Forgotten;
  /** When the run's manifest was frozen, ISO 8601. */
  readonly frozenAt: string;
}

/**
 * Reads files with one header and writes their good rows as Parquet below `dir`, a file a day; adds the rejected rows
 * to the table `bad`. Where files cannot be read together, each is read alone.
 */
export async function readListens(
  engine: Engine,
  group: readonly Fetched[],
  dir: string,
  options: ReadOptions,
): Promise<ReadGroup> {
  const [first] = group;
  if (first === undefined) return { evidence: [], listens: [], placed: Promise.resolve() };
  if (!first.readable) return nothingOf({ ...first.evidence, rows: 0, rejected: {} });
  const parameters = { blanks: BLANKS, ...typingParameters(options.reading, options.frozenAt) };
  const read = await readFiles(engine, 'streams', group, options.reading.maxRowBytes, async (source) => {
    await mkdir(dir, { recursive: true });
    const rows = typeRows(source, options.reading, first.plain);
    const days = await countDays(engine, group, source, dir, { parameters, options });
    await engine.run(dropMalformed);
    await rm(dir, { recursive: true }); // what another mode of reading left
    await engine.run(
      `COPY (SELECT ${FILE_OF_PATH} AS file, user_id, track_id, listened_at, listen_date, reason, CASE WHEN reason IS NULL THEN ${days > DAYS_PARTED ? "'several'" : 'listen_date'} END AS part FROM (${rows}))
       TO ${text(dir)} (FORMAT parquet, ${PARQUET}, PARTITION_BY (part))`,
      parameters,
    );
  });
  if ('defect' in read) {
    if (group.length === 1) return nothingOf({ ...first.evidence, rows: 0, rejected: {}, ...read });
    const each: ReadGroup[] = [];
    for (const fetched of group) {
      each.push(await readListens(engine, [fetched], path.join(dir, String(fetched.evidence.file)), options));
      await each.at(-1)?.placed;
    }
    return {
      evidence: each.flatMap(({ evidence }) => evidence),
      listens: each.flatMap(({ listens }) => listens),
      placed: Promise.all(each.map(({ placed }) => placed)).then(() => undefined),
    };
  }
  // Few files have rows of users who are forgotten: they are read once more.
  const ids = `forgotten_${first.evidence.file}`;
  if (options.reading.forgotten === undefined && (await hasForgotten(options.forgotten, dir, ids))) {
    await engine.run(dropMalformed);
    return readListens(engine, group, dir, { ...options, reading: { ...options.reading, forgotten: ids } });
  }
  const unread = await unreadRows(engine, `unread_${first.evidence.file}`);
  const counts = await countRows(engine, dir);
  const evidence = group.map((fetched): FileEvidence => {
    const { rows = 0, rejected = {} } = counts.files.get(fetched.evidence.file) ?? {};
    const malformed = unread.counts.get(fetched.evidence.file) ?? 0;
    const all = malformed === 0 ? rejected : { ...rejected, malformed_row: (rejected.malformed_row ?? 0) + malformed };
    return { ...fetched.evidence, rows: rows + malformed, rejected: all };
  });
  const placed = placeBadRows(options.beside, group, read.rows, unread.table, counts.files, {
    parameters,
    reading: options.reading,
  });
  placed.catch(() => undefined); // awaited by the caller
  return { evidence, listens: counts.listens, placed };
}

/** Whether rows below a folder are of users who are forgotten; their ids are then in a table. */
async function hasForgotten(forgotten: Forgotten | undefined, dir: string, table: string): Promise<boolean> {
  const written = forgotten === undefined ? [] : await parquetBelow(dir);
  if (forgotten === undefined || written.length === 0) return false;
  const rows = `SELECT user_id FROM read_parquet(${textList(written)}, hive_partitioning = false)`;
  return (await forgotten.findAmong(rows, table)) > 0;
}

async function parquetBelow(dir: string): Promise<string[]> {
  const names = await readdir(dir, { recursive: true });
  return names.filter((name) => name.endsWith('.parquet')).map((name) => path.join(dir, name));
}

/** How many days the files have rows of, or seem to have: a wrong guess costs time, and changes nothing. */
async function countDays(
  engine: Engine,
  group: readonly Fetched[],
  source: RowSource,
  dir: string,
  { parameters, options }: { parameters: Record<string, string>; options: ReadOptions },
): Promise<number> {
  const count = (from: RowSource) =>
    engine.count(
      `SELECT count(DISTINCT listen_date) FROM (${typeRows(from, options.reading, (group[0] as Fetched).plain)})`,
      parameters,
    );
  if (group.reduce((sum, { size }) => sum + size, 0) <= BYTES_LOOKED_AT) return count(source);
  if ((group[0] as Fetched).form === 'parquet') return count(source.first(ROWS_LOOKED_AT)); // it cannot be cut
  const beginning = path.join(dir, '0.rows');
  await pipeline(
    createReadStream((group[0] as Fetched).path, { end: BEGINNING_BYTES - 1 }),
    createWriteStream(beginning),
  );
  return count(source.only([beginning])).catch(() => 1); // it may end inside a quoted field
}

function nothingOf(evidence: FileEvidence): ReadGroup {
  return { evidence: [evidence], listens: [], placed: Promise.resolve() };
}

/** Keeps the places of the rows that the reader could not split, as a table. Gives how many each file has. */
async function unreadRows(engine: Engine, table: string): Promise<{ table: string; counts: Map<number, number> }> {
  await engine.run(
    `CREATE TABLE ${table} AS SELECT DISTINCT ${FILE_OF_PATH} AS file, CAST(line - 1 AS BIGINT) AS "row"
     FROM (SELECT line, file_path AS filename FROM ${MALFORMED} JOIN ${MALFORMED}_scan USING (scan_id, file_id))`,
  );
  const rows = await engine.rows<{ file: number; n: bigint }>(`SELECT file, count(*) AS n FROM ${table} GROUP BY file`);
  return { table, counts: new Map(rows.map(({ file, n }) => [file, Number(n)])) };
}

interface Counts {
  readonly files: FileCounts;
  readonly listens: readonly ListensFile[];
}

/** Counts the rows of the Parquet files below a folder, by file and reason. */
async function countRows(engine: Engine, dir: string): Promise<Counts> {
  const written = await parquetBelow(dir);
  if (written.length === 0) return { files: new Map(), listens: [] };
  const rows = await engine.rows<{ filename: string; file: number; reason: RowReason | null; n: bigint }>(
    `SELECT filename, file, reason, count(*) AS n FROM read_parquet(${textList(written)}, filename = true)
     GROUP BY filename, file, reason ORDER BY filename, file`,
  );
  const files = new Map<number, { rows: number; rejected: RowCounts }>();
  const listens = new Map<string, number[]>();
  for (const { filename, file, reason, n } of rows) {
    const before = files.get(file) ?? { rows: 0, rejected: {} };
    const rejected =
      reason === null ? before.rejected : { ...before.rejected, [reason]: (before.rejected[reason] ?? 0) + Number(n) };
    files.set(file, { rows: before.rows + Number(n), rejected });
    if (reason === null) listens.set(filename, [...(listens.get(filename) ?? []), file]);
  }
  return {
    files,
    listens: [...listens].map(([name, members]) => ({
      path: name,
      date: /\/part=(\d{4}-\d{2}-\d{2})\//.exec(name)?.[1],
      files: members,
    })),
  };
}
