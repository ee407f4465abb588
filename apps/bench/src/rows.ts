import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { LOCAL_ENGINES, LocalPipeline } from '@music/local-pipeline';
import { type BenchSize, FIRST_DAY } from './bench-data';
import { type Measured, lakeBytes } from './measure';

/** A figure that a row is held to, smaller is better. */
export interface Figure {
  readonly what: string;
  readonly must: number;
  readonly goal: number;
  /** Undefined where it cannot be told without the floor. */
  readonly of: (
    measured: Measured,
    floorSeconds: number | undefined,
    pipeline: LocalPipeline,
  ) => number | Promise<number>;
}

export interface Row {
  readonly name: string;
  readonly data: BenchSize | 'lab';
  readonly engine?: (typeof LOCAL_ENGINES)[number];
  /** Whether it is measured against one DuckDB process, and its numbers compared with that one's. */
  readonly withFloor?: boolean;
  /** Whether DynamoDB gets very many items: then it is started for throughput, as AWS's own is, and not to start soon. */
  readonly muchData?: boolean;
  /** Whether Spark works as it does on Kubernetes, not as on AWS Glue. */
  readonly comet?: boolean;
  readonly figures: readonly Figure[];
  /** What comes after the first run: then the second run is the one that is measured. Gives a folder. */
  readonly then?: (dir: string) => Promise<string>;
}

const MILLION = 1_000_000;
const toFloor = (must: number, goal: number): Figure => ({
  what: 'request to completed ÷ floor',
  must,
  goal,
  of: ({ seconds }, floorSeconds) => seconds / (floorSeconds ?? NaN),
});
const seconds = (must: number, goal: number): Figure => ({
  what: 'request to completed, s',
  must,
  goal,
  of: (measured) => measured.seconds,
});
const memory: Figure = {
  what: 'peak resident of any service, MiB',
  must: 900,
  goal: 700,
  of: ({ peakMb }) => Math.max(...Object.values(peakMb)),
};
const scratch: Figure = {
  what: "scratch ÷ the day's Parquet",
  must: 2.5,
  goal: 1.5,
  of: async ({ scratchBytes }, _, pipeline) => scratchBytes / (await lakeBytes(pipeline, FIRST_DAY)),
};

const publishing: Figure = {
  what: "the job's end to published, s",
  must: 8,
  goal: 4,
  of: ({ report }) => {
    const trigger = report.stages.find(({ stage }) => stage === 'glue-trigger');
    return (Date.parse(trigger?.ended_at ?? '') - Date.parse(report.job?.endedAt ?? '')) / 1_000;
  },
};

/** A small file of new listens on the first day. */
async function lateFile(dir: string): Promise<string> {
  const folder = path.join(dir, 'late');
  await mkdir(path.join(folder, 'streams'), { recursive: true });
  const rows = Array.from({ length: 10_000 }, (_, i) => `${i},late-${i % 500},${FIRST_DAY} 12:34:56.789\n`);
  await writeFile(path.join(folder, 'streams', 'late.csv'), `user_id,track_id,listen_time\n${rows.join('')}`);
  return folder;
}

/** What `npm run bench` measures, and what it is held to. */
export const ROWS: readonly Row[] = [
  { name: 'lab', data: 'lab', figures: [seconds(2, 1.5)] },
  {
    name: '10m',
    data: { listens: 10 * MILLION, files: 10, days: 3 },
    withFloor: true,
    figures: [toFloor(3, 2.5), memory],
  },
  {
    name: '30m',
    data: { listens: 30 * MILLION, files: 30, days: 3 },
    withFloor: true,
    figures: [toFloor(2.7, 2.2), memory],
  },
  { name: '10m1d', data: { listens: 10 * MILLION, files: 10, days: 1 }, withFloor: true, figures: [memory] },
  {
    name: '60m1d',
    data: { listens: 60 * MILLION, files: 60, days: 1 },
    withFloor: true,
    figures: [toFloor(3, 2.2), memory, scratch],
  },
  {
    name: 'late',
    data: { listens: 10 * MILLION, files: 10, days: 1 },
    then: lateFile,
    figures: [seconds(5, 3), memory],
  },
  {
    name: 'catalogue',
    data: { listens: 2 * MILLION, files: 2, days: 1, tracks: 3 * MILLION, genresATrack: 2, users: 2 * MILLION },
    figures: [seconds(30, 20), memory],
  },
  {
    name: 'history',
    data: { listens: MILLION, files: 10, days: 1_000 },
    muchData: true,
    figures: [seconds(120, 60), memory],
  },
  {
    name: 'genres',
    data: { listens: MILLION, files: 2, days: 1, tracks: 20_000, genres: 5_000 },
    muchData: true,
    figures: [publishing],
  },
  {
    name: 'spark',
    data: { listens: 10 * MILLION, files: 10, days: 3 },
    engine: 'glue',
    comet: true,
    withFloor: true,
    figures: [seconds(60, 45)],
  },
];
