import { LastingError } from '@music/errors';
import { objectsWithoutDeliveries, openPlacedDays, writeLeftOut } from '@music/lake';
import {
  type ChangedDelivery,
  type LeftOut,
  type Manifest,
  type Run,
  type Standing,
  type StandingNote,
  deliveryKey,
  leftOutOf,
  mayCount,
  versionOf,
} from '@music/runs';
import type { Stores } from '@music/service';
import { mapLimited } from '@music/storage';

const CALLS_AT_ONCE = 16;
const NOTES_KEPT = 20;

/** Thrown where listens that are to be taken back cannot be told from others. */
export class DeliveryIsUnknown extends LastingError {}

/** What of the lake counts once a run has had its way. */
export interface StandingDeliveries {
  readonly leftOut: LeftOut;
  /** The days whose numbers change by what the run took back or gave back, or may, ascending. */
  readonly dates: readonly string[];
}

export interface StandingTurn {
  readonly run: Run;
  /** The run's turn to write the lake. */
  readonly turn: number;
  /** Asked before anything is written: whether the turn is still the run's. */
  readonly isOurTurn: () => Promise<boolean>;
  /**
   * `done`: the run has its way. `held`: what it did to others' deliveries is undone, until it is released, and its own
   * do not count for others. `discarded`: that is undone, and its own are taken back.
   */
  readonly how: 'done' | 'held' | 'discarded';
}

/**
 * Takes back, or gives back, what a run's manifest names, and undoes what an earlier attempt of the run did beyond
 * that. The caller holds the turn to write the lake; repeating it changes nothing. Throws DeliveryIsUnknown.
 */
export async function changeDeliveries(
  { runs, objects }: Pick<Stores, 'runs' | 'objects'>,
  lakeBucket: string,
  { run, turn, isOurTurn, how }: StandingTurn,
): Promise<StandingDeliveries> {
  const { runId } = run;
  const { standings, held } = await runs.standing.list();
  const heldRuns = held.filter((each) => each !== runId);
  // The usual case: it costs this one Query.
  if (standings.length === 0 && run.standing === undefined && how === 'done' && run.decision === undefined)
    return { leftOut: leftOutOf([], heldRuns), dates: [] };
  if (run.manifest === undefined) throw new Error(`run ${runId} has no manifest`);
  const manifest = await objects.readJson<Manifest>(run.manifest);
  const known = new Map(standings.map((standing) => [deliveryKey(standing), standing]));
  const changes = new Map([
    ...undone(run, standings),
    ...(how === 'done' ? changed(run, await hadItsWay(runs, run, manifest), known) : []),
    ...(how === 'discarded' ? changed(run, await ownDeliveries(runs, manifest), known) : []),
  ]);
  for (const standing of takenAgain(manifest, new Map([...known, ...changes])))
    changes.set(deliveryKey(standing), standing);

  const touched = [...changes.values()];
  const daysOf = await openPlacedDays(objects, lakeBucket, touched);
  const dated = touched.map((standing): Standing => ({
    ...standing,
    turn,
    dates: [...new Set([...standing.dates, ...daysOf(standing)])].sort(),
  }));
  await refuseUnknown(objects, lakeBucket, dated);
  const turnIsOver = () => new Error(`${runId} no longer has turn ${turn} to write the lake`);
  if (touched.length > 0 && !(await isOurTurn())) throw turnIsOver();
  const all = new Map([...known, ...dated.map((standing) => [deliveryKey(standing), standing] as const)]);
  const retracted = [...all.values()].filter(({ stands }) => !stands);
  const tells = touched.length > 0 || how !== 'done' || run.decision !== undefined;
  await Promise.all([
    mapLimited(dated, CALLS_AT_ONCE, async (standing) => {
      if (!(await runs.standing.set(standing))) throw turnIsOver();
    }),
    tells ? writeLeftOut(objects, lakeBucket, retracted, how === 'held' ? [...heldRuns, runId] : heldRuns) : undefined,
  ]);
  // Also of those that an attempt before this one changed, and did not live to compute.
  const ofThisRun = [...all.values()].filter(({ notes }) => notes.at(-1)?.runId === runId);
  const dates = [...new Set(ofThisRun.flatMap((standing) => standing.dates))].sort();
  return { leftOut: leftOutOf(retracted, heldRuns), dates };
}

