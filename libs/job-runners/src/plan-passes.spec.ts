import type { LakeObject } from '@music/lake';
import { planPasses } from './plan-passes';

const object = (size: number): LakeObject => ({ bucket: 'lake', key: 'k', etag: 'e', run: 'r', size });

describe('passes', () => {
  it('take small days together, in order, and large ones alone', () => {
    const sizes = [10, 10, 200, 10, 95, 10];
    const days = sizes.map((size, i) => ({ date: `2024-06-0${i + 1}`, objects: [object(size)] }));
    expect(planPasses(days, 100).map(({ dates, bytes }) => [dates.length, bytes])).toEqual([
      [2, 20],
      [1, 200],
      [1, 10],
      [1, 95],
      [1, 10],
    ]);
  });

  it('end with so many objects, and keep days without any', () => {
    const days = Array.from({ length: 600 }, (_, i) => ({ date: String(i), objects: i % 2 === 0 ? [object(1)] : [] }));
    expect(planPasses(days, 1_000).map(({ dates }) => dates.length)).toEqual([500, 100]);
    expect(planPasses([], 100)).toEqual([]);
  });
});
