import { mkdtemp, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { LocalPipeline } from '@music/local-pipeline';
import { table } from '@music/reports';
import { makeBenchData } from './bench-data';
import { type Measured, measureRun } from './measure';

const LISTENS = 10_000_000;

/** How DuckDB writes each form. */
const FORMS: readonly (readonly [name: string, options: string])[] = [
  ['CSV', 'FORMAT csv, HEADER'],
  ['CSV, gzip', 'FORMAT csv, HEADER, COMPRESSION gzip'],
  ['CSV, zstd', 'FORMAT csv, HEADER, COMPRESSION zstd'],
  ['JSON lines', 'FORMAT json'],
  ['JSON lines, gzip', 'FORMAT json, COMPRESSION gzip'],
  ['Parquet', 'FORMAT parquet'],
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
      await rm(path.join(data, 'streams'), { recursive: true, force: true });
      await mkdir(path.join(data, 'streams'));
      await convert(csv, path.join(data, 'streams'), options);
      const pipeline = await LocalPipeline.start();
      try {
        await pipeline.load(data);
        const run = await measureRun(pipeline);
        measured.push([name, run]);
        const [, first] = measured[0] as [string, Measured];
        if (run.report.rows.kept !== first.report.rows.kept)
          throw new Error(`${name}: ${run.report.rows.kept} listens are kept, of CSV ${first.report.rows.kept}`);
        say(`${name}: ${run.seconds.toFixed(2)} s`);
      } finally {
        await pipeline.stop();
      }
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
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function convert(from: string, to: string, options: string): Promise<void> {
  const instance = await DuckDBInstance.create(':memory:');
  const sql = await instance.connect();
  for (const name of await readdir(from))
    await sql.run(
      `COPY (SELECT * FROM read_csv('${path.join(from, name)}', all_varchar = true, header = true)) TO '${path.join(to, name)}' (${options})`,
    );
  sql.closeSync();
  instance.closeSync();
}
