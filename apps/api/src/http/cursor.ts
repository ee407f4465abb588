import { createHash } from 'node:crypto';
import { ProblemError } from './problem';

const GOOD_FOR_MS = 60 * 60_000;
const CURSOR = /^[\w-]{1,2048}$/;

/** Where a list goes on, as text that only this service understands. `of`: what was asked for, all but the cursor. */
export function cursorTo(place: object, of: object, now = Date.now()): string {
  return Buffer.from(JSON.stringify({ place, of: hash(of), at: now })).toString('base64url');
}

/**
 * The place of a cursor. Throws where it is none, belongs to another question, or is too old. What it holds is checked
 * by `isPlace`: a cursor comes from outside.
 */
export function placeOf<T extends object>(
  cursor: string,
  of: object,
  isPlace: (place: Partial<Record<keyof T, unknown>>) => boolean,
  now = Date.now(),
): T {
  let parsed: { place?: unknown; of?: unknown; at?: unknown };
  try {
    if (!CURSOR.test(cursor)) throw new Error('not base64url');
    parsed = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as typeof parsed;
    if (typeof parsed.place !== 'object' || parsed.place === null || typeof parsed.at !== 'number')
      throw new Error('no place');
    if (!isPlace(parsed.place as Partial<Record<keyof T, unknown>>)) throw new Error('no place');
  } catch {
    throw wrongCursor('invalid-cursor', 'is none of this service: begin again without one');
  }
  if (parsed.of !== hash(of))
    throw wrongCursor('foreign-cursor', 'belongs to another question: keep all other parameters as they were');
  if (!(now - parsed.at < GOOD_FOR_MS))
    throw wrongCursor('expired-cursor', 'is older than an hour: begin again without one');
  return parsed.place as T;
}

function wrongCursor(kind: string, detail: string): ProblemError {
  return new ProblemError(400, kind, `the cursor ${detail}`, { errors: [{ field: 'cursor', detail }] });
}

function hash(of: object): string {
  const entries = Object.entries(of).filter(([name, value]) => name !== 'cursor' && value !== undefined);
  return createHash('sha256').update(JSON.stringify(entries.sort())).digest('base64url').slice(0, 16);
}
