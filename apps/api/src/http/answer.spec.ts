import fc from 'fast-check';
import { parse } from 'csv-parse/sync';
import { toCsv } from './answer';
import { Column } from './row';

class Row {
  @Column('A text.') readonly name!: string;
  @Column('A number.', { type: 'number' }) readonly count!: number;
  @Column('Maybe.', { required: false }) readonly note?: string;
}

describe('rows as CSV', () => {
  it('have a header, the columns of their class, and empty cells for what is not there', () => {
    expect(toCsv(Row, [{ count: 2, name: 'a' }])).toBe('name,count,note\r\na,2,\r\n');
    expect(toCsv(Row, [])).toBe('name,count,note\r\n');
  });

  it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\tx', '\rx', '=cmd|" /C calc"!A0'])('make %j no formula', (name) => {
    const [row] = parse<{ name: string }>(toCsv(Row, [{ name, count: 1 }]), { columns: true });
    expect(row?.name).toBe(`'${name}`);
  });

  it('keep every text as it is, whatever it holds', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.integer(), (text, count) => {
        const name = `x${text}`;
        const [row] = parse<{ name: string; count: string }>(toCsv(Row, [{ name, count }]), {
          columns: true,
          recordDelimiter: '\r\n',
        });
        return row?.name === name && Number(row.count) === count;
      }),
    );
  });
});
