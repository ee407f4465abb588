import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  type CopyObjectResult,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
  type StorageClass,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { LastingError } from '@music/errors';

/** One version of one object. */
export interface StoredObject {
  readonly bucket: string;
  readonly key: string;
  readonly etag: string;
  /** Bytes. */
  readonly size: number;
  readonly versionId?: string;
}

/** An object as it was found. A listing does not tell its `versionId`. */
export interface FoundObject extends StoredObject {
  readonly lastModified: Date;
  readonly storageClass: string;
}

/** Thrown when an object is no longer the version that was asked for, or is gone. Trying again cannot help. */
export class ObjectChanged extends LastingError {
  constructor(readonly object: Pick<StoredObject, 'bucket' | 'key' | 'etag'>) {
    super(
      `s3://${object.bucket}/${object.key} is no longer the version with etag ${object.etag}: it was replaced or removed`,
    );
  }
}

/**
 * Thrown when a copy does not have what its source has. A copy that failed half-way is made again, so trying again can
 * help.
 */
export class CopyDiffers extends Error {
  override readonly name = 'CopyDiffers';

  constructor(source: StoredObject, target: string, found: FoundObject | undefined) {
    const what = found === undefined ? 'nothing' : `${found.size} bytes in class ${found.storageClass}`;
    super(
      `${target} should be a copy of s3://${source.bucket}/${source.key} with its ${source.size} bytes, found ${what}`,
    );
  }
}

/** Thrown when somebody else has written to a key since it was looked at. To look again and do it over can help. */
export class WrittenMeanwhile extends Error {
  override readonly name = 'WrittenMeanwhile';
}

/** What is to be there, or not, for an object to be written. */
type PutCondition = Pick<PutObjectCommandInput, 'IfMatch' | 'IfNoneMatch'>;

const COPY_LIMIT_BYTES = 5 * 2 ** 30; // CopyObject takes no larger source
const COPY_PART_BYTES = 512 * 2 ** 20;

/** S3, as far as the pipeline needs it. Every call names the version it means. */
export class ObjectStore {
  constructor(
    private readonly s3: S3Client,
    private readonly copyLimits = { singleBytes: COPY_LIMIT_BYTES, partBytes: COPY_PART_BYTES },
  ) {}

  /** Every object below a prefix, page by page, in key order. */
  async *list(bucket: string, prefix: string): AsyncGenerator<FoundObject> {
    for await (const { Contents, decoded } of this.pages(bucket, prefix)) {
      for (const { Key, ETag, Size, LastModified, StorageClass } of Contents ?? []) {
        if (Key === undefined) continue;
        yield {
          bucket,
          key: decoded(Key),
          etag: ETag ?? '',
          size: Size ?? 0,
          lastModified: LastModified ?? new Date(0),
          storageClass: StorageClass ?? 'STANDARD',
        };
      }
    }
  }

  /** The folders that begin with a prefix, each with its last `/`, in key order. */
  async *listFolders(bucket: string, prefix: string): AsyncGenerator<string> {
    for await (const { CommonPrefixes, decoded } of this.pages(bucket, prefix, '/')) {
      for (const { Prefix } of CommonPrefixes ?? []) if (Prefix !== undefined) yield decoded(Prefix);
    }
  }

  /** Whether objects of a bucket have, or had, versions. */
  async hasVersions(bucket: string): Promise<boolean> {
    return (await this.s3.send(new GetBucketVersioningCommand({ Bucket: bucket }))).Status !== undefined;
  }

  /** The current version, or undefined where there is none. */
  async head(bucket: string, key: string): Promise<FoundObject | undefined> {
    try {
      const head = await this.s3.send(new HeadObjectCommand({ Bucket: bucket, Key: key }));
      return {
        bucket,
        key,
        etag: head.ETag ?? '',
        size: head.ContentLength ?? 0,
        versionId: realVersion(head.VersionId),
        lastModified: head.LastModified ?? new Date(0),
        storageClass: head.StorageClass ?? 'STANDARD',
      };
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw error;
    }
  }

