import { type DuckDBLimits, type Engine, withEngine } from '@music/duckdb';
import {
  type ArchivedFile,
  type Erased,
  ErasureKey,
  type ErasureReport,
  Forgotten,
  eraseForgotten,
  erasureReportKey,
  removeDaysBefore,
  withoutForgotten,
} from '@music/erasure';
import type { ObjectRef } from '@music/events';
import { finishCompactions } from '@music/lake';
import { type ListensObject, type Manifest, type Run, type Work } from '@music/runs';
import type { Stores } from '@music/service';

export interface ErasureTools {
  readonly stores: Pick<Stores, 'runs' | 'objects'>;
  readonly lakeBucket: string;
  readonly intermediateBucket: string;
  readonly erasureKeyFile: string | undefined;
  readonly scratch: string;
  readonly limits: DuckDBLimits;
}

/** What was found before anything was changed: an attempt that dies half-way finds the rest only. */
interface Plan extends Omit<Erased, 'dates' | 'deliveries' | 'unknownRuns'> {
  readonly dates: readonly string[];
  readonly deliveries: Readonly<Record<string, readonly number[]>>;
  readonly unknownRuns: readonly string[];
}

/**
 * Takes listens out of the lake for good, as a run asks: those of users, or those of days before one. The caller holds
 * the turn to write the lake. Gives the days that are to be computed again, and where the report is. Safe to repeat.
 */
export async function eraseListens(
  run: Run,
  isOurTurn: () => Promise<boolean>,
  work: Work,
  tools: ErasureTools,
): Promise<{ readonly dates: readonly string[]; readonly report: ObjectRef }> {
  const { runs, objects } = tools.stores;
  const { lakeBucket } = tools;
  const request = run.erasure;
  if (request === undefined) throw new Error(`run ${run.runId} erases nothing`);
  if (!(await isOurTurn())) throw new Error(`${run.runId} no longer has the turn to write the lake`);
  if (request.what === 'expire') {
    // First: from then on nothing of these days comes back.
    await runs.erasures.keepFrom(request.before ?? '');
    const dates = await removeDaysBefore(objects, lakeBucket, request.before ?? '', work.signal);
    work.log.info({ days: dates.length, before: request.before }, 'listens have left the lake');
    const report = { runId: run.runId, at: new Date().toISOString(), before: request.before, dates };
    return { dates: [], report: await objects.putJson(lakeBucket, erasureReportKey(run.runId), report) };
  }
  const hashes =
    request.hashes === undefined ? [] : (await objects.readJson<{ hashes: string[] }>(request.hashes)).hashes;
  await finishCompactions(objects, lakeBucket);
  return withForgotten(hashes, tools, async (context) => {
    const common = {
      ...context,
      runs,
      runId: run.runId,
      lakeBucket,
      intermediateBucket: tools.intermediateBucket,
      signal: work.signal,
      progress: () => work.progress(),
    };
    const key = `erasures/${run.runId}/plan.json`;
    const known = await objects.head(lakeBucket, key);
    const plan =
      known === undefined
        ? await objects.readJson<Plan>(
            await objects.putJsonOnce(lakeBucket, key, planOf(await eraseForgotten({ ...common, dryRun: true }))),
          )
        : await objects.readJson<Plan>(known);
    const done = await eraseForgotten({ ...common, dryRun: false });
    const dates = [...new Set([...plan.dates, ...done.dates])].sort();
    const { archived, left } = await filesOf(plan, tools.stores);
    const report: ErasureReport = {
      runId: run.runId,
      users: request.users ?? hashes.length,
      at: new Date().toISOString(),
      listens: plan.listens,
      dates,
      objects: { rewritten: plan.rewritten, deleted: plan.deleted },
      archived,
      left: [...left, ...done.left],
    };
    work.log.info(
      { users: report.users, listens: report.listens, days: dates.length, left: report.left.length },
      'users are forgotten',
    );
    return { dates, report: await objects.putJson(lakeBucket, erasureReportKey(run.runId), report) };
  });
}

function planOf({ dates, deliveries, unknownRuns, ...found }: Erased): Plan {
  return {
    ...found,
    dates: [...dates].sort(),
    deliveries: Object.fromEntries([...deliveries].map(([run, files]) => [run, [...files].sort((a, b) => a - b)])),
    unknownRuns: [...unknownRuns].sort(),
  };
}

/** The files that brought listens: where the archive has them, and what else there is to be said of them. */
async function filesOf(
  { deliveries, unknownRuns }: Plan,
  { runs, objects }: ErasureTools['stores'],
): Promise<Pick<ErasureReport, 'archived' | 'left'>> {
  const archived = new Map<string, ArchivedFile>();
  const left: { object: string; why: string }[] = unknownRuns.map((run) => ({
    object: run,
    why: 'an earlier release placed its listens without the files that they came in: look through its archived files',
  }));
  for (const [runId, files] of Object.entries(deliveries)) {
    const manifest = (await runs.findRun(runId))?.manifest;
    if (manifest === undefined) {
      left.push({ object: runId, why: 'its manifest is not known, so neither are its archived files' });
      continue;
    }
    const wanted = new Set(files);
    const { streams } = await objects.readJson<Manifest>(manifest);
    const named = streams.filter(({ file }) => wanted.has(file));
    const entryOf = await runs.files.ofFiles(named);
    for (const file of named) {
      const { key } = file;
      const entry = entryOf(file);
      if (entry?.state === 'archived' && entry.movedTo !== undefined)
        archived.set(entry.movedTo, { object: entry.movedTo, key, version: entry.version, deleted: false });
      else left.push({ object: `s3://${file.bucket}/${key}`, why: 'a source file: it is not archived yet' });
    }
  }
  return { archived: [...archived.values()].sort((a, b) => (a.object < b.object ? -1 : 1)), left };
}

/** A run's objects without the listens of users who were forgotten since they were combined. */
export async function dropForgotten(
  run: Pick<Run, 'runId'>,
  listens: readonly ListensObject[],
  hashes: readonly string[],
  tools: ErasureTools,
): Promise<ListensObject[]> {
  return withForgotten(hashes, tools, async (context) => {
    const kept: ListensObject[] = [];
    for (const object of listens) {
      const made = await withoutForgotten({ ...context, dryRun: false }, object, `runs/${run.runId}/validated/erased/`);
      if (made !== undefined) kept.push({ ...object, ...made });
    }
    return kept;
  });
}

async function withForgotten<T>(
  hashes: readonly string[],
  { stores: { objects }, scratch, limits, erasureKeyFile }: ErasureTools,
  use: (context: { objects: Stores['objects']; engine: Engine; forgotten: Forgotten; dir: string }) => Promise<T>,
): Promise<T> {
  const key = ErasureKey.read(erasureKeyFile);
  return withEngine(scratch, 'erase', limits, async (engine, dir) =>
    use({ objects, engine, forgotten: await Forgotten.open(engine, key, hashes), dir }),
  );
}
