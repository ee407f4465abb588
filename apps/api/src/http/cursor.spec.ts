import { cursorTo, placeOf } from './cursor';
import { ProblemError } from './problem';

const isPlace = ({ after }: { after?: unknown }) => Number.isSafeInteger(after);
const QUESTION = { state: 'failed', limit: 10 };
const kindOf = (cursor: string, of: object = QUESTION, now = Date.now()) => {
  try {
    return placeOf<{ after: number }>(cursor, of, isPlace, now);
  } catch (error) {
    return error instanceof ProblemError ? error.kind : error;
  }
};

describe('a cursor', () => {
  it('leads to its place, for the same question, whatever order it is asked in', () => {
    const cursor = cursorTo({ after: 7 }, QUESTION);
    expect(kindOf(cursor)).toEqual({ after: 7 });
    expect(kindOf(cursor, { limit: 10, state: 'failed', kind: undefined, cursor })).toEqual({ after: 7 });
  });

  it('is refused for another question', () => {
    expect(kindOf(cursorTo({ after: 7 }, QUESTION), { ...QUESTION, limit: 11 })).toBe('foreign-cursor');
  });

  it('expires after an hour', () => {
    const now = Date.parse('2026-03-01T10:00:00Z');
    const cursor = cursorTo({ after: 7 }, QUESTION, now);
    expect(kindOf(cursor, QUESTION, now + 3_599_000)).toEqual({ after: 7 });
    expect(kindOf(cursor, QUESTION, now + 3_600_000)).toBe('expired-cursor');
  });

  it.each([
    ['', 'nothing'],
    ['abc', 'no JSON'],
    ['%%%', 'no base64'],
    ['x'.repeat(3_000), 'too long'],
    [Buffer.from('null').toString('base64url'), 'no object'],
    [Buffer.from('{"place":[],"at":"now"}').toString('base64url'), 'no place'],
    [cursorTo({ after: 'x' }, QUESTION), 'a place that is none'],
  ])('is refused where it is none: %s', (cursor) => {
    expect(kindOf(cursor)).toBe('invalid-cursor');
  });
});
