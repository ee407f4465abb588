import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CreateBucketCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { Engine, textList } from '@music/duckdb';
import { ErasureKey } from '@music/erasure';
import type { BatchEvidence, Manifest } from '@music/runs';
import { ObjectStore, type StoredObject, downloadAll } from '@music/storage';
import { LocalStack, localS3 } from '@music/local-stack';
import { CombineBatch, type Erased } from './combine-batch';
import type { Reading } from './reading';

const LISTEN = `file, user_id, track_id, strftime(listened_at, '%Y-%m-%d %H:%M:%S.%f') AS at, CAST(listen_date AS VARCHAR) AS day`;
const ENGINE = { memoryBytes: 256 * 2 ** 20, threads: 2 };

export interface CombiningOptions {
  readonly zones?: { readonly source: string; readonly kpi: string };
  readonly filesTogether?: number;
  readonly songs?: string | Buffer;
  readonly users?: string | Buffer;
  readonly maxRowBytes?: number;
  readonly maxFileBytes?: number;
  readonly reading?: Partial<Reading>;
  /** Of the manifest. */
  readonly frozenAt?: string;
  /** What stands in the place of every file when it is read. */
  readonly replacedBy?: string;
  /** Ids of users who are forgotten, and the first day that the lake keeps. */
  readonly erased?: { readonly users?: readonly string[]; readonly before?: string };
}

/** The combiner's core on an S3 of its own. */
export class Combining {
  private runs = 0;

  private constructor(
    private readonly stack: LocalStack,
    private readonly s3: S3Client,
    private readonly store: ObjectStore,
    private readonly buckets: Readonly<Record<'source' | 'intermediate' | 'lake', string>>,
    private readonly scratch: string,
  ) {}

  static async start(): Promise<Combining> {
    const stack = await LocalStack.start(['s3'], { shared: true });
    const s3 = localS3(stack.env);
    const buckets = {
      source: stack.named('source'),
      intermediate: stack.named('intermediate'),
      lake: stack.named('lake'),
    };
    for (const Bucket of Object.values(buckets)) await s3.send(new CreateBucketCommand({ Bucket }));
    return new Combining(stack, s3, new ObjectStore(s3), buckets, await mkdtemp(path.join(tmpdir(), 'combining-')));
  }

  async stop(): Promise<void> {
    await this.stack.stop();
    await rm(this.scratch, { recursive: true });
  }

  /**
   * Combines the files; gives the evidence, the rows as [file, user, track, instant, day], and the rejected ones as
   * lines.
   */
  async combine(files: readonly (string | Buffer)[], options: CombiningOptions = {}) {
    const { store } = this;
    this.runs += 1;
    const runId = `scheduled__${new Date(Date.UTC(2024, 0, this.runs)).toISOString().slice(0, 10)}`;
    const streams = [];
    for (const [file, body] of files.entries())
      streams.push({
        ...(await this.put(`streams/${runId}/${file}.csv`, body)),
        file,
        batch: 0,
        lastModified: new Date().toISOString(),
      });
    const manifest: Manifest = {
      runId,
      logicalDate: '2024-06-25',
      frozenAt: options.frozenAt ?? '2024-06-26T00:00:00.000Z',
      batches: 1,
      streams,
      left: [],
      songs: options.songs === undefined ? [] : [await this.put(`songs/${runId}.csv`, options.songs)],
      users: options.users === undefined ? [] : [await this.put(`users/${runId}`, options.users)],
    };
    if (options.replacedBy !== undefined) for (const { key } of streams) await this.put(key, options.replacedBy);
    const combiner = new CombineBatch(
      store,
      this.buckets,
      {
        zones: options.zones ?? { source: 'UTC', kpi: 'UTC' },
        maxRowBytes: options.maxRowBytes ?? 2 ** 20,
        delimiter: ',',
        columnNames: [],
        nullText: [],
        ...options.reading,
      },
      {
        engine: ENGINE,
        maxFileBytes: options.maxFileBytes ?? 10 ** 9,
        together: { files: options.filesTogether ?? 100, bytes: 10 ** 9, firstBytes: 10 ** 9 },
        ahead: { files: 3, bytes: 10 ** 9, firstBytes: 10 ** 9 },
      },
      this.scratch,
    );
    const evidence = await store.readJson<BatchEvidence>(
      await combiner.execute(
        manifest,
        0,
        { signal: new AbortController().signal, progress: () => undefined },
        await this.erased(options),
      ),
    );
    let bad = '';
    if (evidence.rejectedRows !== undefined)
      for await (const chunk of await store.open(evidence.rejectedRows)) bad += String(chunk);
    const objects = evidence.parts.map(({ object }) => object);
    return {
      evidence,
      rows: (await this.read(objects, LISTEN)).map(Object.values) as unknown[][],
      bad: bad
        .trimEnd()
        .split('\n')
        .slice(1)
        .map((line) => line.replace(/^[^,]*\/(\d+)\.csv/, '$1')),
    };
  }

  private async erased({ erased: { users = [], before } = {} }: CombiningOptions): Promise<Erased> {
    const file = path.join(this.scratch, 'key');
    await writeFile(file, 'k'.repeat(32));
    const key = ErasureKey.read(file);
    return { hashes: users.map((id) => key.hash(id)), before, key };
  }

  /** What Parquet objects hold, in order. */
  async read(objects: readonly StoredObject[], columns: string): Promise<Record<string, unknown>[]> {
    if (objects.length === 0) return [];
    const dir = await mkdtemp(path.join(this.scratch, 'read-'));
    const engine = await Engine.open(dir, ENGINE);
    const files = await downloadAll(this.store, objects, path.join(dir, 'objects'));
    const rows = await engine.rows(`SELECT ${columns} FROM read_parquet(${textList(files)}) ORDER BY ALL`);
    engine.close();
    await rm(dir, { recursive: true });
    return rows;
  }

  private async put(key: string, body: string | Buffer) {
    const { source: bucket } = this.buckets;
    await this.s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
    const head = await this.store.head(bucket, key);
    if (head === undefined) throw new Error('just written');
    return { bucket, key, etag: head.etag, size: head.size };
  }
}
