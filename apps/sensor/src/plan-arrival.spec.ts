import { type Arriving, planArrival } from './plan-arrival';

const NOW = new Date('2024-06-26T03:00:00Z');
const secondsAgo = (seconds: number) => new Date(NOW.getTime() - seconds * 1_000);
const plan = (ages: readonly number[], more: Partial<Arriving> = {}) =>
  planArrival({
    now: NOW,
    files: ages.map((age, i) => ({
      bucket: 'b',
      key: `streams/${i}`,
      etag: '',
      size: 1,
      lastModified: secondsAgo(age),
    })),
    quietMs: 30_000,
    maxWaitMs: 300_000,
    minIntervalMs: 60_000,
    lastAskedAt: undefined,
    ...more,
  });

describe('files that arrived', () => {
  it('ask for a run once all of them are quiet', () => {
    expect(plan([])).toEqual({ ask: false });
    expect(plan([10])).toEqual({ ask: false, lookInMs: 20_000 });
    expect(plan([30])).toEqual({ ask: true, files: 1 });
    expect(plan([100, 10])).toEqual({ ask: false, lookInMs: 20_000 });
    expect(plan([100, 31])).toEqual({ ask: true, files: 2 });
  });

  it('wait no longer than they may, however many keep coming', () => {
    expect(plan([299, 1])).toEqual({ ask: false, lookInMs: 1_000 });
    expect(plan([300, 1])).toEqual({ ask: true, files: 1 });
  });

  it('do not ask while the only one there keeps changing', () => {
    expect(plan([1], { maxWaitMs: 0 })).toEqual({ ask: false, lookInMs: 29_000 });
  });

  it('ask no sooner than the interval after the last time', () => {
    expect(plan([300], { lastAskedAt: secondsAgo(59) })).toEqual({ ask: false, lookInMs: 1_000 });
    expect(plan([300], { lastAskedAt: secondsAgo(60) })).toEqual({ ask: true, files: 1 });
  });

  it('count as changed just now where their clock is ahead', () => {
    expect(plan([-600])).toEqual({ ask: false, lookInMs: 30_000 });
    expect(plan([-600], { quietMs: 0 })).toEqual({ ask: true, files: 1 });
  });
});
