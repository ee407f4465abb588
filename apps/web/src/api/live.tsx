import { useQueryClient } from '@tanstack/react-query';
import { type ReactNode, createContext, useContext, useEffect, useMemo, useState } from 'react';
import type { Run, RunRow } from './client';
import { follow } from './stream';

/** A run as a stream tells of it: with how far it is, while a stage works on it. */
export type LiveRun = RunRow & Pick<Partial<Run>, 'progress'>;

export interface Live {
  /** Newest first; undefined until the stream has begun. */
  readonly runs: readonly LiveRun[] | undefined;
  readonly connected: boolean;
  /** Why a store does not answer, while it does not. */
  readonly away: string | undefined;
}

const LiveContext = createContext<Live>({ runs: undefined, connected: false, away: undefined });
export const useLive = (): Live => useContext(LiveContext);

const RUNS_KEPT = 50;
const ENDED = new Set(['completed', 'rejected', 'skipped', 'failed']);
export const isUnderWay = ({ state }: Pick<RunRow, 'state'>): boolean => !ENDED.has(state);

/** Follows the pipeline once for the whole page, and has what was asked before asked again when it has changed. */
export function LiveProvider({ children }: { readonly children: ReactNode }) {
  const [runs, setRuns] = useState<readonly LiveRun[]>();
  const [connected, setConnected] = useState(false);
  const [away, setAway] = useState<string>();
  const queries = useQueryClient();
  useEffect(() => {
    const stream = follow('/v1/stream', {
      onState: (now) => {
        setConnected(now);
        // What could not be asked while the API was away.
        if (now) void queries.refetchQueries({ predicate: ({ state }) => state.status === 'error' });
      },
      onEvent: (event, data) => {
        setAway(event === 'away' ? (data as { detail: string }).detail : undefined);
        if (event === 'runs') setRuns(data as LiveRun[]);
        if (event === 'run') {
          const run = data as LiveRun;
          setRuns((known = []) =>
            [run, ...known.filter(({ run_id }) => run_id !== run.run_id)].sort(newestFirst).slice(0, RUNS_KEPT),
          );
          if (!isUnderWay(run)) void queries.invalidateQueries({ queryKey: ['operation'] });
        }
        if (event === 'days') void queries.invalidateQueries({ queryKey: ['kpis'] });
      },
    });
    return () => stream.stop();
  }, [queries]);
  const live = useMemo(() => ({ runs, connected, away }), [runs, connected, away]);
  return <LiveContext value={live}>{children}</LiveContext>;
}

const newestFirst = (a: RunRow, b: RunRow): number => b.requested_at.localeCompare(a.requested_at);

/** A run, whole, as it moves, from when there is one. */
export function useLiveRun(
  runId: string,
  isThere: boolean,
): { readonly run: Run | undefined; readonly connected: boolean } {
  const [run, setRun] = useState<Run>();
  const [connected, setConnected] = useState(false);
  useEffect(() => {
    setRun(undefined);
    if (!isThere) return undefined;
    const stream = follow(`/v1/runs/${encodeURIComponent(runId)}/stream`, {
      onState: setConnected,
      onEvent: (event, data) => {
        if (event === 'run') setRun(data as Run);
      },
    });
    return () => stream.stop();
  }, [runId, isThere]);
  return { run, connected };
}
