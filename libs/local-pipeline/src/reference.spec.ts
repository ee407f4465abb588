import { dayAfter, referenceListen, referenceOf, referenceTable } from './index';

// What others are held against must itself be right where it is easiest to be wrong.
describe('the reference', () => {
  it('reads quotes, line breaks in them, empty lines and a missing last line end as RFC 4180 has them', () => {
    expect(referenceTable('\ufeffa,b\r\n"x, ""y""\nz",\n\n""\n1,2')).toEqual([
      ['a', 'b'],
      ['x, "y"\nz', ''],
      [''],
      ['1', '2'],
    ]);
  });

  it.each([
    ['2024-06-25 10:00:00', '2024-06-25T10:00:00.000Z'],
    ['2024-06-25T10:00:00.5+02:00', '2024-06-25T08:00:00.500Z'],
    ['0001-01-01 00:00:00', '0001-01-01T00:00:00.000Z'],
    ['2024-02-29 23:59:59Z', '2024-02-29T23:59:59.000Z'],
    ['2023-02-29 00:00:00', 'invalid_listen_time'],
    ['0000-01-01 00:00:00', 'invalid_listen_time'],
    ['2024-06-25 24:00:00', 'invalid_listen_time'],
    ['2024-06-25 10:00:00+19:00', 'invalid_listen_time'],
    ['\t', 'missing_listen_time'],
  ])('takes %j for %s', (listen_time, expected) => {
    const listen = referenceListen({ user_id: 'u', track_id: 't', listen_time });
    expect(typeof listen === 'string' ? listen : new Date(listen.instant).toISOString()).toBe(expected);
  });

  it('counts a repeated listen once, and a track in each of its genres', () => {
    const listen = { user_id: 'u', track_id: 't', listen_time: '2024-06-25 10:00:00' };
    const song = { track_id: 't', track_name: 'T', artists: 'A', duration_ms: '90000', popularity: '1' };
    const { rows, days } = referenceOf(
      [listen, listen, { ...listen, user_id: '' }],
      [
        { ...song, track_genre: 'ska' },
        { ...song, track_genre: 'dub' },
      ],
    );
    expect(rows).toEqual({ read: 3, kept: 1, rejected: { duplicate: 1, missing_user_id: 1 } });
    expect(days).toMatchObject([
      {
        listen_count: 1,
        genres: [
          { genre: 'dub', total_listening_time: 1.5 },
          { genre: 'ska', listen_count: 1 },
        ],
      },
    ]);
  });
});

it('knows the day after a day', () => {
  expect(dayAfter('2026-12-31', 1)).toBe('2027-01-01');
  expect(dayAfter('2026-03-01', -1)).toBe('2026-02-28');
});
