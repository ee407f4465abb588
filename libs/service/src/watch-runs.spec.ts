import type { Run, RunState } from '@music/runs';
import { notSuccessful } from './watch-runs';

const NOW = Date.parse('2026-03-02T12:00:00Z');
const ago = (minutes: number) => new Date(NOW - minutes * 60_000).toISOString();
const run = (state: RunState, minutes: number, runId = 'manual__01'): Run => ({
  runId,
  logicalDate: '2026-03-01',
  state,
  immediately: true,
  requestedAt: ago(minutes + 1),
  stages: { sensor: { startedAt: ago(minutes + 1), endedAt: ago(minutes) } },
});
const told = (...runs: Run[]) =>
  notSuccessful(runs, NOW).flatMap(([{ state, kind }, count]) => (count === 0 ? [] : [`${count} ${kind} ${state}`]));

it('tells runs that did not succeed for an hour, and until a later one completes', () => {
  expect(told(run('completed', 1))).toEqual([]);
  expect(told(run('completed', 5), run('failed', 30))).toEqual(['1 manual failed']);
  expect(told(run('completed', 5), run('rejected', 30, 'arrival__01'))).toEqual(['1 arrival rejected']);
  expect(told(run('completed', 5), run('failed', 61))).toEqual([]);
  expect(told(run('failed', 600), run('completed', 700))).toEqual(['1 manual failed']);
  expect(told(run('failed', 600), run('failed', 700), run('rejected', 800, 'scheduled__2026-03-01'))).toEqual([
    '2 manual failed',
    '1 scheduled rejected',
  ]);
});

it('tells nothing of a run that was replayed, and 0 of what there is none', () => {
  expect(told(run('published', 10))).toEqual([]);
  expect(notSuccessful([], NOW)).toContainEqual([{ state: 'failed', kind: 'scheduled' }, 0]);
});
