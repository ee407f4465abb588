import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type RowCounts, type RowReason, totalOf } from '@music/contracts';
import type { Engine } from '@music/duckdb';
import { mapLimited } from '@music/storage';
import { copySuspects } from './copy-suspects';
import type { Fetched } from './fetch-file';
import type { Reading } from './reading';
import { type RowSource, dropMalformed } from './row-source';
import { FORGOTTEN, blankIds, typeRows } from './type-rows';

/** SQL of a stream file's number, which its local file is named by. */
export const FILE_OF_PATH = String.raw`CAST(regexp_extract(filename, '(\d+)\.rows$', 1) AS INTEGER)`;

/** The rejected rows of a batch, each with its place below the header. */
export const CREATE_BAD =
  'CREATE TABLE bad (file INTEGER, "row" BIGINT, reason VARCHAR, user_id VARCHAR, track_id VARCHAR, listen_time VARCHAR)';

/** Reasons that can be told without typing a row's time, and the column that lacks a value. */
const MISSING: Readonly<Partial<Record<RowReason, string>>> = {
  missing_user_id: 'user_id',
  missing_track_id: 'track_id',
  missing_listen_time: 'listen_time',
};

/** Rows that were read, by the number of their file. */
export type FileCounts = ReadonlyMap<number, { readonly rows: number; readonly rejected: RowCounts }>;

/** A file with rows that were rejected: how many, of each reason. */
interface BadFile {
  readonly fetched: Fetched;
  readonly rejected: RowCounts;
}

interface Typing {
  /** Those of `typeRows`. */
  readonly parameters: Record<string, string>;
  readonly reading: Reading;
}

/**
 * Adds the bad rows of files to the table `bad`, each with its place. Files that have some are read once more for it:
 * to write down every row's place would cost all files more than this costs a few. `unread`: a table of the places of
 * rows that could not be read. `counts`: what else is there to be found.
 */
export async function placeBadRows(
  engines: readonly [Engine, ...Engine[]],
  group: readonly Fetched[],
  source: RowSource,
  unread: string,
  counts: FileCounts,
  typing: Typing,
): Promise<void> {
  await engines[0].run(`INSERT INTO bad SELECT file, "row", 'malformed_row', NULL, NULL, NULL FROM ${unread}`);
  const bad = group
    .map((fetched): BadFile => {
      // Of rows of users who are forgotten nothing is kept.
      const { [FORGOTTEN]: _, ...rejected } = counts.get(fetched.evidence.file)?.rejected ?? {};
      return { fetched, rejected };
    })
    .filter(({ rejected }) => totalOf(rejected) > 0);
  const placed = await placeSuspects(engines[0], bad, source, typing);
  const others = bad.filter(({ fetched }) => !placed.has(fetched.evidence.file));
  // Places are counted by one thread, so files are shared out among the engines.
  await mapLimited(engines, engines.length, async (engine, n) => {
    const files = others.filter((_, i) => i % engines.length === n);
    if (files.length > 0) await placeByCounting(engine, files, source, unread, counts, typing);
  });
}

/**
 * Looks for rows that lack a value among the lines that look so. Gives the numbers of the files of which that found all
 * bad rows, for their reasons; of the others it leaves nothing.
 */
async function placeSuspects(
  engine: Engine,
  bad: readonly BadFile[],
  source: RowSource,
  { parameters, reading }: Typing,
): Promise<ReadonlySet<number>> {
  const files = bad.filter(
    ({ fetched: { form, plain, sequential }, rejected }) =>
      form === 'csv' && plain && !sequential && reading.nullText.length === 0 && lacksOnly(rejected),
  );
  const [first] = files;
  if (first === undefined) return new Set();
  const dir = `${first.fetched.path}.suspects`;
  await mkdir(dir);
  try {
    const copies = await mapLimited(files, 2, async ({ fetched, rejected }) => {
      const { columns } = fetched.evidence;
      const missing = Object.keys(rejected).map((reason) => columns.indexOf(MISSING[reason as RowReason] as string));
      const copy = path.join(dir, path.basename(fetched.path));
      const suspects = {
        file: fetched.path,
        delimiter: fetched.delimiter,
        inside: missing.some((at) => at > 0 && at < columns.length - 1),
      };
      return (await copySuspects(suspects, copy)) ? [copy] : [];
    });
    if (copies.flat().length === 0) return new Set();
    const rows = typeRows(source.placed(copies.flat()), reading, true, ['place']);
    await engine.run(
      `CREATE OR REPLACE TEMP TABLE suspects AS SELECT ${FILE_OF_PATH} AS file, * EXCLUDE (filename) FROM (${rows}) WHERE reason IS NOT NULL AND reason <> '${FORGOTTEN}'`,
      parameters,
    );
    await engine.run(dropMalformed);
    const found = new Map<number, Record<string, number>>();
    for (const { file, reason, n } of await engine.rows<{ file: number; reason: string; n: bigint }>(
      'SELECT file, reason, count(*) AS n FROM suspects GROUP BY file, reason',
    ))
      found.set(file, { ...found.get(file), [reason]: Number(n) });
    const whole = files.filter(({ fetched, rejected }) =>
      isDeepStrictEqual(found.get(fetched.evidence.file), { ...rejected }),
    );
    const numbers = whole.map(({ fetched }) => fetched.evidence.file);
    if (numbers.length > 0)
      await engine.run(
        `INSERT INTO bad SELECT file, place, reason, user_id, track_id, listen_time FROM suspects WHERE file IN (${numbers.join(', ')})`,
      );
    return new Set(numbers);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

const lacksOnly = (rejected: RowCounts): boolean => Object.keys(rejected).every((reason) => reason in MISSING);

/** Reads all rows of files, in order. */
async function placeByCounting(
  engine: Engine,
  files: readonly BadFile[],
  source: RowSource,
  unread: string,
  counts: FileCounts,
  { parameters, reading }: Typing,
): Promise<void> {
  const { plain } = (files[0] as BadFile).fetched;
  const onlyMissing = files.every(({ rejected }) => lacksOnly(rejected));
  // The rows before a file's first one, among those that are read again.
  const starts: string[] = [];
  let start = 0;
  for (const { fetched } of files) {
    starts.push(`(${fetched.evidence.file}, ${start})`);
    start += counts.get(fetched.evidence.file)?.rows ?? 0;
  }
  const rows = source
    .only(files.map(({ fetched }) => fetched.path))
    .numbered((from) => (onlyMissing ? blankIds(from, reading, plain) : undefined));
  await engine.run(
    // The n-th row of a file: those that were read, in order, with those that could not be read in between.
    `INSERT INTO bad
       WITH starts AS (SELECT * FROM (VALUES ${starts.join(', ')}) AS starts(file, start)),
       broken AS (SELECT ${FILE_OF_PATH} AS file, * EXCLUDE (filename) FROM (${typeRows(rows, reading, plain, ['place'])}) WHERE reason IS NOT NULL AND reason <> '${FORGOTTEN}'),
       placed AS (SELECT broken.* EXCLUDE (place), place - start AS place FROM broken JOIN starts USING (file)),
       gaps AS (SELECT file, "row", row_number() OVER (PARTITION BY file ORDER BY "row") AS gap FROM ${unread})
       SELECT file, place + (SELECT count(*) FROM gaps WHERE gaps.file = placed.file AND gaps."row" - gaps.gap < placed.place), reason, user_id, track_id, listen_time FROM placed`,
    parameters,
  );
  await engine.run(dropMalformed);
}
