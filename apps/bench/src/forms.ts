import { mkdtemp, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { LocalPipeline } from '@music/local-pipeline';
import { table } from '@music/reports';
import { makeBenchData } from './bench-data';
import { type Measured, measureRun } from './measure';

const LISTENS = 10_000_000;
const GIB = 2 ** 30;

/** How DuckDB writes each form. */
const FORMS: readonly (readonly [name: string, options: string])[] = [
  ['CSV', 'FORMAT csv, HEADER'],
  ['CSV, gzip', 'FORMAT csv, HEADER, COMPRESSION gzip'],
  ['CSV, zstd', 'FORMAT csv, HEADER, COMPRESSION zstd'],
  ['JSON lines', 'FORMAT json'],
  ['JSON lines, gzip', 'FORMAT json, COMPRESSION gzip'],
  ['Parquet', 'FORMAT parquet'],
];

/** Files that take much memory where a form is read carelessly. */
const LARGE: readonly (readonly [name: string, listens: number, options: string])[] = [
  ['gzip of 2 GiB of CSV', Math.ceil((2 * GIB) / 48), 'FORMAT csv, HEADER, COMPRESSION gzip'],
  ['Parquet, 5 million rows in one row group', 5_000_000, 'FORMAT parquet, ROW_GROUP_SIZE 5000000'],
];

/** What the same 10 million listens cost in each form. Throws where a form gives other numbers than CSV. */
export async function benchForms(say: (text: string) => void): Promise<void> {
  const dir = await mkdtemp(path.join(tmpdir(), 'music-bench-'));
  try {
    const data = path.join(dir, 'data');
    await makeBenchData(data, { listens: LISTENS, files: 10, days: 3 });
    const csv = path.join(dir, 'csv');
    await rename(path.join(data, 'streams'), csv);
    const measured: [string, Measured][] = [];
    for (const [name, options] of FORMS) {
      await convert(csv, path.join(data, 'streams'), options);
      const run = await measureOn(data);
      measured.push([name, run]);
      const [, first] = measured[0] as [string, Measured];
      if (run.report.rows.kept !== first.report.rows.kept)
        throw new Error(`${name}: ${run.report.rows.kept} listens are kept, of CSV ${first.report.rows.kept}`);
      say(`${name}: ${run.seconds.toFixed(2)} s`);
    }
    const [, first] = measured[0] as [string, Measured];
    say(
      `\nforms: ${LISTENS} listens\n${table(
        ['form', 'completed s', 'combiner, processor s', '÷ CSV', 'combiner, peak MiB'],
        measured.map(([name, { seconds, cpu, peakMb }]) => [
          name,
          seconds.toFixed(2),
          cpu.combiner.toFixed(2),
          (cpu.combiner / first.cpu.combiner).toFixed(2),
          Math.round(peakMb.combiner),
        ]),
      )}`,
    );
    const large: string[][] = [];
    for (const [name, listens, options] of LARGE) {
      const folder = path.join(dir, 'large');
      await rm(folder, { recursive: true, force: true });
      await makeBenchData(folder, { listens, files: 1, days: 1 });
      await rename(path.join(folder, 'streams'), path.join(dir, 'large-csv'));
      await convert(path.join(dir, 'large-csv'), path.join(folder, 'streams'), options);
      await rm(path.join(dir, 'large-csv'), { recursive: true });
      const run = await measureOn(folder);
      large.push([name, run.seconds.toFixed(2), String(Math.round(run.peakMb.combiner))]);
    }
    say(`\nlarge files\n${table(['file', 'completed s', 'combiner, peak MiB'], large)}`);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function measureOn(folder: string): Promise<Measured> {
  const pipeline = await LocalPipeline.start();
  try {
    await pipeline.load(folder);
    return await measureRun(pipeline);
  } finally {
    await pipeline.stop();
  }
}

/** Writes the CSV files of a folder in another form, in the place of what was in `to`. */
async function convert(from: string, to: string, options: string): Promise<void> {
  await rm(to, { recursive: true, force: true });
  await mkdir(to);
  const instance = await DuckDBInstance.create(':memory:');
  const sql = await instance.connect();
  for (const name of await readdir(from))
    await sql.run(
      `COPY (SELECT * FROM read_csv('${path.join(from, name)}', all_varchar = true, header = true)) TO '${path.join(to, name)}' (${options})`,
    );
  sql.closeSync();
  instance.closeSync();
}
