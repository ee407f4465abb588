import { describeRun, number, printable, table, yesterday } from './index';

it('aligns columns, with numbers to the right and thousands separated', () => {
  expect(
    table(
      ['genre', 'listens'],
      [
        ['pop', 1_234_567],
        ['été 🎵', 5],
      ],
    ),
  ).toBe('genre     listens\npop     1,234,567\nété 🎵          5');
  expect(number(1_234.5)).toBe('1,234.5');
});

it('lets no data command the terminal', () => {
  expect(printable('a\u001b[2Jb\u202ec\n')).toBe('a\ufffd[2Jb\ufffdc\ufffd');
  expect(table(['x'], [['\u001b]0;title\u0007']])).not.toContain('\u001b');
});

it('knows which day was yesterday where', () => {
  const now = new Date('2024-03-10T02:30:00Z');
  expect(yesterday('UTC', now)).toBe('2024-03-09');
  expect(yesterday('America/New_York', now)).toBe('2024-03-08');
});

it('shows first the files that need a look', () => {
  const file = (key: string, state: 'archived' | 'rejected') => ({
    key,
    state,
    reason: state === 'rejected' ? 'missing_columns' : undefined,
  });
  const text = describeRun({
    run_id: 'r',
    kind: 'manual',
    logical_date: '2024-06-25',
    state: 'completed',
    requested_at: '',
    reasons: [],
    notes: undefined,
    findings: [],
    days: [],
    stages: [],
    files: [...Array.from({ length: 30 }, (_, i) => file(`good-${i}`, 'archived')), file('bad', 'rejected')],
    rows: { read: 1_000, kept: 900, rejected: { duplicate: 100 } },
  });
  expect(text.indexOf('bad')).toBeLessThan(text.indexOf('good-0'));
  expect(text).toContain('… and 11 more files');
  expect(text).toContain('rows: 1,000 read, 900 kept, 100 duplicate');
});
