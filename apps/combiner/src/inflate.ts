import { Transform, type TransformCallback, pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { FileReason } from '@music/contracts';
import { Decompress } from 'fzstd';
import type { Packing } from './detect-form';

/** Real listens are packed to a tenth. What grows so many times is a bomb, once it is past so many bytes. */
const MAX_RATIO = 200;
const RATIO_FROM_BYTES = 64 * 2 ** 20;
/** A block of zstd has 128 KiB in 4 bytes at the most, so a slice unpacks to some MiB at once. */
const SLICE_BYTES = 256;

/** A file that cannot be read as what it says it is. */
export class NotReadable extends Error {
  override readonly name = 'NotReadable';
  constructor(
    readonly defect: FileReason,
    message: string,
  ) {
    super(message);
  }
}

type Unpack = (packed: AsyncIterable<Buffer>) => AsyncGenerator<Buffer>;

/** Unpacks a file as it streams by. Throws NotReadable where it is damaged or cut off. */
export function unpacker(packing: Packing): Unpack {
  return packing === 'gzip' ? gunzip : unzstd;
}

async function* gunzip(packed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let failure: unknown;
  // One of the store is not to be taken for one of the file.
  const source = (async function* () {
    try {
      yield* packed;
    } catch (error) {
      failure = error;
      throw error;
    }
  })();
  try {
    for await (const chunk of pipeline(source, createGunzip(), () => undefined)) yield chunk as Buffer;
  } catch (error) {
    throw failure ?? damaged('gzip', error as Error);
  }
}

async function* unzstd(packed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const unpacked: Buffer[] = [];
  const decompress = new Decompress((data) => void unpacked.push(Buffer.from(data)));
  const feed = (bytes: Buffer, final: boolean) => {
    try {
      decompress.push(bytes, final);
    } catch (error) {
      throw damaged('zstd', error as Error);
    }
  };
  for await (const chunk of packed)
    for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
      feed(chunk.subarray(at, at + SLICE_BYTES), false);
      for (let next = unpacked.shift(); next !== undefined; next = unpacked.shift()) yield next;
    }
  feed(Buffer.alloc(0), true);
  yield* unpacked;
}

function damaged(packing: Packing, error: Error): NotReadable {
  return /unexpected (end of file|EOF)/i.test(error.message)
    ? new NotReadable('cut_off', `the ${packing} stream ends before its end`)
    : new NotReadable('damaged', `the ${packing} stream is damaged: ${error.message}`);
}

/** Lets no more through than a file may have, and no more than a packed file can honestly hold. */
export class InflationLimit extends Transform {
  private bytes = 0;

  constructor(
    private readonly packedBytes: number,
    private readonly maxBytes: number,
  ) {
    super();
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    this.bytes += chunk.length;
    if (this.bytes > this.maxBytes)
      return done(
        new NotReadable('too_large', `more than ${this.maxBytes} bytes when unpacked (${this.packedBytes} packed)`),
      );
    if (this.bytes > RATIO_FROM_BYTES && this.bytes > this.packedBytes * MAX_RATIO)
      return done(
        new NotReadable(
          'bomb',
          `${this.packedBytes} bytes unpack to more than ${MAX_RATIO} times as many: no listens do`,
        ),
      );
    done(undefined, chunk);
  }
}
