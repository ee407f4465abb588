import { LastingError, describeError, isLasting } from './index';

class Broken extends LastingError {}

it('tells lasting errors from passing ones', () => {
  expect(isLasting(new Broken('x'))).toBe(true);
  expect(isLasting(new Error('x'))).toBe(false);
  expect(isLasting(undefined)).toBe(false);
});

it('describes an error in one line with its causes', () => {
  expect(describeError(new Broken('a\nb\u001b[31m', { cause: new TypeError('deep') }))).toBe(
    'Broken: a b [31m <- TypeError: deep',
  );
  expect(describeError(new Error('x'.repeat(50)), 10)).toHaveLength(10);
});
