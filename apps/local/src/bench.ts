import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { STAGES, type Stage } from '@music/events';
import { type RunReport, number, requestRun, runReport, table, waitForRun } from '@music/reports';
import { SERVERS, type Server, workspaceRoot } from '@music/testing';
import { makeBenchData } from './bench-data';
import { floor } from './bench-floor';
import { LOCAL_ENGINES, LocalPipeline } from '@music/local-pipeline';

const SIZES = { '10m': { listens: 10_000_000, files: 10, days: 3 }, '30m': { listens: 30_000_000, files: 30, days: 3 } } as const;
const LAB = path.join(workspaceRoot(), '..', 'shared', 'data', 'lab');

type Engine = (typeof LOCAL_ENGINES)[number];

interface Measured {
  /** Data, and the engine where it is not the default one. */
  readonly name: string;
  readonly listens: number;
  readonly floorSeconds: number;
  readonly seconds: number;
  readonly report: RunReport;
  readonly peakMb: Record<Stage, number>;
  /** Processor seconds of each stage, and of the servers. */
  readonly cpu: Record<Stage | Server, number>;
}

/**
 * `npm run bench [-- 10m 30m samples lab] [--engines duckdb,spark]`: prints ratios against one DuckDB process over the same
 * files. Without sizes all are measured with DuckDB; with engines, those up to 10 million with each.
 */
async function main(args: string[]): Promise<void> {
  if (args[0] === 'floor') {
    const began = performance.now();
    const listens = await floor(args[1] ?? '');
    process.stdout.write(JSON.stringify({ listens, seconds: (performance.now() - began) / 1_000 }));
    return;
  }
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { engines: { type: 'string' } } });
  const engines = (values.engines ?? 'duckdb').split(',').map((name): Engine => {
    const engine = name === 'spark' ? 'glue' : name; // what one machine has of Spark is the Glue script
    if (!(LOCAL_ENGINES as readonly string[]).includes(engine)) throw new Error(`--engines ${name}: expected duckdb or spark`);
    return engine as Engine;
  });
  const sizes = ['samples', ...(existsSync(LAB) ? ['lab'] : []), '10m', ...(values.engines === undefined ? ['30m'] : [])];
  const names = positionals.length > 0 ? positionals : sizes;
  const dir = await mkdtemp(path.join(tmpdir(), 'music-bench-'));
  try {
    const all: Measured[] = [];
    for (const name of names) all.push(...(await measure(name, engines, dir)));
    print(all);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function measure(name: string, engines: readonly Engine[], dir: string): Promise<Measured[]> {
  const folder = name === 'lab' ? LAB : name === 'samples' ? path.join(workspaceRoot(), 'samples') : path.join(dir, name);
  if (name in SIZES) {
    say(`${name}: making data …`);
    await makeBenchData(folder, SIZES[name as keyof typeof SIZES]);
  } else if (!existsSync(folder)) throw new Error(`${name}: expected ${Object.keys(SIZES).join(', ')}, samples or lab`);
  say(`${name}: the floor …`);
  const { seconds: floorSeconds } = name === 'samples' ? { seconds: NaN } : await runFloor(folder); // its bad times end the plain query
  try {
    const measured: Measured[] = [];
    for (const engine of engines) measured.push(await measureEngine(name, engine, folder, floorSeconds));
    return measured;
  } finally {
    if (name in SIZES) await rm(folder, { recursive: true, force: true });
  }
}

async function measureEngine(data: string, engine: Engine, folder: string, floorSeconds: number): Promise<Measured> {
  const name = engine === 'duckdb' ? data : `${data}, spark`;
  say(`${name}: the pipeline …`);
  const pipeline = await LocalPipeline.start({ engine });
  try {
    await pipeline.load(folder);
    const cpuSeconds = () =>
      Object.fromEntries([
        ...STAGES.map((stage) => [stage, pipeline.children(stage).reduce((sum, child) => sum + child.cpuSeconds(), 0)]),
        ...SERVERS.map((server) => [server, pipeline.stack?.child(server).cpuSeconds() ?? 0]),
      ]) as Measured['cpu'];
    const before = cpuSeconds();
    const runId = await requestRun(pipeline.stores, { logicalDate: '2024-06-26', immediately: true });
    await waitForRun(pipeline.stores, runId);
    const report = await runReport(pipeline.stores, runId);
    if (report?.state !== 'completed' || report.seconds === undefined)
      throw new Error(`${name}: the run is ${report?.state}: ${report?.reasons.join('; ')}`);
    const peakMb = Object.fromEntries(
      STAGES.map((stage) => [stage, Math.max(...pipeline.children(stage).map((child) => child.peakRss())) / 2 ** 20]),
    ) as Record<Stage, number>;
    const after = cpuSeconds();
    const cpu = Object.fromEntries(
      Object.entries(after).map(([process, seconds]) => [process, seconds - before[process as Stage]]),
    ) as Measured['cpu'];
    return { name, listens: report.rows.read, floorSeconds, seconds: report.seconds, report, peakMb, cpu };
  } finally {
    await pipeline.stop();
  }
}

/** In a process of its own; the better of two, so that the files are in memory for it as they are for the pipeline. */
async function runFloor(folder: string): Promise<{ listens: number; seconds: number }> {
  const results = [];
  for (let i = 0; i < 2; i += 1) {
    const { stdout } = await promisify(execFile)(process.execPath, [process.argv[1] ?? '', 'floor', folder]);
    results.push(JSON.parse(stdout) as { listens: number; seconds: number });
  }
  return results.sort((a, b) => a.seconds - b.seconds)[0] as { listens: number; seconds: number };
}

function print(all: readonly Measured[]): void {
  const two = (value: number) => (Number.isNaN(value) ? '-' : value.toFixed(2));
  say(
    `\n${table(
      ['data', 'listens', 'floor s', 'request to completed s', 'ratio to the floor'],
      all.map(({ name, listens, floorSeconds, seconds }) => [name, listens, two(floorSeconds), two(seconds), two(seconds / floorSeconds)]),
    )}`,
  );
  say(
    `\nseconds a stage (stages overlap)\n${table(
      ['data', ...STAGES],
      all.map(({ name, report }) => [
        name,
        ...STAGES.map((stage) => two(report.stages.find((each) => each.stage === stage)?.seconds ?? NaN)),
      ]),
    )}`,
  );
  say(
    `\nprocessor seconds\n${table(
      ['data', ...STAGES, ...SERVERS],
      all.map(({ name, cpu }) => [name, ...[...STAGES, ...SERVERS].map((process) => two(cpu[process]))]),
    )}`,
  );
  say(
    `\npeak resident memory, MiB\n${table(
      ['data', ...STAGES],
      all.map(({ name, peakMb }) => [name, ...STAGES.map((stage) => Math.round(peakMb[stage]))]),
    )}`,
  );
  const [ten, thirty] = ['10m', '30m'].map((name) => all.find((each) => each.name === name));
  if (ten !== undefined && thirty !== undefined)
    say(`\n30 million listens take ${number(thirty.seconds / ten.seconds)} times as long as 10 million`);
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