/** The deliveries that a run changes: of those that it replaces the ones whose new version is good itself. */
async function hadItsWay(
  runs: Stores['runs'],
  { runId, standing }: Run,
  { streams, changed: named = [] }: Manifest,
): Promise<readonly ChangedDelivery[]> {
  if (standing?.change !== 'replace') return named;
  const replacing = streams.filter(({ file }) => named.some(({ replacedBy }) => replacedBy === file));
  const entryOf = await runs.files.ofFiles(replacing);
  const passed = new Set(
    replacing.flatMap((file) => {
      const entry = entryOf(file);
      return entry?.runId === runId && (entry.state === 'passed' || entry.state === 'archived') ? [file.file] : [];
    }),
  );
  return named.filter(({ replacedBy }) => replacedBy !== undefined && passed.has(replacedBy));
}

/** What a run delivered itself. */
async function ownDeliveries(runs: Stores['runs'], { runId, streams }: Manifest): Promise<readonly ChangedDelivery[]> {
  const entryOf = await runs.files.ofFiles(streams);
  return streams.flatMap((file) => {
    const entry = entryOf(file);
    if (entry === undefined || !mayCount(entry)) return [];
    return [{ key: file.key, version: entry.version, takenBy: [{ runId, file: file.file }] }];
  });
}

function changed(
  run: Run,
  deliveries: readonly ChangedDelivery[],
  known: ReadonlyMap<string, Standing>,
): [string, Standing][] {
  const change = run.decision?.what === 'discard' ? 'discard' : (run.standing?.change ?? 'retract');
  const stands = change === 'restore';
  return deliveries.flatMap(({ key, version, takenBy }): [string, Standing][] => {
    const before = known.get(deliveryKey({ key, version }));
    // Another run did so meanwhile: it is that run's to undo.
    if (before?.stands === stands && before.notes.at(-1)?.runId !== run.runId) return [];
    const takers = [...(before?.takenBy ?? []), ...takenBy];
    const standing: Standing = {
      key,
      version,
      takenBy: takers.filter((each, i) => takers.findIndex((other) => isSame(each, other)) === i),
      stands,
      dates: before?.dates ?? [],
      turn: 0,
      notes: noted(before, run, change),
    };
    return [[deliveryKey(standing), standing]];
  });
}

/** What a run changed in an earlier attempt, put back. */
function undone(run: Run, standings: readonly Standing[]): [string, Standing][] {
  return standings.flatMap((standing): [string, Standing][] => {
    const last = standing.notes.at(-1);
    if (last?.runId !== run.runId || last.change === 'undone') return [];
    const back = { ...standing, stands: last.change !== 'restore', notes: noted(standing, run, 'undone') };
    return [[deliveryKey(standing), back]];
  });
}

/** Versions that were taken back before and are in this run, too: it makes them stand no more than before. */
function takenAgain({ runId, streams }: Manifest, standings: ReadonlyMap<string, Standing>): Standing[] {
  return streams.flatMap((file) => {
    const standing = standings.get(deliveryKey({ key: file.key, version: versionOf(file) }));
    const taker = { runId, file: file.file };
    if (standing === undefined || standing.takenBy.some((each) => isSame(each, taker))) return [];
    return [{ ...standing, takenBy: [...standing.takenBy, taker] }];
  });
}

type Taker = Standing['takenBy'][number];
const isSame = (one: Taker, other: Taker): boolean => one.runId === other.runId && one.file === other.file;

/** What was noted of a delivery, and who changes it now; once for each run. */
function noted(before: Standing | undefined, run: Run, change: StandingNote['change']): StandingNote[] {
  const notes = (before?.notes ?? []).filter(({ runId }) => runId !== run.runId);
  const by = change === 'discard' ? run.decision?.by : run.requestedBy;
  const note: StandingNote = {
    change,
    runId: run.runId,
    at: new Date().toISOString(),
    reason: (change === 'discard' ? run.decision?.reason : run.standing?.reason) ?? '',
    ...(by === undefined ? {} : { by }),
  };
  return [...notes, note].slice(-NOTES_KEPT);
}

async function refuseUnknown(
  objects: Stores['objects'],
  lakeBucket: string,
  standings: readonly Standing[],
): Promise<void> {
  const retracted = standings.filter(({ stands }) => !stands);
  const takers = new Set(retracted.flatMap(({ takenBy }) => takenBy.map(({ runId }) => runId)));
  const dates = [...new Set(retracted.flatMap((standing) => standing.dates))].sort();
  const [unknown, ...more] = await objectsWithoutDeliveries(objects, lakeBucket, dates, takers);
  if (unknown === undefined) return;
  const others = more.length === 0 ? '' : ` and ${more.length} more`;
  throw new DeliveryIsUnknown(
    `${unknown.key}${others}: an earlier release wrote it without the files that its listens came in, so none can be taken back; docs/operations.md says how to deliver them again (Take back)`,
  );
}