  /** The bytes of exactly this version. Throws ObjectChanged where it is not to be had any more. */
  async open(object: StoredObject): Promise<Readable> {
    try {
      const got = await this.s3.send(
        new GetObjectCommand({
          Bucket: object.bucket,
          Key: object.key,
          VersionId: object.versionId,
          IfMatch: object.etag,
        }),
      );
      return got.Body as Readable;
    } catch (error) {
      throw isGone(error) ? new ObjectChanged(object) : error;
    }
  }

  /** A small JSON object of our own. Throws where it has more than `limit` bytes. */
  async readJson<T>(object: StoredObject, limit = 64 * 2 ** 20): Promise<T> {
    if (object.size > limit)
      throw new RangeError(
        `s3://${object.bucket}/${object.key} has ${object.size} bytes, more than the ${limit} that are read into memory`,
      );
    const chunks: Buffer[] = [];
    for await (const chunk of await this.open(object)) chunks.push(chunk as Buffer);
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as T;
  }

  async putJson(bucket: string, key: string, value: unknown, condition: PutCondition = {}): Promise<StoredObject> {
    return this.putText(bucket, key, JSON.stringify(value, undefined, 1), 'application/json', condition);
  }

  async putText(
    bucket: string,
    key: string,
    text: string,
    contentType = 'text/plain; charset=utf-8',
    condition: PutCondition = {},
  ): Promise<StoredObject> {
    const body = Buffer.from(text);
    const put = await this.s3.send(
      new PutObjectCommand({ Bucket: bucket, Key: key, Body: body, ContentType: contentType, ...condition }),
    );
    return { bucket, key, etag: put.ETag ?? '', size: body.length, ...versionOf(put.VersionId) };
  }

  /** A local file as an object, streamed. */
  async upload(bucket: string, key: string, file: string): Promise<StoredObject> {
    return this.putFile(bucket, key, file);
  }

  /**
   * Like `upload`, as long as nobody has written there since `before` was seen, or nothing was. Throws WrittenMeanwhile
   * where somebody has.
   */
  async uploadOver(before: StoredObject | undefined, bucket: string, key: string, file: string): Promise<StoredObject> {
    try {
      return await this.putFile(
        bucket,
        key,
        file,
        before === undefined ? { IfNoneMatch: '*' } : { IfMatch: before.etag },
      );
    } catch (error) {
      if ([404, 409, 412].includes(statusOf(error) ?? 0))
        throw new WrittenMeanwhile(`s3://${bucket}/${key}: somebody else wrote there meanwhile`);
      throw error;
    }
  }

  /**
   * Like `upload`, unless there is an object of this key: then that one is given. For keys that are named by content.
   */
  async uploadOnce(bucket: string, key: string, file: string): Promise<StoredObject> {
    return this.once(bucket, key, () => this.putFile(bucket, key, file, { IfNoneMatch: '*' }));
  }

  /** Like `putJson`, unless there is an object of this key: then that one is given. */
  async putJsonOnce(bucket: string, key: string, value: unknown): Promise<StoredObject> {
    return this.once(bucket, key, () => this.putJson(bucket, key, value, { IfNoneMatch: '*' }));
  }

  /**
   * A server-side copy of exactly this version, checked. Throws ObjectChanged where the source is not to be had any
   * more, CopyDiffers where the copy is not what it should be.
   */
  async copy(source: StoredObject, bucket: string, key: string, storageClass?: StorageClass): Promise<FoundObject> {
    const answer = await this.copyUnchecked(source, bucket, key, storageClass);
    // An ETag that was made of the bytes tells of the copy what a look at it would; not so of its class.
    if (storageClass === undefined && answer?.ETag === source.etag)
      return {
        bucket,
        key,
        etag: source.etag,
        size: source.size,
        lastModified: answer.LastModified ?? new Date(),
        storageClass: 'STANDARD',
      };
    const copied = await this.head(bucket, key);
    if (copied === undefined || !isCopy(copied, source, storageClass))
      throw new CopyDiffers(source, `s3://${bucket}/${key}`, copied);
    return copied;
  }

