import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Engine } from '@music/duckdb';
import { ErasureKey } from './erasure-key';
import { Forgotten } from './forgotten';
import { firstKept } from './keep-days';
import { leftOf } from './report';

describe('users who are forgotten', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'forgotten-spec-'));
  });
  afterAll(() => rm(dir, { recursive: true }));

  const keyOf = async (text: string) => {
    await writeFile(path.join(dir, 'key'), text);
    return ErasureKey.read(path.join(dir, 'key'));
  };

  // A block of SHA-256 has 64 bytes: longer keys are hashed first.
  it.each([32, 64, 65, 200])('are found by the hash of their id, with a key of %s bytes', async (bytes) => {
    const key = await keyOf('k'.repeat(bytes));
    const ids = ['1', 'é', 'x'.repeat(1_000), "it's"];
    const engine = await Engine.open(dir, { memoryBytes: 2 ** 27, threads: 1 });
    try {
      await engine.run('CREATE TABLE ids (user_id VARCHAR)');
      for (const id of [...ids, '1']) await engine.run('INSERT INTO ids VALUES ($id)', { id });
      const hashes = ids.slice(1).map((id) => key.hash(id));
      const forgotten = await Forgotten.open(engine, key, hashes);
      expect(await forgotten.findAmong('SELECT user_id FROM ids', 'found')).toBe(3);
      expect(await engine.rows('SELECT user_id FROM found ORDER BY user_id')).toEqual(
        ids
          .slice(1)
          .sort()
          .map((user_id) => ({ user_id })),
      );
    } finally {
      engine.close();
    }
  });

  it('have other hashes with another key, whose blanks around it do not count', async () => {
    const key = await keyOf('0123456789abcdef0123456789abcdef');
    expect((await keyOf('another key that has 32 bytes too')).hash('1')).not.toBe(key.hash('1'));
    expect((await keyOf(' 0123456789abcdef0123456789abcdef\n')).hash('1')).toBe(key.hash('1'));
  });

  it('need a key, and are told what is wrong with it', async () => {
    await expect(keyOf('short')).rejects.toThrow(/less than 32 bytes: make one/);
    expect(() => ErasureKey.read(undefined)).toThrow('ERASURE_KEY_FILE is not set');
    expect(() => ErasureKey.read(path.join(dir, 'nothing'))).toThrow('ERASURE_KEY_FILE cannot be read: ENOENT');
  });
});

it('days are kept from so many before today on', () => {
  expect([firstKept('2024-03-01', 1), firstKept('2024-03-01', 366)]).toEqual(['2024-02-29', '2023-03-01']);
});

it('what is left is what the archive keeps, and what could not be looked into', () => {
  const report = { runId: 'r', users: 1, at: '', listens: 1, dates: [], objects: { rewritten: [], deleted: [] } };
  const file = (deleted: boolean) => ({ object: 'o', key: 'k', version: 'v', deleted });
  expect(leftOf({ ...report, archived: [file(true)], left: [] })).toBe(0);
  expect(leftOf({ ...report, archived: [file(true), file(false)], left: [{ object: 'o', why: 'w' }] })).toBe(2);
});
