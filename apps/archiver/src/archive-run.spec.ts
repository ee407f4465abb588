import { CreateBucketCommand, PutBucketVersioningCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { KpisPublished, envelope } from '@music/events';
import {
  type Manifest,
  type ManifestFile,
  RunStore,
  type Work,
  ensureTable,
  pipelineRunsTable,
  versionOf,
} from '@music/runs';
import { StageMetrics, type StageRuntime } from '@music/service';
import { ObjectStore } from '@music/storage';
import { LocalStack, localS3, localDynamoDB } from '@music/local-stack';
import { ArchiveRun } from './archive-run';
import { ArchiverConfig } from './archiver.config';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

describe('archiving a run', () => {
  let stack: LocalStack;
  let s3: S3Client;
  let objects: ObjectStore;
  let runs: RunStore;
  let archive: ArchiveRun;
  let runId: string;
  let n = 0;
  const config = new ArchiverConfig();

  beforeAll(async () => {
    stack = await LocalStack.start(['s3', 'dynamodb']);
    s3 = localS3(stack.env);
    const dynamo = localDynamoDB(stack.env);
    objects = new ObjectStore(s3);
    await ensureTable(dynamo, pipelineRunsTable('runs'));
    runs = new RunStore(
      DynamoDBDocumentClient.from(dynamo, { marshallOptions: { removeUndefinedValues: true } }),
      'runs',
    );
    for (const Bucket of ['plain', 'versioned', config.intermediateBucket, config.lakeBucket, config.archiveBucket])
      await s3.send(new CreateBucketCommand({ Bucket }));
    await s3.send(
      new PutBucketVersioningCommand({ Bucket: 'versioned', VersioningConfiguration: { Status: 'Enabled' } }),
    );
    archive = new ArchiveRun(
      { stores: { objects, runs }, metrics: new StageMetrics('archiver') } as StageRuntime,
      config,
    );
  });
  afterAll(() => stack.stop());
  beforeEach(() => {
    runId = `scheduled__2024-06-${String((n += 1)).padStart(2, '0')}`;
  });

  const put = (bucket: string, key: string, body: string) =>
    s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));

  /** A run whose KPIs are published, with these files taken and judged. */
  async function published(
    files: Record<string, 'passed' | 'rejected'>,
    bucket = 'versioned',
  ): Promise<{ work: Work; streams: ManifestFile[] }> {
    const streams: ManifestFile[] = [];
    for (const [name, state] of Object.entries(files)) {
      await put(bucket, `streams/${name}`, `listens of ${name}`);
      const head = await objects.head(bucket, `streams/${name}`);
      if (head === undefined) throw new Error('just written');
      const file = {
        bucket,
        key: head.key,
        etag: head.etag,
        size: head.size,
        versionId: head.versionId,
        lastModified: head.lastModified.toISOString(),
        file: streams.length,
        batch: 0,
      };
      streams.push(file);
      await runs.files.take({ key: file.key, version: versionOf(file), runId });
      await runs.files.update(file.key, versionOf(file), runId, { state });
    }
    const manifest: Manifest = {
      runId,
      logicalDate: '2024-06-25',
      frozenAt: '',
      batches: 1,
      streams,
      songs: [],
      users: [],
      left: [],
    };
    const stored = await objects.putJson(config.lakeBucket, `runs/${runId}/manifest.json`, manifest);
    await put(config.intermediateBucket, `runs/${runId}/staging/x`, 'x');
    await runs.createRun({ runId, logicalDate: '2024-06-25', immediately: false }, new Date());
    await runs.transition(runId, 'pending', 'frozen', 'sensor', { manifest: stored });
    await runs.transition(runId, 'frozen', 'sensed', 'sensor');
    await runs.transition(runId, 'sensed', 'validated', 'validator');
    await runs.transition(runId, 'validated', 'published', 'glue-trigger');
    const event = envelope(KpisPublished, 'glue-trigger', {
      runId,
      summary: { bucket: 'b', key: 'k', etag: 'e', size: 1 },
      days: 1,
      version: 1,
    });
    return {
      work: { event, headers: {}, signal: new AbortController().signal, log: silent, progress: () => undefined },
      streams,
    };
  }

  const archived = async (name: string) => objects.head(config.archiveBucket, `streams/2024-06-25/${runId}/${name}`);

  it('archives what passed in a Glacier class, removes it from the source, clears the run and says so', async () => {
    const { work } = await published({ 'a b/é.csv': 'passed', 'bad.csv': 'rejected' });
    expect(await archive.perform(work)).toBe('done');
    expect(await archived('a b/é.csv')).toMatchObject({
      storageClass: 'DEEP_ARCHIVE',
      size: Buffer.byteLength('listens of a b/é.csv'),
    });
    expect(await archived('bad.csv')).toBeUndefined();
    expect(await objects.head('versioned', 'streams/a b/é.csv')).toBeUndefined();
    expect(await objects.head('versioned', 'streams/bad.csv')).toBeDefined();
    expect(await objects.head(config.intermediateBucket, `runs/${runId}/staging/x`)).toBeUndefined();
    expect(await runs.findRun(runId)).toMatchObject({ state: 'completed', archivedFiles: 1 });
    expect((await runs.outbox.page('archiver')).owed.at(-1)).toMatchObject({
      topic: 'music.run.completed',
      key: runId,
    });
    expect(await archive.perform(work)).toBe('done');
  });

  it.each(['versioned', 'plain'])(
    'leaves a file that was uploaded again while it was being archived (%s bucket)',
    async (bucket) => {
      const { work } = await published({ 'again.csv': 'passed' }, bucket);
      await put(bucket, 'streams/again.csv', 'a newer one, of another length');
      await archive.perform(work);
      expect((await objects.head(bucket, 'streams/again.csv'))?.size).toBe(30);
      expect((await archived('again.csv'))?.size).toBe(bucket === 'versioned' ? 20 : undefined);
      expect((await runs.findRun(runId))?.state).toBe('completed');
    },
  );

  it('goes on where a try was killed: after the copy, and after the ledger', async () => {
    const { work, streams } = await published({ 'copied.csv': 'passed', 'noted.csv': 'passed' }, 'plain');
    const [copied, noted] = streams as [ManifestFile, ManifestFile];
    const keyOf = (file: ManifestFile) => `streams/2024-06-25/${runId}/${file.key.slice(8)}`;
    await objects.copy(copied, config.archiveBucket, keyOf(copied), 'DEEP_ARCHIVE');
    await objects.deleteIfUnchanged(copied);
    await objects.copy(noted, config.archiveBucket, keyOf(noted), 'DEEP_ARCHIVE');
    await runs.files.update(noted.key, versionOf(noted), runId, { state: 'archived' });
    await archive.perform(work);
    expect(await runs.findRun(runId)).toMatchObject({ state: 'completed', archivedFiles: 2 });
    expect(await objects.head('plain', noted.key)).toBeUndefined();
  });

  it('takes a copy of an earlier try in another class for the file that is gone since', async () => {
    const { work, streams } = await published({ 'gone.csv': 'passed' }, 'plain');
    const [file] = streams as [ManifestFile];
    await objects.copy(file, config.archiveBucket, `streams/2024-06-25/${runId}/gone.csv`, 'GLACIER');
    await objects.deleteIfUnchanged(file);
    await archive.perform(work);
    expect(await runs.findRun(runId)).toMatchObject({ state: 'completed', archivedFiles: 1 });
    expect(await archived('gone.csv')).toMatchObject({ storageClass: 'GLACIER', size: file.size });
  });

  it('leaves a file that another run has taken since', async () => {
    const { work, streams } = await published({ 'taken.csv': 'passed' });
    const [file] = streams as [ManifestFile];
    await runs.files.take({ key: file.key, version: versionOf(file), runId: 'scheduled__2024-07-01' }, [runId]);
    await archive.perform(work);
    expect(await archived('taken.csv')).toBeUndefined();
    expect(await objects.head('versioned', file.key)).toBeDefined();
  });
});
