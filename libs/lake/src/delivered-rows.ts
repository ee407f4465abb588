import { type Engine, PARQUET, text, textList } from '@music/duckdb';
import type { LeftOut } from '@music/runs';
import path from 'node:path';
import { LISTEN_COLUMNS } from './lake-day';

/** A local copy of an object of the lake. */
export interface LakeFile {
  readonly path: string;
  /** The `run=` folder that the object is in. */
  readonly run: string;
}

export const isCompacted = (run: string): boolean => run.startsWith('compacted__');

/**
 * A Parquet file without rows that has all columns: read beside objects that lack some, which then are null. Gives its
 * path.
 */
export async function writeTemplate(engine: Engine, dir: string): Promise<string> {
  const file = path.join(dir, 'template.parquet');
  await engine.run(
    `COPY (SELECT '' AS user_id, '' AS track_id, TIMESTAMP 'epoch' AS listened_at, DATE 'epoch' AS listen_date, 0::INTEGER AS file, '' AS delivered_by WHERE FALSE)
     TO ${text(file)} (FORMAT parquet, ${PARQUET})`,
  );
  return file;
}

/**
 * SQL of the rows of objects with LISTEN_COLUMNS and the delivery each came in: a run, `delivered_by`, and the number of
 * the file in its manifest, `file`. Those that an earlier release merged have nulls there.
 */
export function deliveredRows(files: readonly LakeFile[], template: string): string {
  return byRun(files)
    .map(([run, paths]) => {
      const by = isCompacted(run) ? 'delivered_by' : `${text(run)} AS delivered_by`;
      return `SELECT ${LISTEN_COLUMNS}, file, ${by} FROM ${parquet([...paths, template])}`;
    })
    .join(' UNION ALL ');
}

/**
 * SQL of the rows of objects with LISTEN_COLUMNS and `more`, without those of deliveries that do not stand. `template`
 * is needed where anything is left out.
 */
export function standingRows(files: readonly LakeFile[], leftOut: LeftOut, template: string, more = ''): string {
  const whole: string[] = [];
  const parts: string[] = [];
  const columns = `${LISTEN_COLUMNS}${more === '' ? '' : `, ${more}`}`;
  const isNothingLeftOut = Object.keys(leftOut).length === 0;
  for (const [run, paths] of byRun(files)) {
    const condition = isNothingLeftOut ? undefined : conditionOf(run, leftOut);
    if (condition === undefined) whole.push(...paths);
    else parts.push(`SELECT ${columns} FROM ${parquet([...paths, template])} WHERE ${condition}`);
  }
  if (whole.length > 0) parts.unshift(`SELECT ${columns} FROM ${parquet(whole)}`);
  return parts.join(' UNION ALL ');
}

/** SQL that is true of rows of deliveries that stand; nothing where all of the folder do. Without a delivery a row stands. */
function conditionOf(run: string, leftOut: LeftOut): string | undefined {
  if (!isCompacted(run)) {
    const files = leftOut[run];
    if (files === undefined) return undefined;
    return files === 'all' ? 'FALSE' : `coalesce(file NOT IN (${files.map(Number).join(', ')}), TRUE)`;
  }
  return Object.keys(leftOut).length === 0 ? undefined : standing(leftOut);
}

/** SQL that is true of `deliveredRows` of deliveries that stand. Without a delivery a row stands. */
export function standing(leftOut: LeftOut): string {
  const left = Object.entries(leftOut).map(
    ([by, files]) =>
      `delivered_by = ${text(by)}${files === 'all' ? '' : ` AND file IN (${files.map(Number).join(', ')})`}`,
  );
  return left.length === 0 ? 'TRUE' : `NOT coalesce(${left.join(' OR ')}, FALSE)`;
}

function byRun(files: readonly LakeFile[]): [run: string, paths: string[]][] {
  const runs = new Map<string, string[]>();
  for (const { run, path: file } of files) {
    // Compacted ones are read together: each row tells whose it is.
    const folder = isCompacted(run) ? 'compacted__' : run;
    runs.set(folder, [...(runs.get(folder) ?? []), file]);
  }
  return [...runs];
}

const parquet = (paths: readonly string[]): string =>
  `read_parquet(${textList(paths)}, hive_partitioning = false, union_by_name = true)`;
