import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';

export interface BenchSize {
  readonly listens: number;
  readonly files: number;
  readonly days: number;
  readonly tracks?: number;
  /** Rows of songs for each track, in genres of their own. */
  readonly genresATrack?: number;
  readonly genres?: number;
  readonly users?: number;
}

/** So long ago that the longest history of a row has passed: listens of times to come are rejected. */
export const FIRST_DAY = '2020-06-25';

/**
 * Seeded listens, songs and users in a folder that is laid out like the source bucket: few tracks are heard often, ids
 * are 22 characters as the service's are, one listen in a thousand comes twice and one in two thousand lacks its user.
 */
export async function makeBenchData(folder: string, size: BenchSize): Promise<void> {
  const { listens, files, days, tracks = 90_000, genresATrack = 1, genres = 114, users = 50_000 } = size;
  for (const kind of ['streams', 'songs', 'users']) await mkdir(path.join(folder, kind), { recursive: true });
  const instance = await DuckDBInstance.create(':memory:');
  const sql = await instance.connect();
  const track = (n: string) => `left(md5(CAST(${n} AS VARCHAR)), 22)`;
  await sql.run(`CREATE TABLE tracks AS SELECT range AS n, ${track('range')} AS track_id FROM range(${tracks})`);
  await sql.run(`COPY (SELECT n * ${genresATrack} + g AS id, track_id, 'Artist ' || n % 9000 AS artists, 'Song, No. ' || n AS track_name, hash(n) % 100 AS popularity, 60000 + hash(n, 1) % 400000 AS duration_ms, 'genre ' || (hash(n, 2) + g) % ${genres} AS track_genre FROM tracks, range(${genresATrack}) AS copies(g))
    TO '${folder}/songs/songs.csv' (HEADER)`);
  await sql.run(
    `COPY (SELECT range AS user_id, 'User ' || range AS user_name, 'Country ' || range % 50 AS user_country FROM range(${users})) TO '${folder}/users/users.csv' (HEADER)`,
  );
  const rows = Math.ceil(listens / files);
  for (let file = 0; file < files; file += 1) {
    const random = (salt: number) => `(hash(seed, ${salt}) % 1000003) / 1000003.0`;
    await sql.run(`COPY (
      SELECT CASE WHEN hash(seed, 9) % 2000 = 0 THEN '' ELSE CAST(hash(seed, 1) % ${users} AS VARCHAR) END AS user_id, track_id,
        strftime(TIMESTAMP '${FIRST_DAY}' + to_seconds(CAST(hash(seed, 3) % ${days * 86_400} AS BIGINT)), '%Y-%m-%d %H:%M:%S') AS listen_time
      FROM (SELECT ${file * rows} + range - CASE WHEN range % 1000 = 999 THEN 1 ELSE 0 END AS seed FROM range(${rows})) AS seeds
      JOIN tracks ON n = CAST(floor(${tracks} * power(${random(2)}, 2)) AS BIGINT)
    ) TO '${folder}/streams/listens-${String(file).padStart(3, '0')}.csv' (HEADER)`);
  }
  sql.closeSync();
  instance.closeSync();
}
