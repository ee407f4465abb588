import { mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { runKind } from '@music/events';
import type { LocalPipeline } from '@music/local-pipeline';
import { dayReport, describeRun, followRun, runReport } from '@music/reports';
import { filesBelow } from '@music/storage';
import { DAYS_SHOWN, describeDays } from './day-text';

const LOOK_MS = 250;
/** A file that is still being written changes within this time. */
const COMPLETE_MS = 1_000;
const RUNS_LOOKED_AT = 20;

/** What a file was like, and since when: another size or time is another content. */
interface Seen {
  readonly version: string;
  readonly since: number;
  readonly sent: boolean;
}

/**
 * Puts each file that appears or changes in a folder's `streams/`, `songs/` and `users/` into the source bucket once it
 * is complete, and tells of each run that arrivals ask for and of the days it changed. Until `signal` is aborted.
 */
export async function watchFolder(
  pipeline: LocalPipeline,
  folder: string,
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<void> {
  for (const kind of ['streams', 'songs', 'users']) await mkdir(path.join(folder, kind), { recursive: true });
  say(
    [
      `\nwatching ${folder}: put files into its streams/, songs/ or users/, until Ctrl-C.`,
      'A file counts as complete when it has not changed for 1 s. One that is written slowly is to be called',
      'NAME.part until it is: such names are left, as are those that begin with _ or a dot.',
    ].join('\n'),
  );
  await Promise.all([sendFiles(pipeline, folder, signal, say), tellRuns(pipeline, signal, say)]);
}

async function sendFiles(
  pipeline: LocalPipeline,
  folder: string,
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<void> {
  const seen = new Map<string, Seen>();
  for (; !signal.aborted; await pause(LOOK_MS)) {
    const now = Date.now();
    const there = await filesBelow(folder, pipeline.config.leaveNames);
    for (const name of seen.keys()) if (!there.includes(name)) seen.delete(name);
    for (const name of there) {
      const file = path.join(folder, name);
      const version = await versionOf(file);
      if (version === undefined) continue;
      const before = seen.get(name);
      if (before?.version !== version) seen.set(name, { version, since: now, sent: false });
      else if (!before.sent && now - before.since >= COMPLETE_MS) {
        await pipeline.put(name, file);
        // What changed meanwhile is sent again, whole.
        seen.set(name, { ...before, sent: (await versionOf(file)) === version });
        const after = name.startsWith('streams/') ? '' : '; the next run of listens reads it';
        say(`${name} is in s3://${pipeline.config.sourceBucket}${after}`);
      }
    }
  }
}

async function versionOf(file: string): Promise<string | undefined> {
  return stat(file).then(
    ({ size, mtimeMs }) => `${size} ${mtimeMs}`,
    () => undefined, // gone again
  );
}

async function tellRuns(pipeline: LocalPipeline, signal: AbortSignal, say: (text: string) => void): Promise<void> {
  const { stores } = pipeline;
  const told = new Set<string>();
  for (; !signal.aborted; await pause(LOOK_MS)) {
    const runs = (await stores.runs.listRuns(RUNS_LOOKED_AT)).filter(
      ({ runId }) => runKind(runId) === 'arrival' && !told.has(runId),
    );
    for (const { runId } of runs.reverse()) {
      told.add(runId);
      say(`\n${runId} takes what arrived`);
      await followRun(stores, runId, { out: process.stdout, signal });
      const report = await runReport(stores, runId);
      if (signal.aborted || report === undefined) return;
      say(`\n${describeRun(report)}`);
      const last = await Promise.all(report.days.slice(-DAYS_SHOWN).map((date) => dayReport(stores.kpis, date)));
      if (last.length > 0)
        say(
          `\n${describeDays(
            last.filter((day) => day !== undefined),
            report.days.length,
          )}`,
        );
    }
  }
}
