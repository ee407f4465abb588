import { DuckDBInstance } from '@duckdb/node-api';

/** Numbers of a day, for comparison: everything that is published of it, in the order of bytes. */
export interface DayNumbers {
  readonly date: string;
  readonly listens: number;
  readonly listeners: number;
  /** genre, listens, listeners, milliseconds */
  readonly genres: readonly (readonly [string, number, number, number])[];
  /** genre, rank, track, listens */
  readonly songs: readonly (readonly [string, number, string, number])[];
}

/**
 * The floor: one DuckDB process that reads the same CSV files and computes the same KPIs, with nothing in between, no
 * memory limit, no evidence, no lake and no servers. Run as `node main.js floor FOLDER`; gives seconds, and the
 * numbers.
 */
export async function floor(folder: string): Promise<{ seconds: number; days: DayNumbers[] }> {
  const began = performance.now();
  const instance = await DuckDBInstance.create(':memory:');
  const sql = await instance.connect();
  await sql.run(`CREATE TABLE listens AS SELECT DISTINCT user_id, track_id, CAST(listen_time AS TIMESTAMP) AS listened_at
    FROM read_csv('${folder}/streams/**/*.csv', header = true, all_varchar = true) WHERE user_id IS NOT NULL`);
  await sql.run(
    `CREATE TABLE songs AS SELECT track_id, track_genre, CAST(duration_ms AS BIGINT) AS ms FROM read_csv('${folder}/songs/*.csv', all_varchar = true)`,
  );
  await sql.run(`CREATE TABLE genre_day AS SELECT CAST(listened_at AS DATE) AS day, coalesce(track_genre, 'Unknown') AS genre, count(*) AS n, count(DISTINCT user_id) AS users, sum(ms) AS ms
    FROM listens LEFT JOIN songs USING (track_id) GROUP BY ALL`);
  await sql.run(`CREATE TABLE top_songs AS SELECT *, row_number() OVER (PARTITION BY day, genre ORDER BY n DESC, track_id) AS rank
    FROM (SELECT CAST(listened_at AS DATE) AS day, coalesce(track_genre, 'Unknown') AS genre, track_id, count(*) AS n FROM listens LEFT JOIN songs USING (track_id) GROUP BY ALL)
    QUALIFY rank <= 3`);
  await sql.run(
    'CREATE TABLE top_genres AS SELECT * FROM genre_day QUALIFY row_number() OVER (PARTITION BY day ORDER BY n DESC, genre) <= 5',
  );
  const seconds = (performance.now() - began) / 1_000;
  const rows = async (query: string) => (await sql.runAndReadAll(query)).getRows() as (string | bigint)[][];
  const days: DayNumbers[] = [];
  // Not part of the floor's time.
  const totals = `SELECT CAST(CAST(listened_at AS DATE) AS VARCHAR) AS day, count(*), count(DISTINCT user_id) FROM listens GROUP BY day ORDER BY day`;
  for (const [date, listens, listeners] of await rows(totals)) {
    const of = `WHERE day = DATE '${date}'`; // of a DATE column
    const numbers = async (query: string) =>
      (await rows(query)).map((row) => row.map((cell) => (typeof cell === 'bigint' ? Number(cell) : cell)));
    days.push({
      date: String(date),
      listens: Number(listens),
      listeners: Number(listeners),
      genres: (await numbers(
        `SELECT genre, n, users, CAST(coalesce(ms, 0) AS BIGINT) FROM genre_day ${of} ORDER BY genre`,
      )) as never,
      songs: (await numbers(`SELECT genre, rank, track_id, n FROM top_songs ${of} ORDER BY genre, rank`)) as never,
    });
  }
  sql.closeSync();
  instance.closeSync();
  return { seconds, days };
}
