import type { ObjectRef } from '@music/events';
import type { Stores } from '@music/service';

/** What was read of objects, which an etag names for ever. */
const read = new Map<string, Promise<unknown>>();
const KEPT = 8;

/** An object's JSON, read once as long as it is among the last that were asked for. */
export function readOnce<T>(objects: Stores['objects'], ref: ObjectRef): Promise<T> {
  const name = `${ref.bucket}/${ref.key}/${ref.etag}`;
  const known = read.get(name) as Promise<T> | undefined;
  if (known !== undefined) return known;
  const json = objects.readJson<T>(ref);
  read.set(name, json);
  json.catch(() => read.delete(name));
  for (const oldest of read.keys()) {
    if (read.size <= KEPT) break;
    read.delete(oldest);
  }
  return json;
}