  /**
   * Like `copy`, for callers that look at many copies by one listing (`isCopy`). Gives what S3 answers of a copy that
   * it makes in one call.
   */
  async copyUnchecked(
    source: StoredObject,
    bucket: string,
    key: string,
    storageClass?: StorageClass,
  ): Promise<CopyObjectResult | undefined> {
    try {
      if (source.size > this.copyLimits.singleBytes) {
        await this.copyInParts(source, bucket, key, storageClass);
        return undefined;
      }
      const { CopyObjectResult: answer } = await this.s3.send(
        new CopyObjectCommand({
          Bucket: bucket,
          Key: key,
          CopySource: copySource(source),
          CopySourceIfMatch: source.etag,
          StorageClass: storageClass,
        }),
      );
      return answer;
    } catch (error) {
      throw isGone(error) ? new ObjectChanged(source) : error;
    }
  }

  /** Removes the object if it is still this version. */
  async deleteIfUnchanged(object: StoredObject): Promise<'deleted' | 'changed' | 'gone'> {
    try {
      await this.s3.send(new DeleteObjectCommand({ Bucket: object.bucket, Key: object.key, IfMatch: object.etag }));
      return 'deleted';
    } catch (error) {
      if (statusOf(error) === 404) return 'gone';
      if (statusOf(error) === 412) return 'changed';
      throw error;
    }
  }

