import { Readable } from 'node:stream';
import { CsvInspector } from './inspect-csv';

/** Inspects the bytes in chunks of every size, since a chunk may end anywhere. */
async function inspect(bytes: Buffer): Promise<string | undefined> {
  const found = new Set<string | undefined>();
  for (let size = 1; size <= bytes.length; size += 1) {
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    );
    const inspector = new CsvInspector();
    const out: Buffer[] = [];
    for await (const chunk of Readable.from(chunks).pipe(inspector)) out.push(chunk as Buffer);
    expect(Buffer.concat(out)).toEqual(bytes);
    found.add(inspector.result().defect);
  }
  expect(found.size).toBe(1);
  return [...found][0];
}

describe('the bytes of a CSV file', () => {
  it.each([
    ['plain', 'a,b\n1,2\n'],
    ['quoted commas, quotes and line breaks', 'a,b\r\n"x,""y""\n","z"\r\n'],
    ['a quote at the very end', 'a,b\n1,"2"'],
    ['an empty quoted field at the end', 'a,b\n1,""'],
    ['a quote inside an unquoted field', 'a,b\n5" disk,2\n'],
    ['characters of two, three and four bytes', 'a,b\né,…🎵\n'],
    ['a byte order mark before a quote', '\ufeff"a",b\n1,2\n'],
  ])('are fine: %s', async (_, text) => expect(await inspect(Buffer.from(text))).toBeUndefined());

  it.each([
    ['unterminated_quote', 'a,b\n1,"2\n'],
    ['unterminated_quote', 'a,b\n1,"2""'],
    ['unterminated_quote', '\ufeff"a,b\n'],
    ['not_utf8', Buffer.from('a,b\n\xe9,2\n', 'latin1')],
    ['not_utf8', Buffer.from('a,b\n', 'utf16le')],
    ['not_utf8', Buffer.from('a,b\né').subarray(0, -1)],
    ['not_utf8', Buffer.from([0xed, 0xa0, 0x80, 0x0a])], // half of a surrogate pair
  ])('have the defect %s', async (defect, text) => expect(await inspect(Buffer.from(text))).toBe(defect));

  it('names the byte that is wrong', async () => {
    const inspector = new CsvInspector();
    Readable.from([Buffer.from('ab'), Buffer.from([0x63, 0xff, 0x64])])
      .pipe(inspector)
      .resume();
    await new Promise((resolve) => inspector.on('end', resolve));
    expect(inspector.result().detail).toBe('byte 3 is not UTF-8');
  });
});
