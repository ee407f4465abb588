import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CreateBucketCommand, PutBucketVersioningCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { LocalStack, localS3 } from '@music/local-stack';
import { FaultProxies, type Verdict, s3Error } from '@music/testing';
import { ObjectChanged, ObjectStore, type StoredObject, WrittenMeanwhile, keyBelow } from './index';

describe('the object store', () => {
  let stack: LocalStack;
  let s3: S3Client;
  let store: ObjectStore;
  const put = (Key: string, Body: string, Bucket = 'versioned') => s3.send(new PutObjectCommand({ Bucket, Key, Body }));
  const read = async (object: Parameters<ObjectStore['open']>[0]) => {
    let text = '';
    for await (const chunk of await store.open(object)) text += String(chunk);
    return text;
  };
  const head = async (bucket: string, key: string) => {
    const found = await store.head(bucket, key);
    if (found === undefined) throw new Error(`${key} is not there`);
    return found;
  };

  beforeAll(async () => {
    stack = await LocalStack.start(['s3']);
    s3 = localS3(stack.env);
    store = new ObjectStore(s3);
    for (const Bucket of ['plain', 'versioned', 'archive']) await s3.send(new CreateBucketCommand({ Bucket }));
    await s3.send(
      new PutBucketVersioningCommand({ Bucket: 'versioned', VersioningConfiguration: { Status: 'Enabled' } }),
    );
  });
  afterAll(() => stack.stop());

  it('lists every page in key order and tells nothing of what is elsewhere', async () => {
    await Promise.all(Array.from({ length: 1_050 }, (_, i) => put(`many/${String(i).padStart(4, '0')}`, 'x', 'plain')));
    await put('other', 'x', 'plain');
    const keys = [];
    for await (const { key } of store.list('plain', 'many/')) keys.push(key);
    expect(keys).toHaveLength(1_050);
    expect(keys).toEqual([...keys].sort());
    expect(await store.deletePrefix('plain', 'many/')).toBe(1_050);
    expect(await store.head('plain', 'many/0000')).toBeUndefined();
    expect(await store.head('plain', 'other')).toBeDefined();
  });

  it('will not clear a whole bucket', async () => {
    await expect(store.deletePrefix('plain', '')).rejects.toThrow(RangeError);
  });

  it('reads the version it was asked for after another took its place', async () => {
    await put('streams/a.csv', 'old');
    const old = await head('versioned', 'streams/a.csv');
    await put('streams/a.csv', 'new!');
    expect(await read(old)).toBe('old');
    expect(await store.deleteIfUnchanged(old)).toBe('changed');
    expect(await read(await head('versioned', 'streams/a.csv'))).toBe('new!');
  });

  it('says so when a bucket without versions no longer has what it was asked for', async () => {
    await put('a.csv', 'old', 'plain');
    const old = await head('plain', 'a.csv');
    await put('a.csv', 'new!', 'plain');
    await expect(store.open(old)).rejects.toThrow(ObjectChanged);
    await expect(store.copy(old, 'archive', 'a.csv')).rejects.toThrow(ObjectChanged);
    await expect(store.open({ ...old, key: 'gone.csv' })).rejects.toThrow(ObjectChanged);
  });

  it('writes over what it has seen, and over nothing else', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'storage-'));
    const file = path.join(dir, 'x');
    await writeFile(file, 'mine');
    const first = await store.uploadOver(undefined, 'plain', 'over', file);
    await expect(store.uploadOver(undefined, 'plain', 'over', file)).rejects.toThrow(WrittenMeanwhile);
    await store.uploadOver(first, 'plain', 'over', file);
    await put('over', 'theirs', 'plain');
    await expect(store.uploadOver(first, 'plain', 'over', file)).rejects.toThrow(WrittenMeanwhile);
    expect(await read(await head('plain', 'over'))).toBe('theirs');
    await expect(store.uploadOver(first, 'plain', 'gone', file)).rejects.toThrow(WrittenMeanwhile);
    await rm(dir, { recursive: true });
  });

  it('lists names as they are, whatever stands in them', async () => {
    const names = [
      'a b',
      'a+b',
      'a%2Fb',
      '..',
      '../x',
      'é',
      '🎵',
      "it's #1;--",
      'bell\u0007',
      'escape\u001b[2J',
      'line\nbreak',
      '<&>',
      '//',
    ];
    for (const name of names) await put(`names/${name}`, 'x', 'plain');
    const listed = [];
    for await (const object of store.list('plain', 'names/')) {
      listed.push(object.key.slice('names/'.length));
      expect(await read(object)).toBe('x');
      expect(await store.deleteIfUnchanged(object)).toBe('deleted');
    }
    expect(listed.sort()).toEqual([...names].sort());
  });

  it.each(['streams/plain.csv', 'streams/a b+c&d=é/ü%2F…🎵.csv', "streams/it's #1;--.csv"])(
    'archives %s in a Glacier class and deletes the source',
    async (key) => {
      await put(key, 'listens');
      const source = await head('versioned', key);
      const copied = await store.copy(source, 'archive', key, 'DEEP_ARCHIVE');
      expect(copied).toMatchObject({ size: 7, storageClass: 'DEEP_ARCHIVE' });
      expect(await store.deleteIfUnchanged(source)).toBe('deleted');
      expect(await store.head('versioned', key)).toBeUndefined();
      expect(await store.deleteIfUnchanged(source)).not.toBe('changed');
    },
  );

  it('copies what is too large for one call in parts', async () => {
    const inParts = new ObjectStore(s3, { singleBytes: 6 * 2 ** 20, partBytes: 5 * 2 ** 20 });
    const dir = await mkdtemp(path.join(tmpdir(), 'storage-'));
    const bytes = randomBytes(12 * 2 ** 20);
    await writeFile(path.join(dir, 'large'), bytes);
    const source = await store.upload('plain', 'large', path.join(dir, 'large'));
    await rm(dir, { recursive: true });
    const copied = await inParts.copy(source, 'archive', 'large', 'GLACIER');
    const hash = createHash('sha256');
    for await (const chunk of await s3Body(copied.key)) hash.update(chunk as Buffer);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  describe('when a part of a copy fails', () => {
    const limits = { singleBytes: 6 * 2 ** 20, partBytes: 5 * 2 ** 20 };
    let proxies: FaultProxies;
    let faulty: ObjectStore;
    let source: StoredObject;
    let uploads: string[];
    beforeAll(async () => {
      proxies = await FaultProxies.start(['spec'], { s3: stack.env['AWS_ENDPOINT_URL_S3'] });
      faulty = new ObjectStore(localS3(proxies.env('spec')), limits);
      await put('large', randomBytes(12 * 2 ** 20).toString('latin1'), 'plain');
      source = await head('plain', 'large');
    });
    afterAll(() => proxies.stop());
    /** Answers in place of S3, so many times. */
    const failing = (call: string, verdict: Verdict, times: number) => {
      uploads = [];
      proxies.gate = ({ name }, phase) => {
        if (phase === 'after') uploads.push(name.split(' ')[0] ?? '');
        if (phase === 'after' || !name.startsWith(call) || times <= 0) return 'pass';
        times -= 1;
        return verdict;
      };
    };

    it.each([
      ['UploadPartCopy', s3Error(500, 'InternalError')],
      ['UploadPartCopy', s3Error(200, 'InternalError')], // S3 answers long copies before it knows how they end
      ['CompleteMultipartUpload', s3Error(200, 'InternalError')],
      ['CompleteMultipartUpload', 'cut' as const],
    ])('once (%s), it is made again', async (call, verdict) => {
      failing(call, verdict, 1);
      expect(await faulty.copy(source, 'archive', 'parts', 'GLACIER')).toMatchObject({
        size: source.size,
        storageClass: 'GLACIER',
      });
    });

    it('again and again, the copy fails, leaves no parts behind, and the source stays', async () => {
      failing('UploadPartCopy', s3Error(503, 'SlowDown'), Infinity);
      await expect(faulty.copy(source, 'archive', 'never', 'GLACIER')).rejects.toThrow('Injected');
      expect(uploads.at(-1)).toBe('AbortMultipartUpload');
      expect(await store.head('archive', 'never')).toBeUndefined();
      expect(await store.head('plain', 'large')).toBeDefined();
    });

    it('a copy in one call that fails after S3 has answered is made again', async () => {
      const small = await store.putText('plain', 'small', 'x');
      failing('CopyObject', s3Error(200, 'InternalError'), 1);
      expect(await faulty.copy(small, 'archive', 'small')).toMatchObject({ size: 1 });
      failing('CopyObject', s3Error(200, 'InternalError'), Infinity);
      await expect(faulty.copy(small, 'archive', 'small-never')).rejects.toThrow('Injected');
    });
  });

  const s3Body = async (key: string) => store.open(await head('archive', key));

  it('keeps small JSON of its own and refuses to read a large one into memory', async () => {
    const stored = await store.putJson('plain', 'x.json', { a: 1 });
    expect(await store.readJson(stored)).toEqual({ a: 1 });
    await expect(store.readJson(stored, 2)).rejects.toThrow(RangeError);
  });
});

it('keeps long names apart where S3 would not take the key', () => {
  expect(keyBelow('archive/', 'a.csv', '.reason.json')).toBe('archive/a.csv.reason.json');
  const long = (end: string) => keyBelow('archive/2024-06-25/', 'ü'.repeat(510) + end);
  expect(Buffer.byteLength(long('1'))).toBeLessThanOrEqual(1_024);
  expect(long('1')).not.toBe(long('2'));
});
