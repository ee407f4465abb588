import { type AtOnce, type Fetched, fetchAhead, groupFiles } from './fetch-file';

const MOST: AtOnce = { files: 4, bytes: 100, firstBytes: 30 };

const fetched = (file: number, size: number, columns: readonly string[] = []): Fetched => ({
  path: `${file}.rows`,
  readable: true,
  form: 'csv',
  delimiter: ',',
  names: [],
  types: [],
  sequential: false,
  plain: true,
  size,
  evidence: { file, key: `streams/${file}.csv`, columns },
});

async function* each<T>(values: readonly T[]): AsyncGenerator<T> {
  for (const value of values) yield await Promise.resolve(value);
}

async function groupsOf(files: readonly Fetched[], stored: readonly { size: number }[] = files): Promise<number[][]> {
  const groups: number[][] = [];
  for await (const group of groupFiles(each(files), stored, MOST))
    groups.push(group.map(({ evidence }) => evidence.file));
  return groups;
}

describe('files that are read by one statement', () => {
  it('are soon enough for the first one, and then many', async () => {
    expect(await groupsOf([40, 40, 40, 40, 40].map((size, i) => fetched(i, size)))).toEqual([[0], [1, 2], [3, 4]]);
    expect(await groupsOf([10, 10, 10, 10, 10].map((size, i) => fetched(i, size)))).toEqual([
      [0, 1, 2],
      [3, 4],
    ]);
  });

  it('are one alone where it is larger, and no more than so many', async () => {
    expect(await groupsOf([500, 1, 1, 1, 1, 1, 500].map((size, i) => fetched(i, size)))).toEqual([
      [0],
      [1, 2, 3, 4],
      [5],
      [6],
    ]);
  });

  it('have the same header', async () => {
    const files = [fetched(0, 1, ['a']), fetched(1, 1, ['a']), fetched(2, 1, ['b']), fetched(3, 1, ['a'])];
    expect(await groupsOf(files)).toEqual([[0, 1], [2], [3]]);
  });

  it('are as large as they are unpacked', async () => {
    const files = [fetched(0, 80), fetched(1, 80), fetched(2, 80)];
    expect(await groupsOf(files, [{ size: 8 }, { size: 8 }, { size: 8 }])).toEqual([[0], [1], [2]]);
  });

  it('wait for none that cannot be among them', async () => {
    let isThere: () => void = () => undefined;
    const late = new Promise<void>((resolve) => (isThere = resolve));
    const files = (async function* () {
      yield fetched(0, 90);
      await late;
      yield fetched(1, 90);
    })();
    const groups = groupFiles(files, [{ size: 90 }, { size: 90 }], MOST);
    const first = await groups.next();
    expect((first.value as Fetched[]).map(({ evidence }) => evidence.file)).toEqual([0]);
    isThere();
    expect((await groups.next()).value).toHaveLength(1);
    expect((await groups.next()).done).toBe(true);
  });
});

describe('files that are fetched ahead', () => {
  it('come one by one at first, then as many as fit', async () => {
    const begun: number[] = [];
    const files = [20, 20, 20, 20, 20, 20, 20].map((size, file) => ({ file, size }));
    const ahead = fetchAhead(files, MOST, ({ file, size }) => {
      begun.push(file);
      return Promise.resolve(fetched(file, size));
    });
    expect(begun).toEqual([0]);
    await ahead.next();
    expect(begun).toEqual([0, 1, 2, 3, 4]); // four files at once
    await ahead.next();
    expect(begun).toEqual([0, 1, 2, 3, 4, 5]);
    await ahead.return(undefined);
  });

  it('come in their order, and all have ended when one fails', async () => {
    const ended: number[] = [];
    const files = [1, 2, 3].map((size, file) => ({ file, size }));
    const ahead = fetchAhead(files, MOST, async ({ file, size }) => {
      await new Promise((resolve) => setTimeout(resolve, 30 - 10 * file));
      ended.push(file);
      if (file === 0) throw new Error('the store is down');
      return fetched(file, size);
    });
    await expect(ahead.next()).rejects.toThrow('the store is down');
    expect(ended.sort()).toEqual([0, 1, 2]);
  });
});
