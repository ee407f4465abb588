import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CreateBucketCommand } from '@aws-sdk/client-s3';
import { Engine, text } from '@music/duckdb';
import { LocalStack, localS3 } from '@music/local-stack';
import { ObjectStore, type StoredObject } from '@music/storage';
import { lakeDay, lakeDays } from './lake-day';
import { TurnIsOver, placeListens } from './place-listens';

describe("placing a run's listens in the lake", () => {
  const limits = { memoryBytes: 2 ** 28, threads: 2 };
  let stack: LocalStack;
  let store: ObjectStore;
  let scratch: string;
  let objects = 0;

  beforeAll(async () => {
    stack = await LocalStack.start(['s3']);
    const s3 = localS3(stack.env);
    for (const Bucket of ['lake', 'intermediate']) await s3.send(new CreateBucketCommand({ Bucket }));
    store = new ObjectStore(s3);
    scratch = await mkdtemp(path.join(tmpdir(), 'lake-spec-'));
  });
  afterAll(async () => {
    await stack.stop();
    await rm(scratch, { recursive: true });
  });
  beforeEach(async () => {
    for (const prefix of ['listens/', 'runs/']) await store.deletePrefix('lake', prefix);
  });

  /** An object with a listen on each of these days. */
  async function listens(...dates: string[]): Promise<StoredObject> {
    const engine = await Engine.open(scratch, limits);
    const file = path.join(scratch, `${(objects += 1)}.parquet`);
    const rows = dates.map((date) => `('u', 't', TIMESTAMP '${date} 10:00:00', DATE '${date}', 0)`).join(', ');
    await engine.run(
      `COPY (SELECT * FROM (VALUES ${rows}) AS l(user_id, track_id, listened_at, listen_date, file)) TO ${text(file)} (FORMAT parquet)`,
    );
    engine.close();
    return store.upload('intermediate', `${objects}.parquet`, file);
  }
  const place = (listensOf: readonly (StoredObject & { date?: string })[], isOurTurn = async () => true) =>
    placeListens(
      store,
      'lake',
      { runId: 'r', listens: listensOf, isOurTurn, signal: new AbortController().signal },
      scratch,
      limits,
    );
  const keys = async (date: string) => (await lakeDay(store, 'lake', date)).map(({ key }) => key);

  it('copies objects of one day, and parts those of several', async () => {
    const [one, several] = [await listens('2024-06-25'), await listens('2024-06-25', '2024-06-26')];
    expect(await place([{ ...one, date: '2024-06-25' }, several])).toEqual(['2024-06-25', '2024-06-26']);
    expect(await keys('2024-06-25')).toHaveLength(2);
    expect(await keys('2024-06-26')).toEqual(['listens/date=2024-06-26/run=r/by-day-0.parquet']);
    expect(await readdir(scratch)).not.toContainEqual(expect.stringMatching(/^place-/));
  });

  it('leaves the same when it is repeated, and takes away what an earlier attempt left, on days that have none any more, too', async () => {
    const [one, other] = [
      { ...(await listens('2024-06-25')), date: '2024-06-25' },
      { ...(await listens('2024-06-26')), date: '2024-06-26' },
    ];
    await place([one, other]);
    const before = await keys('2024-06-25');
    expect(await place([one, other])).toEqual(['2024-06-25', '2024-06-26']);
    expect(await keys('2024-06-25')).toEqual(before);
    expect(await place([one])).toEqual(['2024-06-25', '2024-06-26']); // the second changes, too: it has nothing now
    expect(await keys('2024-06-26')).toEqual([]);
  });

  it('leaves off when the turn is over', async () => {
    const one = { ...(await listens('2024-06-25')), date: '2024-06-25' };
    await expect(place([one], async () => false)).rejects.toThrow(TurnIsOver);
    expect(await keys('2024-06-25')).toEqual([]);
  });

  it('is listed by days, also where a month is listed as a whole', async () => {
    const dates = ['2024-05-31', ...Array.from({ length: 6 }, (_, i) => `2024-06-0${i + 1}`)];
    const several = await listens(...dates);
    await place([several]);
    const days = await lakeDays(store, 'lake', [...dates, '2024-07-01']);
    expect(days.map(({ date, objects: found }) => [date, found.length])).toEqual([
      ...dates.map((date) => [date, 1]),
      ['2024-07-01', 0],
    ]);
  });
});
