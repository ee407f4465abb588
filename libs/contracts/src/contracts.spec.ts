import { CONTRACTS, LISTEN_TIME, addCounts, ambiguousColumns, missingColumns, totalOf } from './index';

describe('a contract', () => {
  it('names what a header lacks, in its own order', () => {
    expect(missingColumns(CONTRACTS.streams, ['listen_time', 'x'])).toEqual(['user_id', 'track_id']);
    expect(missingColumns(CONTRACTS.users, ['user_country', 'user_name', 'user_age', 'user_id'])).toEqual([]);
  });

  it('does not guess which of two equal columns is meant', () => {
    expect(ambiguousColumns(CONTRACTS.streams, ['user_id', 'track_id', 'listen_time', 'user_id', 'x', 'x'])).toEqual([
      'user_id',
    ]);
  });
});

describe('listen_time', () => {
  const fits = (text: string) => new RegExp(`^${LISTEN_TIME}$`).test(text);
  it.each([
    '2024-06-25 10:00:00',
    '2024-06-25T10:00:00.5',
    '2024-06-25 10:00:00.123Z',
    '2024-06-25T10:00:00+0200',
    '2024-06-25T10:00:00-03:30',
    '2024-06-25T10:00:00+02',
    '2024-06-25t10:00:00.123456789z',
    '2024-06-25 10:00:00.123456 UTC',
    '2024-06-25 10:00:00 GMT',
    '2024-06-25 10:00:00.000 +0000',
  ])('has the form %s', (text) => expect(fits(text)).toBe(true));
  it.each([
    '2024-06-25',
    '2024-6-25 10:00:00',
    '25.06.2024 10:00:00',
    '2024-06-25 10:00',
    '2024-06-25 10:00:00.1234567890',
    '1719309600',
    '2024-06-25 10:00:00 CET',
    '2024-06-25  10:00:00',
  ])('has not the form %s', (text) => expect(fits(text)).toBe(false));
});

it('adds counts up and leaves out what did not happen', () => {
  const sum = addCounts({ duplicate: 2, missing_user_id: 0 }, { duplicate: 1, invalid_listen_time: 4 });
  expect(sum).toEqual({ duplicate: 3, invalid_listen_time: 4 });
  expect(totalOf(sum)).toBe(7);
});
