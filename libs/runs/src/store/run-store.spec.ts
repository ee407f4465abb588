import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { LastingError } from '@music/errors';
import { RunRequested, deadLetterTopic, envelope } from '@music/events';
import { LocalStack, localDynamoDB, until } from '@music/local-stack';
import {
  LAKE_TURN,
  type OwedMessage,
  REPLAYED_HEADER,
  RunStore,
  StageWorker,
  type Work,
  type WorkOutcome,
  ensureTable,
  messageOf,
  pipelineRunsTable,
} from '../index';

const RUN = { runId: 'scheduled__2024-06-25', logicalDate: '2024-06-25', immediately: false };
const ref = { bucket: 'b', key: 'k', etag: 'e', size: 1 };
const requested = (runId = RUN.runId) => envelope(RunRequested, 'cli', { runId, logicalDate: '2024-06-25' });
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

describe('pipeline_runs', () => {
  let stack: LocalStack;
  let client: DynamoDBClient;
  let store: RunStore;
  let n = 0;

  beforeAll(async () => {
    stack = await LocalStack.start(['dynamodb'], { shared: true });
    client = localDynamoDB(stack.env);
  });
  afterAll(() => stack.stop());
  beforeEach(async () => {
    const table = stack.named(`runs-${(n += 1)}`);
    await ensureTable(client, pipelineRunsTable(table));
    store = new RunStore(
      DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } }),
      table,
    );
  });

  it('makes a run once and moves it on once, with the message it owes', async () => {
    expect(await store.createRun(RUN, new Date(0))).toBe(true);
    expect(await store.createRun(RUN, new Date(1))).toBe(false);
    const owed = messageOf(requested());
    const moved = await Promise.all(
      [1, 2, 3].map(() =>
        store.transition(RUN.runId, 'pending', 'frozen', 'sensor', { manifest: ref, batches: 2 }, [owed]),
      ),
    );
    expect(moved.filter(Boolean)).toHaveLength(1);
    expect(await store.findRun(RUN.runId)).toMatchObject({
      state: 'frozen',
      manifest: ref,
      batches: 2,
      requestedAt: new Date(0).toISOString(),
    });
    const { owed: outbox } = await store.outbox.page('sensor');
    expect(outbox).toMatchObject([owed]);
    await store.outbox.strike('sensor', outbox);
    expect((await store.outbox.page('sensor')).owed).toEqual([]);
    await expect(store.transition(RUN.runId, 'frozen', 'completed', 'sensor')).rejects.toThrow(RangeError);
  });

  it('lists runs newest first', async () => {
    for (let day = 1; day <= 5; day += 1)
      await store.createRun({ ...RUN, runId: `scheduled__2024-06-0${day}` }, new Date(day));
    expect((await store.listRuns(2)).map(({ runId }) => runId)).toEqual([
      'scheduled__2024-06-05',
      'scheduled__2024-06-04',
    ]);
  });

  it('lets one of two runs take a file, and a later one only from the run that was looked up', async () => {
    const file = { key: 'streams/a b/é.csv', version: 'v1' };
    const took = await Promise.all(['r1', 'r2'].map((runId) => store.files.take({ ...file, runId })));
    expect(took.filter(Boolean)).toHaveLength(1);
    const holder = took[0] ? 'r1' : 'r2';
    expect(await store.files.take({ ...file, runId: 'r3' }, ['r9'])).toBe(false);
    expect(await store.files.take({ ...file, runId: 'r3' }, [holder])).toBe(true);
    expect(await store.files.update(file.key, 'v1', holder, { state: 'passed' })).toBe(false);
    expect(await store.files.update(file.key, 'v1', 'r3', { state: 'passed', rows: { read: 2, rejected: {} } })).toBe(
      true,
    );
    expect((await store.files.find([file, { key: 'other', version: 'v' }])).get(`${file.key}\nv1`)).toMatchObject({
      runId: 'r3',
      state: 'passed',
    });
  });

  it('recognises content that came before under another name', async () => {
    expect(await store.files.noteContent('abc', { key: 'a', version: '1', runId: 'r1' })).toBeUndefined();
    expect(await store.files.noteContent('abc', { key: 'a', version: '1', runId: 'r1' })).toBeUndefined();
    expect(await store.files.noteContent('abc', { key: 'b', version: '1', runId: 'r2' })).toBe('a (r1)');
  });

  it('keeps a turn for its run until the run ends', async () => {
    for (const runId of ['scheduled__2024-06-01', 'scheduled__2024-06-02'])
      await store.createRun({ ...RUN, runId }, new Date());
    expect(await store.turns.take('run', 1, 'scheduled__2024-06-01')).toBe(1);
    expect(await store.turns.take('run', 1, 'scheduled__2024-06-01')).toBe(1);
    expect(await store.turns.take('run', 1, 'scheduled__2024-06-02')).toBeUndefined();
    expect(await store.turns.take('run', 2, 'scheduled__2024-06-02')).toBe(2);
    await store.turns.giveBack('run', 2, 'scheduled__2024-06-02', 2);
    await store.transition('scheduled__2024-06-01', 'pending', 'skipped', 'sensor');
    expect(await store.turns.take('run', 1, 'scheduled__2024-06-02')).toBe(3);
  });

  it('leaves a turn to its run where that is replayed while another wants the turn', async () => {
    const [failed, other] = ['scheduled__2024-06-03', 'scheduled__2024-06-04'] as const;
    for (const runId of [failed, other]) await store.createRun({ ...RUN, runId }, new Date());
    const number = await store.turns.take(LAKE_TURN, 1, failed);
    await store.transition(failed, 'pending', 'failed', 'sensor');
    const find = store.findRun.bind(store);
    const found = jest.spyOn(store, 'findRun').mockImplementationOnce(async (runId) => {
      const run = await find(runId);
      await store.transition(runId, 'failed', 'pending', 'sensor');
      return run;
    });
    expect(await store.turns.take(LAKE_TURN, 1, other)).toBeUndefined();
    expect(found).toHaveBeenCalledWith(failed);
    expect(await store.turns.take(LAKE_TURN, 1, failed)).toBe(number);
  });

  it('takes the lake turn from a run that is begun again to compute anew, and from no other', async () => {
    const [failed, other] = ['scheduled__2024-06-05', 'scheduled__2024-06-06'] as const;
    for (const runId of [failed, other]) {
      await store.createRun({ ...RUN, runId }, new Date());
      await store.transition(runId, 'pending', 'failed', 'sensor');
    }
    const reopen = async (runId: string, to: 'validated' | 'published') => [
      await store.reopen(runId, 'failed', to, ['archiver'], 'glue-trigger', []),
      await store.transition(runId, to, 'failed', 'archiver'),
    ];
    const number = (await store.turns.take(LAKE_TURN, 1, failed)) ?? NaN;
    expect(await reopen(other, 'validated')).toEqual([true, true]);
    expect(await reopen(failed, 'published')).toEqual([true, true]);
    expect(await store.turns.take(LAKE_TURN, 1, failed)).toBe(number);
    expect(await reopen(failed, 'validated')).toEqual([true, true]);
    const next = (await store.turns.take(LAKE_TURN, 1, failed)) ?? NaN;
    expect(next).toBeGreaterThan(number);
    // A replica that was away since the first turn cannot end the second.
    await store.turns.giveBack(LAKE_TURN, 1, failed, number);
    expect(await store.turns.take(LAKE_TURN, 1, failed)).toBe(next);
  });

  it('takes from a replica of an earlier turn neither changes nor the next state', async () => {
    await store.createRun(RUN, new Date());
    await store.transition(RUN.runId, 'pending', 'failed', 'sensor');
    await store.transition(RUN.runId, 'failed', 'validated', 'glue-trigger');
    const at = (version?: number) => ({ state: 'validated', version }) as const;
    expect(await store.updateRun(RUN.runId, at(), { version: 1 })).toBe(true);
    expect(await store.updateRun(RUN.runId, at(), { version: 1 })).toBe(false);
    expect(await store.updateRun(RUN.runId, at(1), { version: 2, job: { engine: 'new' } })).toBe(true);
    expect(await store.updateRun(RUN.runId, at(1), { job: { engine: 'old' } })).toBe(false);
    expect(await store.transition(RUN.runId, at(1), 'published', 'glue-trigger')).toBe(false);
    expect(await store.findRun(RUN.runId)).toMatchObject({ state: 'validated', version: 2, job: { engine: 'new' } });
    expect(await store.transition(RUN.runId, at(2), 'published', 'glue-trigger')).toBe(true);
  });

  it('counts up', async () => {
    const numbers = await Promise.all([1, 2, 3, 4].map(() => store.turns.nextNumber('version')));
    expect(numbers.sort()).toEqual([1, 2, 3, 4]);
  });

  describe('a stage worker', () => {
    const workers: StageWorker[] = [];
    const worker = (perform: (work: Work) => Promise<WorkOutcome>, options: object = {}) => {
      const made = new StageWorker(
        store,
        {
          stage: 'sensor',
          concurrency: 2,
          leaseMs: 300,
          sweepMs: 50,
          maxAttempts: 3,
          retryMs: 10,
          stallMs: 60_000,
          ...options,
        },
        perform,
        async () => undefined,
        silent,
      );
      workers.push(made);
      return made;
    };
    beforeEach(() => store.createRun(RUN, new Date()));
    afterEach(async () => {
      await Promise.all(workers.splice(0).map((each) => each.stop(0)));
    });

    it('does accepted work once, however often it is asked before it is done', async () => {
      let calls = 0;
      let end = (): void => undefined;
      const ended = new Promise<void>((resolve) => {
        end = resolve;
      });
      const one = worker(async () => {
        calls += 1;
        await ended;
        return 'done';
      });
      await Promise.all([1, 2, 3].map(() => one.accept(requested(), {})));
      end();
      await until('the work is done', async () => (await store.work.list('sensor')).length === 0);
      expect(calls).toBe(1);
    });

    it('claims what it accepts by the write that remembers it, as far as it has room', async () => {
      let end = (): void => undefined;
      const ended = new Promise<void>((resolve) => {
        end = resolve;
      });
      const one = worker(
        async () => {
          await ended;
          return 'done';
        },
        { concurrency: 1, leaseMs: 60_000, sweepMs: 60_000 },
      );
      const [first, second] = [requested(), requested('scheduled__2024-06-26')];
      await Promise.all([one.accept(first, {}), one.accept(second, {})]);
      const items = new Map((await store.work.list('sensor')).map((item) => [item.id, item]));
      expect(items.get(first.id)).toMatchObject({ claims: 1, leaseUntil: expect.any(Number), attempts: 0 });
      expect(items.get(first.id)?.leaseUntil).toBeGreaterThan(Date.now() + 30_000);
      expect(items.get(second.id)).toMatchObject({ claims: 0, leaseUntil: 0 });
      end();
      await until('the end of the first has the second begun', async () => {
        return (await store.work.list('sensor')).length === 0;
      });
    });

    it('begins no more at once than it may, also where it accepts work while it claims other', async () => {
      const [waiting, coming] = [requested(), requested('scheduled__2024-06-26')];
      const { id, topic } = waiting;
      await store.work.offer('sensor', { id, topic, message: messageOf(waiting).value, headers: {} });
      let [atOnce, most, claims] = [0, 0, 0];
      const one = worker(
        async () => {
          most = Math.max(most, (atOnce += 1));
          await new Promise((resolve) => setTimeout(resolve, 50));
          atOnce -= 1;
          return 'done';
        },
        { concurrency: 1, leaseMs: 60_000 },
      );
      const claim = store.work.claim.bind(store.work);
      const claiming = jest.spyOn(store.work, 'claim').mockImplementation(async (...args) => {
        claims += 1;
        if (claims === 1) await one.accept(coming, {});
        return claim(...args);
      });
      try {
        one.start();
        await until('the work is done', async () => claims > 0 && (await store.work.list('sensor')).length === 0);
      } finally {
        claiming.mockRestore();
      }
      expect(most).toBe(1);
    });

    it('tells how far long work is, at most once a second, and nothing of short work', async () => {
      const one = worker(async ({ progress, event }) => {
        const long = event.data.runId === RUN.runId;
        for (let done = 0; done <= (long ? 60 : 6); done += 1) {
          progress({ done, of: 100, unit: 'files' });
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        return 'done';
      });
      const other = 'scheduled__2024-06-26';
      await one.accept(requested(), {});
      await one.accept(requested(other), {});
      await until('the work is done', async () => (await store.work.list('sensor')).length === 0);
      expect(await store.progress.list(other, 'sensor')).toEqual([]);
      const [told, ...more] = await store.progress.list(RUN.runId, 'sensor');
      expect(more).toEqual([]);
      expect(told).toMatchObject({ of: 100, unit: 'files', stage: 'sensor' });
      expect(told?.done).toBeGreaterThanOrEqual(30);
      expect(told?.done).toBeLessThan(60); // not at each call
    });

    it('looks again when it is asked to, without counting that as a try', async () => {
      let calls = 0;
      const one = worker(async () => ((calls += 1) < 6 ? { again: 5 } : 'done'));
      await one.accept(requested(), {});
      await until('it has looked six times', () => calls === 6);
    });

    /** Work that is looked at again and again: not stalled while it gets on, and stalled once it does not. */
    const untilStalled = async (look: (progress: Work['progress'], getsOn: boolean) => WorkOutcome) => {
      const now = { getsOn: true };
      const one = worker(async ({ progress }) => look(progress, now.getsOn), { stallMs: 300 });
      await one.accept(requested(), {});
      await new Promise((resolve) => setTimeout(resolve, 600));
      expect(one.stalled).toBe(0);
      now.getsOn = false;
      await until('it is told as stalled', () => one.stalled === 1);
      return { one, now };
    };

    it('tells work that gets nowhere from work that gets on, also where it is looked at again and again', async () => {
      const { one, now } = await untilStalled((progress, getsOn) => {
        if (getsOn) progress();
        return { again: 10, unchanged: !getsOn };
      });
      const other = worker(async () => 'done', { concurrency: 0, stallMs: 300 });
      other.start();
      await until('another replica tells it, too', () => other.stalled === 1);
      now.getsOn = true;
      await until('it is not any more', () => one.stalled === 0 && other.stalled === 0);
    });

    it('takes work that tells how far it is for stalled where it is no further than before', async () => {
      let done = 0;
      await untilStalled((progress, getsOn) => {
        if (getsOn) done += 1;
        progress({ done, of: 1_000, unit: 'days' });
        return { again: 10, unchanged: true };
      });
    });

    it('goes on with the work of a process that died', async () => {
      await store.work.offer('sensor', {
        id: requested().id,
        topic: requested().topic,
        message: messageOf(requested()).value,
        headers: {},
      });
      await store.work.claim('sensor', requested().id, 'dead process', Date.now(), 200);
      let calls = 0;
      worker(async () => {
        calls += 1;
        return 'done';
      }).start();
      await until('the work is done', async () => (await store.work.list('sensor')).length === 0);
      expect(calls).toBe(1);
    });

    it('keeps its lease while it works, so that no other does the same', async () => {
      let calls = 0;
      const slow = async (): Promise<WorkOutcome> => {
        calls += 1;
        await new Promise((resolve) => setTimeout(resolve, 2_500));
        return 'done';
      };
      const one = worker(slow, { leaseMs: 1_000 });
      worker(slow, { leaseMs: 1_000 }).start();
      await one.accept(requested(), {});
      await until('the work is done', async () => (await store.work.list('sensor')).length === 0);
      expect(calls).toBe(1);
    });

    const deadLetters = async (): Promise<OwedMessage[]> =>
      (await store.outbox.page('sensor')).owed.filter(({ topic }) => topic === deadLetterTopic('sensor'));

    it('tries a passing fault again, and gives up after a while: the run fails and the event is a dead letter', async () => {
      let calls = 0;
      const one = worker(async () => {
        calls += 1;
        throw new Error('S3 is down');
      });
      await one.accept(requested(), { traceparent: 't' });
      await until('there is a dead letter', async () => (await deadLetters()).length === 1);
      expect(calls).toBe(3);
      expect(await store.findRun(RUN.runId)).toMatchObject({
        failedFrom: 'pending',
        failedStage: 'sensor',
        reasons: [expect.stringContaining('S3 is down')],
      });
      const [dead] = await deadLetters();
      expect(dead?.headers).toMatchObject({
        traceparent: 't',
        'dead-letter-topic': requested().topic,
        'dead-letter-reason': expect.stringContaining('S3 is down'),
      });
    });

    it('gives up on a lasting fault at once, and resumes the run on replay', async () => {
      class Broken extends LastingError {}
      let broken = true;
      let calls = 0;
      const one = worker(async () => {
        calls += 1;
        if (broken) throw new Broken('no');
        return 'done';
      });
      await one.accept(requested(), {});
      await until(
        'the run has failed',
        async () =>
          (await store.findRun(RUN.runId))?.state === 'failed' && (await store.work.list('sensor')).length === 0,
      );
      expect(calls).toBe(1);
      broken = false;
      await one.accept(requested(), {});
      await until('the work is done', async () => (await store.work.list('sensor')).length === 0);
      expect((await store.findRun(RUN.runId))?.state).toBe('failed'); // sent again is not replayed
      await one.accept(requested(), { [REPLAYED_HEADER]: 'true' });
      await until('the run is pending', async () => (await store.findRun(RUN.runId))?.state === 'pending');
    });

    it('gives up on work that kills every process that begins it', async () => {
      await store.work.offer('sensor', {
        id: requested().id,
        topic: requested().topic,
        message: messageOf(requested()).value,
        headers: {},
      });
      for (let i = 1; i <= 3; i += 1)
        await store.work.claim('sensor', requested().id, `dead ${i}`, Date.now() + i * 1_000, 1);
      const one = worker(async () => 'done');
      await new Promise((resolve) => setTimeout(resolve, 3_100));
      one.start();
      await until('there is a dead letter', async () => (await deadLetters()).length === 1);
    });
  });
});
