import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BLANKS } from '@music/contracts';
import { describeError } from '@music/errors';
import { text } from '@music/duckdb';
import { type StoredObject, ensureRoom } from '@music/storage';
import { ulid } from 'ulid';
import type { Erased, ErasureContext } from './erase';
import { removeOldVersions } from './remove-for-good';
import { isForgotten } from './forgotten';

/** What parts fields in the forms that are read. */
const BETWEEN_FIELDS = String.raw`[,;\t|"'{}\[\]:]`;
/** A byte that no text has: all of a line is one column. */
const NO_DELIMITER = '\\x1f';
/** A line longer than this is no row of anything that is read. Bytes. */
const MOST_LINE_BYTES = 2 ** 21; // the engine sets 16 times as much aside

/**
 * Takes the rows of forgotten users out of a text: of CSV of our own those whose `user_id` is one, of any other the lines
 * in which a field is one. What is no text is left, and said so.
 */
export async function eraseFromText(
  { objects, engine, forgotten, dir, dryRun }: ErasureContext,
  object: StoredObject,
  form: 'csv' | 'lines',
  erased: Erased,
): Promise<void> {
  await ensureRoom(dir, 2 * object.size, 'to look for forgotten users');
  const file = path.join(dir, ulid());
  const out = `${file}-kept`;
  const where = `s3://${object.bucket}/${object.key}`;
  try {
    await pipeline(await objects.open(object), createWriteStream(file));
    const rows =
      form === 'csv'
        ? `SELECT * FROM read_csv(${text(file)}, all_varchar = true, header = true, delim = ',', quote = '"', escape = '"')`
        : `SELECT line FROM read_csv(${text(file)}, columns = {'line': 'VARCHAR'}, header = false, auto_detect = false, delim = '${NO_DELIMITER}', quote = '', escape = '', max_line_size = ${MOST_LINE_BYTES}, null_padding = true)`;
    const fields = `SELECT trim(field, ${text(BLANKS)}) AS user_id FROM (SELECT unnest(regexp_split_to_array(line, ${text(BETWEEN_FIELDS)})) AS field FROM (${rows}) AS lines)`;
    if ((await forgotten.findAmong(form === 'csv' ? `SELECT user_id FROM (${rows}) AS rows` : fields)) === 0) return;
    erased.rewritten.push(where);
    if (dryRun) return;
    const kept =
      form === 'csv'
        ? `SELECT * FROM (${rows}) AS rows WHERE user_id IS NULL OR NOT ${isForgotten()}`
        : `SELECT line FROM (${rows}) AS lines WHERE line IS NULL OR NOT EXISTS (SELECT 1 FROM forgotten_ids WHERE list_contains(list_transform(regexp_split_to_array(line, ${text(BETWEEN_FIELDS)}), field -> trim(field, ${text(BLANKS)})), forgotten_ids.user_id))`;
    const options = form === 'csv' ? 'HEADER' : `HEADER false, DELIMITER '${NO_DELIMITER}', QUOTE '', ESCAPE ''`;
    await engine.run(`COPY (${kept}) TO ${text(out)} (FORMAT csv, ${options})`);
    await objects.uploadOver(object, object.bucket, object.key, out);
    await removeOldVersions(objects, object);
  } catch (error) {
    if (!/^(Invalid Input|Conversion|Invalid unicode)/i.test((error as Error).message)) throw error;
    erased.left.push({ object: where, why: `it could not be read as text: ${describeError(error, 200)}` });
  } finally {
    await Promise.all([file, out].map((each) => rm(each, { force: true })));
  }
}
