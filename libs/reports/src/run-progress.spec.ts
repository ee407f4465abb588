import type { Run, RunStore, ToldProgress } from '@music/runs';
import { describeProgress, runProgress } from './run-progress';

const NOW = Date.parse('2024-06-26T03:00:20Z');
const STARTED = '2024-06-26T03:00:00Z';
const told = (more: Partial<ToldProgress>): ToldProgress => ({
  stage: 'combiner',
  done: 0,
  of: 1,
  unit: 'bytes',
  startedAt: STARTED,
  at: '2024-06-26T03:00:20Z',
  ...more,
});
const progress = (state: Run['state'], states: readonly string[], items: readonly ToldProgress[]) => {
  const runs = {
    batches: { list: async () => states.map((each, batch) => ({ batch, state: each })) },
    progress: { list: async (_: string, stage: string) => items.filter((item) => item.stage === stage) },
  } as unknown as RunStore;
  const stages = { combiner: { startedAt: STARTED }, validator: { startedAt: STARTED } };
  return runProgress({ runs }, { runId: 'r', state, stages } as unknown as Run, NOW);
};

describe('how far a run is', () => {
  it.each(['pending', 'frozen', 'completed', 'failed'] as const)('is not told of one that is %s', async (state) =>
    expect(await progress(state, ['sensed'], [])).toBeUndefined(),
  );

  it('adds up the batches that are combined and those that are under way', async () => {
    const half = told({ done: 100 * 2 ** 20, of: 200 * 2 ** 20 });
    const found = await progress('sensed', ['combined', 'judged', 'sensed', 'sensed'], [half]);
    expect(found).toEqual({
      stage: 'combiner',
      share: 2.5 / 4,
      per_second: { amount: 5 * 2 ** 20, unit: 'bytes' },
      seconds_left: 12,
    });
    expect(found === undefined ? '' : describeProgress(found)).toBe('combiner 62 %, 5 MiB/s, about 12 s left');
    expect(await progress('sensed', ['sensed'], [])).toBeUndefined();
  });

  it('leaves out what a process told that is gone', async () => {
    const gone = told({ done: 1, of: 2, at: '2024-06-26T02:58:00Z' });
    expect(await progress('sensed', ['combined', 'sensed'], [gone])).toMatchObject({ share: 0.5 });
  });

  it('goes on with the validator, the job’s days and the archiver’s files', async () => {
    expect(await progress('sensed', ['combined', 'judged'], [])).toMatchObject({ stage: 'validator', share: 0.5 });
    const days = await progress('validated', [], [told({ stage: 'glue-trigger', done: 1.5, of: 3, unit: 'days' })]);
    expect(days === undefined ? '' : describeProgress(days)).toBe('glue-trigger 50 %, 0.1 days/s, about 20 s left');
    const files = await progress('published', [], [told({ stage: 'archiver', done: 1, of: 100, unit: 'files' })]);
    expect(files).toMatchObject({ stage: 'archiver', share: 0.01, seconds_left: undefined });
  });
});
