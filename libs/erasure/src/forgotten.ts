import type { Engine } from '@music/duckdb';
import { type ErasureKey, hashSql } from './erasure-key';

const ROWS_AT_ONCE = 1_000;
const FORGOTTEN_IDS = 'forgotten_ids';

/** The users who are forgotten, as an engine finds them: by the hashes of their ids. */
export class Forgotten {
  private constructor(private readonly engine: Engine) {}

  /** `hashes`: of this key. */
  static async open(engine: Engine, key: ErasureKey, hashes: readonly string[]): Promise<Forgotten> {
    await key.define(engine);
    await engine.run('CREATE OR REPLACE TABLE forgotten_hashes (hash VARCHAR)');
    for (let i = 0; i < hashes.length; i += ROWS_AT_ONCE)
      await engine.run('INSERT INTO forgotten_hashes SELECT unnest(string_split($hashes, $comma))', {
        hashes: hashes.slice(i, i + ROWS_AT_ONCE).join(','),
        comma: ',',
      });
    return new Forgotten(engine);
  }

  /** Leaves those of some ids that are forgotten in a table with the column `user_id`. Gives how many there are. */
  async findAmong(ids: string, table = FORGOTTEN_IDS): Promise<number> {
    await this.engine.run(
      `CREATE OR REPLACE TABLE ${table} AS
       SELECT ids.user_id FROM (SELECT DISTINCT user_id FROM (${ids}) AS rows WHERE user_id IS NOT NULL) AS ids, erasure_pads
       WHERE ${hashSql('ids.user_id')} IN (SELECT hash FROM forgotten_hashes)`,
    );
    return this.engine.count(`SELECT count(*) FROM ${table}`);
  }
}

/** SQL that is true of rows of users in a table of `findAmong`. */
export const isForgotten = (table = FORGOTTEN_IDS): string => `user_id IN (SELECT user_id FROM ${table})`;
