import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { STAGES } from '@music/events';
import { LocalPipeline } from '@music/local-pipeline';
import { SERVERS } from '@music/local-stack';
import { table } from '@music/reports';
import { labData } from '@music/testing';
import { benchApi } from './api';
import { benchArrivals } from './arrivals';
import { makeBenchData } from './bench-data';
import { type DayNumbers, floor } from './floor';
import { benchForms } from './forms';
import { type Measured, compareNumbers, measureRun } from './measure';
import { benchRetract } from './retract';
import { ROWS, type Row } from './rows';

/** What is no run of some data, and prints a table of its own. */
const OTHERS: Readonly<Record<string, (say: (text: string) => void) => Promise<void>>> = {
  arrivals: benchArrivals,
  forms: benchForms,
  api: benchApi,
  retract: benchRetract,
};

/** What the runs of one row came to: medians. */
interface Result {
  readonly row: Row;
  readonly floorSeconds: number | undefined;
  readonly seconds: number;
  readonly figures: readonly number[];
  /** The run of the median. */
  readonly run: Measured;
}

/**
 * `npm run bench [-- ROW …] [--runs N]`: measures the rows of rows.ts, medians of N runs (3), each in a new pipeline;
 * prints ratios against one DuckDB process over the same files. Where a row has a floor, its numbers are compared with
 * that process's, each time.
 */
async function main(args: string[]): Promise<void> {
  if (args[0] === 'floor') {
    process.stdout.write(JSON.stringify(await floor(args[1] ?? '')));
    return;
  }
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { runs: { type: 'string', default: '3' } },
  });
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs ${values.runs}: expected a whole number from 1`);
  const names = [...ROWS.map(({ name }) => name), ...Object.keys(OTHERS)];
  const unknown = positionals.filter((name) => !names.includes(name));
  if (unknown.length > 0) throw new Error(`${unknown.join(', ')}: expected ${names.join(', ')}`);
  const results: Result[] = [];
  for (const row of ROWS.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
    const result = await measureRow(row, runs);
    if (result !== undefined) results.push(result);
  }
  if (results.length > 0) print(results);
  for (const [name, bench] of Object.entries(OTHERS))
    if (positionals.length === 0 || positionals.includes(name)) await bench(say);
}

async function measureRow(row: Row, runs: number): Promise<Result | undefined> {
  const lab = labData();
  if (row.data === 'lab' && lab === undefined) {
    say(`${row.name}: left out, since LAB_DATA names no folder`);
    return undefined;
  }
  const dir = await mkdtemp(path.join(tmpdir(), 'music-bench-'));
  try {
    const folder = row.data === 'lab' ? (lab ?? '') : path.join(dir, 'data');
    if (typeof row.data === 'object') {
      say(`${row.name}: making data …`);
      await makeBenchData(folder, row.data);
    }
    const floors: Awaited<ReturnType<typeof runFloor>>[] = [];
    const all: { run: Measured; figures: number[] }[] = [];
    for (let n = 1; n <= runs; n += 1) {
      // In turns, so that both meet the machine as it is then.
      if (row.withFloor === true) floors.push(await runFloor(folder));
      const { run, figures } = await measureOnce(row, folder, dir, floors.at(-1));
      say(
        `${row.name}, run ${n}: ${two(run.seconds)} s${row.withFloor === true ? `, floor ${two(floors.at(-1)?.seconds ?? NaN)} s` : ''}`,
      );
      all.push({ run, figures });
    }
    const seconds = median(all.map(({ run }) => run.seconds));
    return {
      row,
      floorSeconds: row.withFloor === true ? median(floors.map((each) => each.seconds)) : undefined,
      seconds,
      figures: row.figures.map((_, i) => median(all.map(({ figures }) => figures[i] ?? NaN))),
      run: (all.find(({ run }) => run.seconds === seconds) ?? all[0])?.run as Measured,
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function measureOnce(
  row: Row,
  folder: string,
  dir: string,
  reached: { seconds: number; days: DayNumbers[] } | undefined,
) {
  const pipeline = await LocalPipeline.start({
    engine: row.engine ?? 'duckdb',
    muchData: row.muchData,
    comet: row.comet,
  });
  try {
    await pipeline.load(folder);
    let run = await measureRun(pipeline);
    if (row.then !== undefined) {
      await pipeline.load(await row.then(dir));
      run = await measureRun(pipeline);
    }
    if (reached !== undefined) await compareNumbers(pipeline, reached.days);
    const figures: number[] = [];
    for (const figure of row.figures) figures.push(await figure.of(run, reached?.seconds, pipeline));
    return { run, figures };
  } finally {
    await pipeline.stop();
  }
}

/** In a process of its own. The files are in the machine's memory for it, since it is not the first to read them. */
async function runFloor(folder: string): Promise<{ seconds: number; days: DayNumbers[] }> {
  const { stdout } = await promisify(execFile)(process.execPath, [process.argv[1] ?? '', 'floor', folder], {
    maxBuffer: 2 ** 28,
  });
  return JSON.parse(stdout) as { seconds: number; days: DayNumbers[] };
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
const two = (value: number): string => (Number.isNaN(value) ? '-' : value.toFixed(2));

function print(results: readonly Result[]): void {
  const verdict = (value: number, must: number, goal: number) =>
    value <= goal ? 'goal' : value <= must ? 'must' : 'MISSED';
  say(
    `\n${table(
      ['row', 'listens', 'floor s', 'completed s', 'figure', 'value', 'must', 'goal', 'reached'],
      results.flatMap(({ row, floorSeconds, seconds, figures, run }) =>
        row.figures.map(({ what, must, goal }, i) => [
          i === 0 ? row.name : '',
          i === 0 ? run.report.rows.read : '',
          i === 0 ? two(floorSeconds ?? NaN) : '',
          i === 0 ? two(seconds) : '',
          what,
          two(figures[i] ?? NaN),
          must,
          goal,
          verdict(figures[i] ?? NaN, must, goal),
        ]),
      ),
    )}`,
  );
  const each = (title: string, names: readonly string[], cell: (run: Measured, name: string) => string) =>
    say(
      `\n${title}\n${table(
        ['row', ...names],
        results.map(({ row, run }) => [row.name, ...names.map((name) => cell(run, name))]),
      )}`,
    );
  each('seconds a stage (stages overlap)', STAGES, ({ report }, name) =>
    two(report.stages.find(({ stage }) => stage === name)?.seconds ?? NaN),
  );
  each('processor seconds', [...STAGES, ...SERVERS], ({ cpu }, name) => two(cpu[name as keyof typeof cpu]));
  each('peak resident memory, MiB', STAGES, ({ peakMb }, name) =>
    String(Math.round(peakMb[name as keyof typeof peakMb])),
  );
  const [ten, sixty] = ['10m1d', '60m1d'].map((name) => results.find(({ row }) => row.name === name));
  if (ten !== undefined && sixty !== undefined) {
    const ratio = sixty.seconds / ten.seconds;
    say(
      `\n60 million listens on one day take ${two(ratio)} times as long as 10 million (must 6.6, goal 6.0: ${verdict(ratio, 6.6, 6)})`,
    );
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
