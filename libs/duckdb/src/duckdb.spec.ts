import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Engine, text } from './index';

const limits = { memoryBytes: 256 * 2 ** 20, threads: 1 };

describe('the embedded engine', () => {
  let scratch: string;
  let engine: Engine;
  beforeEach(async () => {
    scratch = await mkdtemp(path.join(tmpdir(), "it's scratch "));
    engine = await Engine.open(scratch, limits);
  });
  afterEach(async () => {
    engine.close();
    await rm(scratch, { recursive: true });
  });

  it('reads and writes its scratch folder and no other file', async () => {
    await engine.run(`COPY (SELECT 1 AS n) TO ${text(path.join(scratch, 'n.parquet'))} (FORMAT parquet)`);
    expect(await engine.count(`SELECT n FROM read_parquet(${text(path.join(scratch, 'n.parquet'))})`)).toBe(1);
    const outside = path.join(await mkdtemp(path.join(tmpdir(), 'outside-')), 'x.csv');
    await writeFile(outside, 'a\n1\n');
    await expect(engine.rows(`SELECT * FROM read_csv(${text(outside)})`)).rejects.toThrow(/Permission/);
    await expect(engine.run(`COPY (SELECT 1) TO ${text(outside)}`)).rejects.toThrow(/Permission/);
    await expect(engine.run('SET enable_external_access = true')).rejects.toThrow();
  });

  it('sorts more rows than fit into its memory', async () => {
    await engine.run('CREATE TABLE big AS SELECT md5(range::VARCHAR) AS text FROM range(4000000) ORDER BY text');
    expect(await engine.count('SELECT count(*) FROM big')).toBe(4_000_000);
  });

  it('knows time zones', async () => {
    const [row] = await engine.rows<{ day: string }>(
      "SELECT CAST(CAST(timezone($zone, TIMESTAMPTZ '2024-06-25 02:00:00Z') AS DATE) AS VARCHAR) AS day",
      { zone: 'America/New_York' },
    );
    expect(row?.day).toBe('2024-06-24');
  });
});