  /** Removes everything below a prefix, a thousand objects a call. Gives how many there were. */
  async deletePrefix(bucket: string, prefix: string): Promise<number> {
    if (prefix === '') throw new RangeError(`refusing to clear all of s3://${bucket}`);
    let count = 0;
    let keys: string[] = [];
    const flush = async () => {
      if (keys.length === 0) return;
      const { Errors } = await this.s3.send(
        new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true } }),
      );
      if (Errors !== undefined && Errors.length > 0)
        throw new Error(`could not delete s3://${bucket}/${Errors[0]?.Key}: ${Errors[0]?.Message}`);
      count += keys.length;
      keys = [];
    };
    for await (const { key } of this.list(bucket, prefix)) {
      keys.push(key);
      if (keys.length === 1_000) await flush();
    }
    await flush();
    return count;
  }

  /** Versions below a prefix that are no longer the current ones, and delete markers; none in a bucket without versions. */
  async *listOldVersions(
    bucket: string,
    prefix: string,
  ): AsyncGenerator<StoredObject & { readonly versionId: string }> {
    if (!(await this.hasVersions(bucket))) return;
    let after: { KeyMarker?: string; VersionIdMarker?: string } = {};
    do {
      const page = await this.s3.send(
        new ListObjectVersionsCommand({ Bucket: bucket, Prefix: prefix, EncodingType: 'url', ...after }),
      );
      const decoded = page.EncodingType === 'url' ? decodeKey : (key: string) => key;
      for (const { Key, VersionId, ETag = '', Size = 0, IsLatest } of [
        ...(page.Versions ?? []),
        ...(page.DeleteMarkers ?? []).map((marker) => ({ ...marker, ETag: '', Size: 0, IsLatest: false })),
      ])
        if (Key !== undefined && VersionId !== undefined && IsLatest !== true)
          yield { bucket, key: decoded(Key), etag: ETag, size: Size, versionId: VersionId };
      after = { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker };
    } while (after.KeyMarker !== undefined);
  }

  /** Removes one version of an object for good. */
  async deleteVersion({ bucket, key, versionId }: StoredObject & { readonly versionId: string }): Promise<void> {
    await this.s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: key, VersionId: versionId }));
  }

  /** Removes all versions below a prefix for good but the current ones. */
  async deleteOldVersions(bucket: string, prefix: string): Promise<void> {
    const old: (StoredObject & { readonly versionId: string })[] = [];
    for await (const version of this.listOldVersions(bucket, prefix)) old.push(version);
    for (const version of old) await this.deleteVersion(version);
  }

  /**
   * The pages of a listing, and what makes its names what they are: they come encoded, since a name may hold what XML
   * cannot.
   */
  private async *pages(bucket: string, prefix: string, delimiter?: string) {
    let token: string | undefined;
    do {
      const page = await this.s3.send(
        new ListObjectsV2Command({
          Bucket: bucket,
          Prefix: prefix,
          Delimiter: delimiter,
          ContinuationToken: token,
          EncodingType: 'url',
        }),
      );
      yield { ...page, decoded: page.EncodingType === 'url' ? decodeKey : (key: string) => key };
      token = page.NextContinuationToken;
    } while (token !== undefined);
  }

  private async putFile(
    bucket: string,
    key: string,
    file: string,
    condition: PutCondition = {},
  ): Promise<StoredObject> {
    const { size } = await stat(file);
    const body = createReadStream(file, { highWaterMark: 2 ** 20 });
    const put = await this.s3.send(
      new PutObjectCommand({ Bucket: bucket, Key: key, Body: body, ContentLength: size, ...condition }),
    );
    return { bucket, key, etag: put.ETag ?? '', size, ...versionOf(put.VersionId) };
  }

  private async once(bucket: string, key: string, put: () => Promise<StoredObject>): Promise<StoredObject> {
    try {
      return await put();
    } catch (error) {
      if (statusOf(error) !== 412) throw error;
    }
    const stored = await this.head(bucket, key);
    if (stored === undefined) throw new Error(`s3://${bucket}/${key} was removed while it was written`);
    const { etag, size, versionId } = stored;
    return { bucket, key, etag, size, ...versionOf(versionId) };
  }

  private async copyInParts(
    source: StoredObject,
    bucket: string,
    key: string,
    storageClass?: StorageClass,
  ): Promise<void> {
    const to = { Bucket: bucket, Key: key };
    const { UploadId } = await this.s3.send(new CreateMultipartUploadCommand({ ...to, StorageClass: storageClass }));
    try {
      const parts = [];
      for (let start = 0, n = 1; start < source.size; start += this.copyLimits.partBytes, n += 1) {
        const end = Math.min(start + this.copyLimits.partBytes, source.size) - 1;
        const { CopyPartResult } = await this.s3.send(
          new UploadPartCopyCommand({
            ...to,
            UploadId,
            PartNumber: n,
            CopySource: copySource(source),
            CopySourceIfMatch: source.etag,
            CopySourceRange: `bytes=${start}-${end}`,
          }),
        );
        parts.push({ PartNumber: n, ETag: CopyPartResult?.ETag });
      }
      await this.s3.send(new CompleteMultipartUploadCommand({ ...to, UploadId, MultipartUpload: { Parts: parts } }));
    } catch (error) {
      await this.s3.send(new AbortMultipartUploadCommand({ ...to, UploadId })).catch(() => undefined); // the first error is the one to tell
      throw error;
    }
  }
}

/**
 * Whether an object can be the copy of another: ETags differ where one of them was written in parts, so sizes are
 * compared.
 */
export function isCopy(found: FoundObject, source: StoredObject, storageClass?: StorageClass): boolean {
  return found.size === source.size && (storageClass === undefined || found.storageClass === storageClass);
}

/** S3 writes a blank as `+`, and a plus as `%2B`. */
function decodeKey(encoded: string): string {
  return decodeURIComponent(encoded.replaceAll('+', ' '));
}

function copySource({ bucket, key, versionId }: StoredObject): string {
  const path = [bucket, ...key.split('/')].map(encodeURIComponent).join('/');
  return versionId === undefined ? path : `${path}?versionId=${encodeURIComponent(versionId)}`;
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode;
}

function isGone(error: unknown): boolean {
  return statusOf(error) === 412 || (statusOf(error) === 404 && (error as Error).name !== 'NoSuchBucket');
}

/** S3 says "null" for objects of a bucket without versions. */
function realVersion(versionId: string | undefined): string | undefined {
  return versionId === 'null' ? undefined : versionId;
}

function versionOf(versionId: string | undefined): { versionId?: string } {
  const real = realVersion(versionId);
  return real === undefined ? {} : { versionId: real };
}
