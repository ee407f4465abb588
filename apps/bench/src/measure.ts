import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { STAGES, type Stage } from '@music/events';
import type { LocalPipeline } from '@music/local-pipeline';
import { SERVERS, type Server } from '@music/local-stack';
import { type RunReport, requestRun, runReport, waitForRun } from '@music/reports';
import type { DayNumbers } from './floor';

/** What one run took. */
export interface Measured {
  readonly seconds: number;
  readonly report: RunReport;
  /** Of each stage's processes, since they started. MiB. */
  readonly peakMb: Record<Stage, number>;
  /** Processor seconds of each stage, and of the servers, in this run. */
  readonly cpu: Record<Stage | Server, number>;
  /** The most that the services had in their scratch folders at one time. Bytes. */
  readonly scratchBytes: number;
}

/** Has the pipeline run on what is in its source, and measures it. Throws where the run does not complete. */
export async function measureRun(pipeline: LocalPipeline): Promise<Measured> {
  const cpuSeconds = () =>
    Object.fromEntries([
      ...STAGES.map((stage) => [stage, pipeline.children(stage).reduce((sum, child) => sum + child.cpuSeconds(), 0)]),
      ...SERVERS.map((server) => [server, pipeline.stack?.child(server).cpuSeconds() ?? 0]),
    ]) as Measured['cpu'];
  const before = cpuSeconds();
  const scratch = watchScratch(pipeline.env['SCRATCH_DIR'] ?? '');
  const runId = await requestRun(pipeline.stores, { logicalDate: '2024-06-26', immediately: true });
  await waitForRun(pipeline.stores, runId);
  const scratchBytes = await scratch.stop();
  const after = cpuSeconds();
  const report = await runReport(pipeline.stores, runId);
  if (report?.state !== 'completed' || report.seconds === undefined)
    throw new Error(`the run is ${report?.state}: ${report?.reasons.join('; ')}`);
  return {
    seconds: report.seconds,
    report,
    peakMb: Object.fromEntries(
      STAGES.map((stage) => [stage, Math.max(...pipeline.children(stage).map((child) => child.peakRss())) / 2 ** 20]),
    ) as Measured['peakMb'],
    cpu: Object.fromEntries(
      Object.entries(after).map(([process, seconds]) => [process, seconds - before[process as Stage]]),
    ) as Measured['cpu'],
    scratchBytes,
  };
}

/** Throws where a day is published with other numbers than the floor computed. */
export async function compareNumbers({ stores }: LocalPipeline, days: readonly DayNumbers[]): Promise<void> {
  for (const expected of days) {
    const { date } = expected;
    const day = await stores.kpis.readDay(date);
    const genres = await stores.kpis.genres(date);
    const byBytes = <T extends readonly [string, ...unknown[]]>(rows: T[]) =>
      rows.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const published: DayNumbers = {
      date,
      listens: day?.listen_count ?? 0,
      listeners: day?.unique_listeners ?? 0,
      genres: byBytes(genres.map((g) => [g.genre, g.listen_count, g.unique_listeners, g.total_listening_ms] as const)),
      songs: byBytes(
        genres.flatMap(({ genre, top_3_songs_per_genre: songs }) =>
          songs.map((s) => [genre, s.rank, s.track_id, s.listen_count] as const),
        ),
      ),
    };
    if (!isDeepStrictEqual(published, expected)) throw new Error(`${date} is not what one plain DuckDB query gives`);
  }
}

/** Bytes of the lake's objects of a day. */
export async function lakeBytes({ stores, config }: LocalPipeline, date: string): Promise<number> {
  let bytes = 0;
  for await (const { size } of stores.objects.list(config.lakeBucket, `listens/date=${date}/`)) bytes += size;
  return bytes;
}

/** Ten times as often, looking took a twentieth of what two cores do meanwhile. */
const LOOK_MS = 500;

/** Looks at a folder again and again; gives the most that it held when it is stopped. */
function watchScratch(dir: string): { stop(): Promise<number> } {
  let most = 0;
  let stopped = false;
  const looking = (async () => {
    while (!stopped) {
      most = Math.max(most, await sizeOf(dir));
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  })();
  return {
    stop: async () => {
      stopped = true;
      await looking;
      return most;
    },
  };
}

async function sizeOf(dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
  let bytes = 0;
  for (const entry of entries)
    if (entry.isFile())
      bytes += await stat(path.join(entry.parentPath, entry.name)).then(
        ({ size }) => size,
        () => 0,
      ); // gone meanwhile
  return bytes;
}
