import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { copySuspects } from './copy-suspects';
import type { Delimiter } from './reading';

describe('lines that look as if they lacked a value', () => {
  let dir: string;
  beforeEach(async () => void (dir = await mkdtemp(path.join(tmpdir(), 'suspects-'))));
  afterEach(() => rm(dir, { recursive: true }));

  const copy = async (text: string, { delimiter = ',' as Delimiter, inside = true } = {}) => {
    const file = path.join(dir, 'file');
    const to = path.join(dir, 'suspects');
    await writeFile(file, text);
    const done = await copySuspects({ file, delimiter, inside }, to);
    return done ? readFile(to, 'utf8') : undefined;
  };

  it.each([
    ['the first value', 'a,b,c\n1,2,3\n,2,3\n', ',a,b,c\n2,,2,3\n'],
    ['the last one', 'a,b,c\n1,2,\n1,2,3\n', ',a,b,c\n1,1,2,\n'],
    ['the last one of a file without a line end', 'a,b,c\n1,2,3\n1,2,', ',a,b,c\n2,1,2,\n'],
    ['one inside', 'a,b,c\n1,2,3\n1,2,3\n1,,3\n', ',a,b,c\n3,1,,3\n'],
    ['one in quotes', 'a,b,c\n"",2,3\n"1",2,3\n1,"",3\n1,2,""\n', ',a,b,c\n1,"",2,3\n3,1,"",3\n4,1,2,""\n'],
    ['all', 'a,b,c\n,,\n', ',a,b,c\n1,,,\n'],
    ['none', 'a,b,c\n1,2,3\n', ',a,b,c\n'],
  ])('are found, with their places: %s', async (_, text, suspects) => {
    expect(await copy(text)).toBe(suspects);
  });

  it('are found between other delimiters', async () => {
    expect(await copy('a|b|c\n1|2|3\n|,,|3\n1||3\n', { delimiter: '|' })).toBe('|a|b|c\n2||,,|3\n3|1||3\n');
  });

  it('are not looked for inside where nothing lacks there', async () => {
    expect(await copy('a,b,c\n1,,3\n,2,3\n', { inside: false })).toBe(',a,b,c\n2,,2,3\n');
  });

  it('are found wherever the file is cut to be read', async () => {
    const every = 1_000;
    const rows = Array.from({ length: 150_000 }, (_, i) => (i % every === 0 ? `,${'t'.repeat(i % 97)},3` : `${i},2,3`));
    const suspects = rows.flatMap((row, i) => (i % every === 0 ? [`${i + 1},${row}\n`] : []));
    expect(await copy(`a,b,c\n${rows.join('\n')}\n`)).toBe(`,a,b,c\n${suspects.join('')}`);
  });

  it.each([
    ['a line is empty', 'a,b,c\n\n,2,3\n'],
    ['they are most of a large file', `a,b,c\n${',2,3\n'.repeat(1_000_000)}`],
  ])('are not copied where %s', async (_, text) => {
    expect(await copy(text)).toBeUndefined();
    expect(await readdir(dir)).toEqual(['file']);
  });
});
