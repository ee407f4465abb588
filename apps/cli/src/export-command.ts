import { createWriteStream } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { stringify } from 'csv-stringify';
import { Engine, text, textList } from '@music/duckdb';
import { EXPORTS, EXPORT_COLUMNS, type Export, exportKpis } from '@music/reports';
import type { Stores } from '@music/service';
import { type Command, Option } from 'commander';
import { UsageError, date } from './usage';
import { print, printJson, withStores } from './with-stores';

const FORMATS = ['csv', 'parquet'] as const;
const MEMORY_BYTES = 256 * 2 ** 20;
const DUCKDB_TYPE = { date: 'DATE', text: 'VARCHAR', count: 'BIGINT', minutes: 'DOUBLE', instant: 'TIMESTAMPTZ' };

interface ExportOptions {
  readonly from: string;
  readonly to: string;
  readonly what: Export;
  readonly format: (typeof FORMATS)[number];
  readonly out: string;
  readonly json: boolean;
}

export function addExportCommand(program: Command): void {
  program
    .command('export')
    .description('write the KPIs of some days to a file or an object, for notebooks and spreadsheets')
    .requiredOption('--from <date>', 'first day, YYYY-MM-DD', date)
    .requiredOption('--to <date>', 'last day, YYYY-MM-DD', date)
    .requiredOption('--out <file>', 'a file, or s3://BUCKET/KEY; what is there is replaced once all is written')
    .addOption(
      new Option('--what <rows>', 'one row a genre and day, top song or day').choices(EXPORTS).default('genres'),
    )
    .addOption(
      new Option('--format <format>', 'csv as RFC 4180 has it, UTF-8, or parquet').choices(FORMATS).default('csv'),
    )
    .option('--json', 'for programs', false)
    .action(exportTo);
}

async function exportTo(options: ExportOptions): Promise<void> {
  const { from, to, format, out, json } = options;
  if (from > to) throw new UsageError(`--from ${from} is after --to ${to}`);
  const target = targetOf(out);
  await withStores(async (stores) => {
    // Beside the file, so that it can be put in place at once; a half one never stands there.
    const dir = await mkdtemp(
      path.join(target.file === undefined ? tmpdir() : path.dirname(target.file), '.music-kpis-export-'),
    ).catch((error: Error) => {
      throw new UsageError(`--out ${out}: ${error.message}`);
    });
    try {
      const csv = path.join(dir, 'rows.csv');
      const rows = await writeCsv(stores, options, csv);
      const written = format === 'csv' ? csv : await toParquet(dir, csv, options.what);
      if (target.file !== undefined) await rename(written, target.file);
      else await stores.objects.upload(target.bucket, target.key, written);
      if (json) printJson({ out, rows });
      else print(`${rows.toLocaleString('en-US')} rows in ${out}`);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
}

type Target = { readonly file: string } | { readonly file?: undefined; readonly bucket: string; readonly key: string };

function targetOf(out: string): Target {
  if (!out.startsWith('s3://')) return { file: path.resolve(out) };
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(out) ?? [];
  if (bucket === undefined || key === undefined || key.endsWith('/'))
    throw new UsageError(`--out ${out}: expected s3://BUCKET/KEY`);
  return { bucket, key };
}

/** Gives how many rows there are, besides the header. */
async function writeCsv({ kpis }: Stores, { from, to, what }: ExportOptions, file: string): Promise<number> {
  let rows = 0;
  await pipeline(
    async function* () {
      for await (const row of exportKpis(kpis, from, to, what)) {
        rows += 1;
        yield row;
      }
    },
    stringify({ header: true, columns: Object.keys(EXPORT_COLUMNS[what]) }),
    createWriteStream(file),
  );
  return rows;
}

async function toParquet(dir: string, csv: string, what: Export): Promise<string> {
  const parquet = path.join(dir, 'rows.parquet');
  const engine = await Engine.open(dir, { memoryBytes: MEMORY_BYTES, threads: 1 });
  try {
    const columns = Object.entries(EXPORT_COLUMNS[what]);
    const types = columns.map(([column, type]) => `${text(column)}: ${text(DUCKDB_TYPE[type])}`);
    const rows = `read_csv($csv, header = true, auto_detect = false, quote = '"', escape = '"',
      columns = {${types.join(', ')}}, force_not_null = ${textList(columns.map(([column]) => column))})`;
    await engine.run(`COPY (FROM ${rows}) TO ${text(parquet)} (FORMAT parquet, COMPRESSION zstd)`, { csv });
  } finally {
    engine.close();
  }
  return parquet;
}
