import { backlogOf, waitingSeconds } from './backlog';

const NOW = 1_000_000;
const fresh = { notBefore: 0, leaseUntil: 0, progressAt: NOW - 5_000 };

describe('a backlog', () => {
  it('is what waits, runs, and is put off', () => {
    const items = [
      fresh,
      { ...fresh, leaseUntil: NOW + 1, progressAt: 0 },
      { ...fresh, notBefore: NOW + 1, progressAt: 0 },
      { ...fresh, notBefore: NOW },
    ];
    expect(backlogOf(items, NOW)).toEqual({
      waiting: 2,
      running: 1,
      delayed: 1,
      waitingSince: NOW - 5_000,
      isMore: false,
    });
  });

  it('waits since a piece was accepted, became due, or was left by a process that died', () => {
    const since = (item: object) =>
      waitingSeconds(backlogOf([{ ...fresh, progressAt: NOW - 60_000, ...item }], NOW), NOW);
    expect([since({}), since({ notBefore: NOW - 7_000 }), since({ leaseUntil: NOW - 3_000 })]).toEqual([60, 7, 3]);
  });

  it('waits for nothing where there is nothing', () => {
    const none = backlogOf([], NOW, true);
    expect(none).toEqual({ waiting: 0, running: 0, delayed: 0, isMore: true });
    expect(waitingSeconds(none, NOW)).toBe(0);
  });
});
