import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CreateBucketCommand } from '@aws-sdk/client-s3';
import { DuckDBInstance } from '@duckdb/node-api';
import { text, textList } from '@music/duckdb';
import type { DayKpis } from '@music/kpis';
import { placeListens } from '@music/lake';
import { ObjectStore, type StoredObject } from '@music/storage';
import { PATIENCE_MS, LocalStack, localS3 } from '@music/local-stack';
import { type JobRunner, type KpiJob, type KpiJobSummary, readResult, resultObjects } from './job-runner';

/** `day`: the calendar day in a zone other than UTC. */
export type Listen = [user: string, track: string, time: string, day?: string];
export type Song = [
  track: string,
  genre: string | null,
  name: string | null,
  ms: number | null,
  popularity: number | null,
];
export interface Result {
  readonly summary: KpiJobSummary;
  readonly days: Record<string, DayKpis>;
}

/** A job whose listens are yet to be placed in the lake; without any it is a backfill of its `dates`. */
export interface Delivery extends Omit<KpiJob, 'dates'> {
  readonly listens: readonly StoredObject[];
  readonly dates?: readonly string[];
}

/** KPI jobs for specs, on a local S3. */
export class KpiJobFixture {
  limits = { memoryBytes: 256 * 2 ** 20, threads: 2 };
  private n = 0;

  private constructor(
    readonly stack: LocalStack,
    readonly store: ObjectStore,
    readonly scratch: string,
  ) {}

  static async start(): Promise<KpiJobFixture> {
    const stack = await LocalStack.start(['s3']);
    const s3 = localS3(stack.env);
    for (const Bucket of ['lake', 'intermediate']) await s3.send(new CreateBucketCommand({ Bucket }));
    return new KpiJobFixture(stack, new ObjectStore(s3), await mkdtemp(path.join(tmpdir(), 'kpi-job-spec-')));
  }

  async stop(): Promise<void> {
    await this.stack.stop();
    await rm(this.scratch, { recursive: true });
  }

  /** A job on these rows; users `u1` and `u2` are known. */
  async job(
    runId: string,
    listens: readonly Listen[],
    songs: readonly Song[],
    more: Partial<Delivery> = {},
  ): Promise<Delivery> {
    return this.jobOf(runId, more, {
      listens:
        listens.length === 0
          ? undefined
          : `SELECT 0 AS file, user_id, track_id, CAST(t AS TIMESTAMP) AS listened_at, CAST(coalesce(d, t) AS DATE) AS listen_date
        FROM ${values(listens.map(([user, track, time, day]) => [user, track, time, day ?? null]))} AS l(user_id, track_id, t, d)`,
      songs: `SELECT track_id, track_genre, track_name, 'A' AS artists, CAST(duration_ms AS BIGINT) AS duration_ms, CAST(popularity AS BIGINT) AS popularity
        FROM ${values(songs)} AS s(track_id, track_genre, track_name, duration_ms, popularity)`,
      users: `SELECT user_id FROM ${values([['u1'], ['u2']])} AS u(user_id)`,
    });
  }

  /** A job on the good rows of folders of CSV files that are laid out like the source bucket. */
  async jobOnFolders(runId: string, folders: readonly string[]): Promise<Delivery> {
    const files = (kind: string) =>
      folders.flatMap((folder) => readdirSync(path.join(folder, kind)).map((file) => path.join(folder, kind, file)));
    const csv = (kind: string) =>
      `read_csv(${textList(files(kind))}, all_varchar = true, header = true, union_by_name = true, ignore_errors = true)`;
    return this.jobOf(
      runId,
      {},
      {
        listens: `SELECT 0 AS file, trim(user_id) AS user_id, trim(track_id) AS track_id, TRY_CAST(listen_time AS TIMESTAMP) AS listened_at, CAST(TRY_CAST(listen_time AS TIMESTAMP) AS DATE) AS listen_date
        FROM ${csv('streams')} WHERE user_id IS NOT NULL AND track_id IS NOT NULL AND TRY_CAST(listen_time AS TIMESTAMP) IS NOT NULL`,
        songs: `SELECT track_id, track_genre, track_name, artists, TRY_CAST(duration_ms AS BIGINT) AS duration_ms, TRY_CAST(popularity AS BIGINT) AS popularity FROM ${csv('songs')}`,
        users: `SELECT user_id FROM ${csv('users')}`,
      },
    );
  }

  /** Puts a delivery's listens into the lake, as the service does before the job starts. */
  async place({ listens, dates, ...job }: Delivery): Promise<KpiJob> {
    const placing = { runId: job.runId, listens, isOurTurn: async () => true, signal: new AbortController().signal };
    return { ...job, dates: dates ?? (await placeListens(this.store, 'lake', placing, this.scratch, this.limits)) };
  }

  /** Has an engine do a job to its end. */
  async run(runner: JobRunner, delivery: Delivery, timeoutMs = PATIENCE_MS): Promise<Result> {
    const job = await this.place(delivery);
    const started = await runner.start(job);
    if ('busy' in started) throw new Error(started.busy);
    for (
      const deadline = Date.now() + timeoutMs;
      Date.now() < deadline;
      await new Promise((resolve) => setTimeout(resolve, 100))
    ) {
      const status = await runner.poll(job, started.jobRunId, 1_000);
      if (status.state === 'succeeded') return this.resultOf(status.summary);
      if (status.state !== 'running') throw new Error(JSON.stringify(status));
    }
    throw new Error('the job did not end in time');
  }

  async resultOf(summaryRef: StoredObject): Promise<Result> {
    const summary = await this.store.readJson<KpiJobSummary>(summaryRef);
    const days: Record<string, DayKpis> = {};
    for (const object of resultObjects(summary))
      for (const kpis of await readResult(this.store, object)) days[kpis.date] = kpis;
    return { summary, days };
  }

  private async jobOf(
    runId: string,
    more: Partial<Delivery>,
    sql: { listens: string | undefined; songs: string; users: string },
  ): Promise<Delivery> {
    const [songs, users] = [await this.parquet(sql.songs), await this.parquet(sql.users)];
    return {
      runId,
      version: 1,
      lakeBucket: 'lake',
      resultBucket: 'intermediate',
      resultPrefix: `runs/${runId}/result/`,
      keepUnknownTracks: true,
      listens: sql.listens === undefined ? [] : [await this.parquet(sql.listens)],
      songs: [songs],
      users: [users],
      ...more,
    };
  }

  private async parquet(sql: string): Promise<StoredObject> {
    const file = path.join(this.scratch, `${(this.n += 1)}.parquet`);
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    await connection.run(`COPY (${sql}) TO ${text(file)} (FORMAT parquet)`);
    connection.closeSync();
    instance.closeSync();
    return this.store.upload('intermediate', `in/${this.n}.parquet`, file);
  }
}

/** A store that dies after so many writes. */
export function dyingAfter(store: ObjectStore, writes: number): ObjectStore {
  return new Proxy(store, {
    get: (target, name, receiver) => {
      if (!['upload', 'putJson', 'copy', 'deleteIfUnchanged'].includes(String(name)))
        return Reflect.get(target, name, receiver);
      if ((writes -= 1) < 0) throw new Error('killed');
      return (Reflect.get(target, name, receiver) as () => unknown).bind(target);
    },
  });
}

function values(rows: readonly (readonly (string | number | null)[])[]): string {
  const literal = (cell: string | number | null) =>
    cell === null ? 'NULL' : typeof cell === 'number' ? String(cell) : text(cell);
  return `(VALUES ${rows.map((row) => `(${row.map(literal).join(', ')})`).join(', ')})`;
}
