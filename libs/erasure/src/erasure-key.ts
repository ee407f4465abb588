import { createHash, createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { LastingError } from '@music/errors';
import type { Engine } from '@music/duckdb';

/** Thrown where the key for the hashes of forgotten users is missing or too short. */
export class NoErasureKey extends LastingError {}

const LEAST_BYTES = 32;
const BLOCK_BYTES = 64; // of SHA-256

/**
 * The secret by which ids of users become hashes that nobody else can find the ids by: HMAC-SHA-256. The same id has the
 * same hash as long as the key is the same.
 */
export class ErasureKey {
  private constructor(private readonly key: Buffer) {}

  /** The key in a file, blanks around it left out. Throws NoErasureKey, which says what to do. */
  static read(file: string | undefined): ErasureKey {
    if (file === undefined)
      throw new NoErasureKey(
        'ERASURE_KEY_FILE is not set: it names the file with the key of the hashes of forgotten users',
      );
    let key: string;
    try {
      key = readFileSync(file, 'utf8').trim();
    } catch (error) {
      throw new NoErasureKey(`ERASURE_KEY_FILE cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'error'}`);
    }
    if (Buffer.byteLength(key) < LEAST_BYTES)
      throw new NoErasureKey(
        `the key of ERASURE_KEY_FILE has less than ${LEAST_BYTES} bytes: make one, as by \`openssl rand -hex 32\``,
      );
    return new ErasureKey(Buffer.from(key));
  }

  hash(id: string): string {
    return createHmac('sha256', this.key).update(id).digest('hex');
  }

  /** Makes a table `erasure_pads`, by which `hashSql` computes the same in the engine. The key is in no statement. */
  async define(engine: Engine): Promise<void> {
    const block = Buffer.alloc(BLOCK_BYTES);
    (this.key.length > BLOCK_BYTES ? createHash('sha256').update(this.key).digest() : this.key).copy(block);
    const pad = (byte: number) => Buffer.from(block.map((each) => each ^ byte)).toString('hex');
    await engine.run(
      'CREATE OR REPLACE TABLE erasure_pads AS SELECT unhex($inner) AS inner_pad, unhex($outer) AS outer_pad',
      {
        inner: pad(0x36),
        outer: pad(0x5c),
      },
    );
  }
}

/** SQL of the hash of an id, where `erasure_pads` is joined. */
export const hashSql = (id: string): string => `sha256(outer_pad || unhex(sha256(inner_pad || encode(${id}))))`;
