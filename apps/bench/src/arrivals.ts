import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { runKind } from '@music/events';
import { LocalPipeline } from '@music/local-pipeline';
import { until } from '@music/local-stack';
import { dayReport, runReport, table } from '@music/reports';

const FILES = 200;
const LISTENS_A_FILE = 5_000;
const EVERY_MS = 100;
const DAY = '2024-06-25';
const PATIENCE_MS = 600_000;

/**
 * Files that arrive one after the other: how long it takes from when one is put until the run that took it has served
 * its day, with both ways of learning of them. Throws where a listen is lost or counted twice.
 */
export async function benchArrivals(say: (text: string) => void): Promise<void> {
  const rows = [];
  for (const arrivals of ['poll', 'sqs'] as const) {
    const { seconds, runs } = await measureArrivals(arrivals);
    seconds.sort((a, b) => a - b);
    const at = (share: number) =>
      (seconds[Math.min(seconds.length - 1, Math.floor(seconds.length * share))] ?? NaN).toFixed(2);
    rows.push([arrivals, FILES, FILES * LISTENS_A_FILE, runs, at(0.5), at(0.95), at(1)]);
  }
  say(`\narrivals: ${FILES} files, one every ${EVERY_MS} ms; seconds from put to served; nothing lost`);
  say(table(['by', 'files', 'listens', 'runs', 'median', '95 %', 'worst'], rows));
}

async function measureArrivals(arrivals: 'poll' | 'sqs'): Promise<{ seconds: number[]; runs: number }> {
  const dir = await mkdtemp(path.join(tmpdir(), 'music-bench-'));
  const pipeline = await LocalPipeline.start({ arrivals });
  try {
    await makeFiles(dir);
    await pipeline.put('songs/songs.csv', path.join(dir, 'songs.csv'));
    await pipeline.put('users/users.csv', path.join(dir, 'users.csv'));
    const putAt = new Map<string, number>();
    const puts: Promise<void>[] = [];
    for (let file = 0; file < FILES; file += 1) {
      const key = `streams/${file}.csv`;
      putAt.set(key, Date.now());
      puts.push(pipeline.put(key, path.join(dir, `${file}.csv`)));
      await pause(EVERY_MS);
    }
    await Promise.all(puts);
    const listens = FILES * LISTENS_A_FILE;
    await until(
      'every listen is served',
      async () => ((await dayReport(pipeline.stores.kpis, DAY))?.listen_count ?? 0) >= listens,
      PATIENCE_MS,
      500,
    );
    const served = (await dayReport(pipeline.stores.kpis, DAY))?.listen_count;
    if (served !== listens) throw new Error(`${served} listens are served, of ${listens} that were put`);
    const seconds: number[] = [];
    const runs = (await pipeline.stores.runs.listRuns(FILES)).filter(({ runId }) => runKind(runId) === 'arrival');
    for (const { runId } of runs) {
      const report = await runReport(pipeline.stores, runId);
      const servedAt = Date.parse(report?.stages.find(({ stage }) => stage === 'glue-trigger')?.ended_at ?? '');
      for (const { key, state } of report?.files ?? [])
        if (state !== 'left') seconds.push((servedAt - (putAt.get(key) ?? NaN)) / 1_000);
    }
    if (seconds.length !== FILES) throw new Error(`${seconds.length} files were taken, of ${FILES} that were put`);
    return { seconds, runs: runs.length };
  } finally {
    await pipeline.stop();
    await rm(dir, { recursive: true });
  }
}

async function makeFiles(dir: string): Promise<void> {
  const songs = Array.from({ length: 500 }, (_, n) => `t${n},Song ${n},A,genre ${n % 20},200000,${n % 100}\n`);
  await writeFile(
    path.join(dir, 'songs.csv'),
    `track_id,track_name,artists,track_genre,duration_ms,popularity\n${songs.join('')}`,
  );
  await writeFile(path.join(dir, 'users.csv'), 'user_id,user_name,user_country\n1,Ada,France\n');
  for (let file = 0; file < FILES; file += 1) {
    const rows = Array.from(
      { length: LISTENS_A_FILE },
      (_, n) => `u${file}-${n % 1_000},t${n % 500},${DAY} ${clock(file * LISTENS_A_FILE + n)}\n`,
    );
    await writeFile(path.join(dir, `${file}.csv`), `user_id,track_id,listen_time\n${rows.join('')}`);
  }
}

/** A time of the day that no other listen of the same user and track has. */
const clock = (n: number): string => new Date((n % 86_400) * 1_000).toISOString().slice(11, 19);
