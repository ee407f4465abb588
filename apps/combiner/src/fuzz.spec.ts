import { referenceDate, referenceListen, referenceTable } from '@music/local-pipeline';
import fc from 'fast-check';
import { Combining } from './combining.fixture';

jest.setTimeout(900_000);

/** Batches of files that are made up. */
const BATCHES = process.env['FAULTS'] === 'all' ? 60 : 8;
const FILES = 40;
const ZONE = 'America/New_York';
const COLUMNS = ['user_id', 'track_id', 'listen_time'];

// ---- files that fit the contract, as odd as RFC 4180 lets them be

const oddText = fc.string({
  unit: fc.constantFrom(
    'a',
    'B',
    '7',
    ' ',
    ',',
    '"',
    "'",
    '\n',
    ';',
    '\t',
    '#',
    '\\',
    '%',
    'é',
    '🎵',
    '\u00a0',
    '-',
    '=',
    '0',
  ),
  maxLength: 12,
});
const id = fc.oneof(
  { weight: 5, arbitrary: fc.stringMatching(/^[a-z0-9]{1,6}$/) },
  { weight: 2, arbitrary: oddText },
  { weight: 1, arbitrary: fc.constantFrom('', ' ', '\t', '007', '1e3', '-1', 'null', 'NULL', 'NaN', '1.0') },
);
const two = (max: number) => fc.integer({ min: 0, max }).map((n) => String(n).padStart(2, '0'));
const goodTime = fc
  .record({
    year: fc.integer({ min: 1, max: 9_998 }).map((year) => String(year).padStart(4, '0')),
    month: two(13),
    day: two(32),
    hour: two(24),
    minute: two(60),
    second: two(60),
    between: fc.constantFrom(' ', 'T'),
    fraction: fc.constantFrom('', '.1', '.12', '.123', '.1234', '.', ',5'),
    zone: fc.constantFrom(
      '',
      'Z',
      '+00',
      '+02:00',
      '-0730',
      '+14:00',
      '-12',
      '+5',
      ' Z',
      'z',
      '+24:00',
      '+02:60',
      'CET',
    ),
  })
  .map(
    ({ year, month, day, hour, minute, second, between, fraction, zone }) =>
      `${year}-${month}-${day}${between}${hour}:${minute}:${second}${fraction}${zone}`,
  );
const plainTime = fc
  .record({ day: two(27), hour: two(23), minute: two(59) })
  .map(({ day, hour, minute }) => `2024-06-${String(Number(day) + 1).padStart(2, '0')} ${hour}:${minute}:00`);
const time = fc.oneof(
  { weight: 6, arbitrary: plainTime },
  { weight: 5, arbitrary: goodTime },
  { weight: 1, arbitrary: oddText },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '',
      '2024-02-30 00:00:00',
      '0000-01-01 00:00:00',
      '10000-01-01 00:00:00',
      '2024-06-25',
      '1719309600',
      '2024-6-5 1:2:3',
      ' 2024-06-25 10:00:00 ',
      '2024-06-30 23:59:60',
    ),
  },
);
const file = fc
  .record({
    columns: fc
      .shuffledSubarray([...COLUMNS, 'device', 'x y', ''], { minLength: 6, maxLength: 6 })
      .chain((all) =>
        fc
          .subarray(['device', 'x y', ''])
          .map((extra) => all.filter((name) => COLUMNS.includes(name) || extra.includes(name))),
      ),
    rows: fc.array(
      fc.record({
        user_id: id,
        track_id: id,
        listen_time: time,
        other: oddText,
        cut: fc.constantFrom(...Array<number>(12).fill(0), 1, 2, -1),
      }),
      { minLength: 1, maxLength: 12 },
    ),
    quoteAll: fc.boolean(),
    lineEnd: fc.constantFrom('\n', '\r\n'),
    bom: fc.constantFrom('', '', '\ufeff'),
    lastLineEnd: fc.boolean(),
  })
  .map(({ columns, rows, quoteAll, lineEnd, bom, lastLineEnd }) => {
    const field = (text: string) => (quoteAll || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const lines = rows.map(({ cut, other, ...row }) => {
      const fields = columns.map((name) => (row as Record<string, string>)[name] ?? other);
      // Rows that end early, or go on.
      return (cut > 0 ? fields.slice(0, -cut) : cut < 0 ? [...fields, other] : fields).map(field).join(',');
    });
    return bom + [columns.map(field).join(','), ...lines].join(lineEnd) + (lastLineEnd ? lineEnd : '');
  });

/** What the reference makes of a file: each listen, and how many rows of each reason. */
function expected(text: string): { rows: number; rejected: Record<string, number>; listens: string[] } {
  const [header = [], ...rows] = referenceTable(text);
  const rejected: Record<string, number> = {};
  const listens: string[] = [];
  for (const row of rows) {
    const fields = Object.fromEntries(header.map((name, i) => [name, row[i] ?? '']));
    const beyond = row.slice(header.length);
    // One comma too many at the end of a row is no harm.
    const listen = beyond.length > 1 || beyond.join('') !== '' ? 'malformed_row' : referenceListen(fields);
    if (typeof listen === 'string') rejected[listen] = (rejected[listen] ?? 0) + 1;
    else
      listens.push(
        JSON.stringify([
          listen.user,
          listen.track,
          new Date(listen.instant).toISOString().replace('Z', `${String(listen.micros).padStart(3, '0')}Z`),
          referenceDate(ZONE, listen.instant),
        ]),
      );
  }
  return { rows: rows.length, rejected, listens: listens.sort() };
}

describe('made-up files', () => {
  let combining: Combining;
  beforeAll(async () => {
    combining = await Combining.start();
  });
  afterAll(() => combining.stop());

  async function combined(texts: readonly string[]): Promise<ReturnType<typeof expected>[]> {
    const { evidence, rows } = await combining.combine(texts, { zones: { source: 'UTC', kpi: ZONE } });
    const listensOf = new Map<unknown, string[]>();
    for (const [file, user, track, at, day] of rows)
      listensOf.set(file, [
        ...(listensOf.get(file) ?? []),
        JSON.stringify([user, track, `${String(at).replace(' ', 'T')}Z`, day]),
      ]);
    return evidence.files.map(({ file, rows: read, rejected, defect }) => {
      if (defect !== undefined) throw new Error(`${defect} in ${JSON.stringify(texts[file])}`);
      return { rows: read, rejected, listens: (listensOf.get(file) ?? []).sort() };
    });
  }

  it(`are read as the reference reads them, row by row: ${BATCHES * FILES} files`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(file, { minLength: FILES, maxLength: FILES }), async (texts) => {
        const seen = await combined(texts);
        texts.forEach((text, i) => expect({ text, ...seen[i] }).toEqual({ text, ...expected(text) }));
      }),
      { numRuns: BATCHES, endOnFailure: true },
    );
  });
});
