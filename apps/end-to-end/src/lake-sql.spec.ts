import { execFile } from 'node:child_process';
import { createWriteStream, existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pipeline as streams } from 'node:stream/promises';
import { promisify } from 'node:util';
import { DuckDBInstance } from '@duckdb/node-api';
import { compactDay, lakeCatalog, lakeDay } from '@music/lake';
import { LocalPipeline, musicKpisPrints } from '@music/local-pipeline';
import { workspaceRoot } from '@music/local-stack';
import { dayReport } from '@music/reports';

const SAMPLES = path.join(workspaceRoot(), 'samples');
const DAY = '2026-03-02';
const PAGE = readFileSync(path.join(workspaceRoot(), 'docs/lake.md'), 'utf8');
const [VIEW = '', QUERY = '', DUCKDB = ''] = [...PAGE.matchAll(/```sql\n([^`]+)```/g)].map(([, text]) => text);
const COUNTS = `SELECT count(*) AS n, count(DISTINCT user_id) AS users, count(DISTINCT track_id) AS tracks, count(file) AS files
  FROM listens WHERE day = '${DAY}'`;
const [, SPARK = ''] = /```python\n([^]+?)```/.exec(PAGE) ?? [];

interface GenreRow {
  readonly genre: string;
  readonly listen_count: number;
  readonly unique_listeners: number;
  readonly listening_ms: number;
}

describe('the lake, read by the SQL of docs/lake.md', () => {
  let pipeline: LocalPipeline;
  let dir: string;
  let served: GenreRow[];

  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'lake-sql-spec-'));
    pipeline = await LocalPipeline.start();
    await pipeline.load(SAMPLES);
    const run = () => musicKpisPrints(pipeline, 'run', '--date', '2026-03-03', '--wait', '--now');
    await run();
    // The same listens once more, some of which are then taken back, and some that stay so.
    const again = readFileSync(path.join(SAMPLES, `streams/${DAY}.csv`), 'utf8').split('\n');
    await pipeline.putTexts({
      'streams/again.csv': again.slice(0, 301).join('\n'),
      'streams/wrong.csv': `user_id,track_id,listen_time\n13,trk0010,${DAY} 01:02:03\n`,
    });
    await run();
    const wrong = ['--file', 'streams/wrong.csv', '--reason', 'wrong', '--by', 'ada', '--wait'];
    await musicKpisPrints(pipeline, 'retract', ...wrong);
    await beginCompaction();
    await download();
    served = ((await dayReport(pipeline.stores.kpis, DAY))?.genres ?? []).map((each) => ({
      genre: each.genre,
      listen_count: each.listen_count,
      unique_listeners: each.unique_listeners,
      listening_ms: each.total_listening_ms,
    }));
  });
  afterAll(async () => {
    await pipeline?.stop();
    await rm(dir, { recursive: true });
  });

  /** Leaves a day as it is in the middle of a compaction: with what was merged, and what it was merged of. */
  async function beginCompaction(): Promise<void> {
    const { stores, config } = pipeline;
    const objects = await lakeDay(stores.objects, config.lakeBucket, DAY);
    for (const object of objects) await stores.objects.copy(object, config.lakeBucket, `kept/${object.key}`);
    const limits = { memoryBytes: 256 * 2 ** 20, threads: 2 };
    expect(await compactDay(stores.objects, config.lakeBucket, DAY, 1, dir, limits)).toBe(true);
    for (const { key } of objects) {
      const kept = await stores.objects.head(config.lakeBucket, `kept/${key}`);
      if (kept !== undefined) await stores.objects.copy(kept, config.lakeBucket, key);
    }
  }

  /** A copy of the lake, as `aws s3 sync` makes it. */
  async function download(): Promise<void> {
    const { objects } = pipeline.stores;
    for (const prefix of ['listens/', 'left_out/', 'songs/current/', 'users/current/'])
      for await (const object of objects.list(pipeline.config.lakeBucket, prefix)) {
        const file = path.join(dir, 'lake', object.key);
        await mkdir(path.dirname(file), { recursive: true });
        await streams(await objects.open(object), createWriteStream(file));
      }
  }

  const sorted = (rows: readonly GenreRow[]) => [...rows].sort((a, b) => (a.genre < b.genre ? -1 : 1));

  it('has listens several times, and some that do not count', async () => {
    const rows = await onDuckDB([DUCKDB], `SELECT count(*) AS n FROM listens WHERE day = '${DAY}'`);
    const listens = (await dayReport(pipeline.stores.kpis, DAY))?.listen_count ?? NaN;
    expect(Number(rows[0]?.['n'])).toBeGreaterThan(2 * listens);
    expect(existsSync(path.join(dir, 'lake/left_out/left_out.jsonl'))).toBe(true);
    expect(PAGE).toContain("LIKE 'compacted%'");
  });

  it('gives on DuckDB the KPIs that are served', async () => {
    const rows = await onDuckDB([DUCKDB, VIEW], QUERY);
    const found = rows.map(({ genre, listen_count, unique_listeners, listening_ms }) => ({
      genre: String(genre),
      listen_count: Number(listen_count),
      unique_listeners: Number(unique_listeners),
      listening_ms: Number(listening_ms),
    }));
    expect(sorted(found)).toEqual(sorted(served));
    expect(found.map(({ listen_count }) => listen_count)).toEqual(
      found.map(({ listen_count }) => listen_count).sort((a, b) => b - a),
    );
    expect(served.length).toBeGreaterThan(5);
  });

  it('gives the same on Spark, also by the tables of the Glue Data Catalog', async () => {
    const { by_paths, by_tables, listens, users } = await onSpark();
    expect(sorted(by_paths)).toEqual(sorted(served));
    expect(sorted(by_tables)).toEqual(sorted(served));
    const numbers = (rows: readonly object[]) => rows.flatMap((row) => Object.values(row).map(Number));
    expect(numbers(listens)).toEqual(numbers(await onDuckDB([DUCKDB], COUNTS)));
    expect(users[0].n).toBeGreaterThan(100);
  });

  async function onDuckDB(statements: readonly string[], query: string): Promise<Record<string, unknown>[]> {
    const connection = await (await DuckDBInstance.create()).connect();
    try {
      for (const each of statements) await connection.run(each.replaceAll("'lake", `'${dir}/lake`));
      return (await connection.runAndReadAll(query)).getRowObjects();
    } finally {
      connection.closeSync();
    }
  }

  /** By the page's lines, and by tables as `setup --catalog` makes them, which Spark's Hive reads. */
  async function onSpark(): Promise<{
    readonly by_paths: GenreRow[];
    readonly by_tables: GenreRow[];
    readonly listens: object[];
    readonly users: [{ n: number }];
  }> {
    const at = (location = '') => location.replace('s3://lake', `file://${dir}/lake`);
    const typed = (of: { Name?: string; Type?: string }[] = []) => of.map(({ Name, Type }) => `\`${Name}\` ${Type}`);
    // The JSON SerDe is Athena's own.
    const { tables } = lakeCatalog('lake', { database: 'music', from: DAY });
    const create = tables
      .filter(({ Name }) => Name !== 'left_out')
      .map(({ Name, PartitionKeys, StorageDescriptor: { Columns, Location, SerdeInfo, ...formats } = {} }) =>
        [
          `CREATE EXTERNAL TABLE default.${Name} (${typed(Columns).join(', ')})`,
          PartitionKeys === undefined ? '' : `PARTITIONED BY (${typed(PartitionKeys).join(', ')})`,
          `ROW FORMAT SERDE '${SerdeInfo?.SerializationLibrary}'`,
          `STORED AS INPUTFORMAT '${formats.InputFormat}' OUTPUTFORMAT '${formats.OutputFormat}'`,
          `LOCATION '${at(Location)}'`,
        ].join(' '),
      );
    const template = tables.find(({ Name }) => Name === 'listens')?.Parameters['storage.location.template'];
    create.push(
      `ALTER TABLE default.listens ADD PARTITION (day = '${DAY}') LOCATION '${at(template?.replace('${day}', DAY))}'`,
    );
    const counts = COUNTS.replace('listens', 'default.listens');
    const given = {
      bucket: `s3://${pipeline.config.lakeBucket}`,
      page: SPARK,
      view: VIEW,
      query: QUERY,
      create,
      counts,
    };
    await writeFile(path.join(dir, 'statements.json'), JSON.stringify(given));
    const python = path.join(workspaceRoot(), '.stack/venv/bin/python');
    await promisify(execFile)(python, [path.join(__dirname, 'read-lake.py'), dir], {
      cwd: dir,
      maxBuffer: 64 * 2 ** 20,
    });
    return JSON.parse(readFileSync(path.join(dir, 'rows.json'), 'utf8'));
  }
});
