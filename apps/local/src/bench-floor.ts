import { DuckDBInstance } from '@duckdb/node-api';

/**
 * The floor: one DuckDB process that reads the same CSV files and computes the same KPIs, with nothing in between, no
 * memory limit, no evidence, no lake and no servers. Run as `node bench.js floor FOLDER`; gives the number of listens.
 */
export async function floor(folder: string): Promise<number> {
  const instance = await DuckDBInstance.create(':memory:');
  const sql = await instance.connect();
  await sql.run(`CREATE TABLE listens AS SELECT DISTINCT user_id, track_id, CAST(listen_time AS TIMESTAMP) AS listened_at
    FROM read_csv('${folder}/streams/**/*.csv', header = true, all_varchar = true) WHERE user_id IS NOT NULL`);
  await sql.run(
    `CREATE TABLE songs AS SELECT track_id, track_genre, CAST(duration_ms AS BIGINT) AS ms FROM read_csv('${folder}/songs/*.csv', all_varchar = true)`,
  );
  await sql.run(`CREATE TABLE genre_day AS SELECT CAST(listened_at AS DATE) AS day, coalesce(track_genre, 'Unknown') AS genre, count(*) AS n, count(DISTINCT user_id) AS users, sum(ms) AS ms
    FROM listens LEFT JOIN songs USING (track_id) GROUP BY ALL`);
  await sql.run(`CREATE TABLE top_songs AS SELECT * FROM (SELECT CAST(listened_at AS DATE) AS day, track_genre, track_id, count(*) AS n FROM listens LEFT JOIN songs USING (track_id) GROUP BY ALL)
    QUALIFY row_number() OVER (PARTITION BY day, track_genre ORDER BY n DESC, track_id) <= 3`);
  await sql.run(
    'CREATE TABLE top_genres AS SELECT * FROM genre_day QUALIFY row_number() OVER (PARTITION BY day ORDER BY n DESC, genre) <= 5',
  );
  const rows = (await sql.runAndReadAll('SELECT count(*) FROM listens')).getRows();
  sql.closeSync();
  instance.closeSync();
  return Number(rows[0]?.[0]);
}
