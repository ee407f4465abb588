import {
  type Delivery,
  type Manifest,
  type RunStore,
  type StandingRequest,
  deliveryKey,
  mayCount,
  takersOf,
  versionOf,
} from '@music/runs';
import { type ObjectStore, mapLimited } from '@music/storage';

/** Which deliveries are meant. */
export type DeliveriesAsked = Pick<StandingRequest, 'change' | 'key' | 'version' | 'ofRun'>;

/** Thrown where nothing is meant that could be taken back, or given back; says what there is. */
export class NoSuchDelivery extends Error {
  override readonly name = 'NoSuchDelivery';
}

interface Found {
  readonly runs: RunStore;
  readonly objects: ObjectStore;
}

const RUNS_AT_ONCE = 8;
const VERSIONS_TOLD = 5;

/**
 * The deliveries of a key, or of a run, that stand, where they are to be taken back, or that do not, where they are to
 * be given back. Throws NoSuchDelivery.
 */
export async function findDeliveries(stores: Found, asked: DeliveriesAsked): Promise<Delivery[]> {
  const [named, { standings }] = await Promise.all([
    asked.ofRun === undefined ? ofKey(stores, asked.key ?? '', asked.version) : ofRun(stores, asked.ofRun),
    stores.runs.standing.list(),
  ]);
  const known = new Map(standings.map((standing) => [deliveryKey(standing), standing]));
  const isWanted = (delivery: Delivery) =>
    (known.get(deliveryKey(delivery))?.stands ?? true) === (asked.change !== 'restore');
  const wanted = named.filter(isWanted);
  if (wanted.length > 0) return wanted;
  const [first] = named;
  const last = first === undefined ? undefined : known.get(deliveryKey(first))?.notes.at(-1);
  throw new NoSuchDelivery(
    asked.change === 'restore'
      ? 'nothing of it was taken back: it stands'
      : `it does not stand any more${last === undefined ? '' : `: ${last.runId} took it back at ${last.at}`}`,
  );
}

/** The versions of a key that runs took, of which listens may count; those of one version, or of one ETag. */
async function ofKey(stores: Found, name: string, version: string | undefined): Promise<Delivery[]> {
  const key = name.startsWith('streams/') ? name : `streams/${name}`;
  const entries = (await stores.runs.files.versions(key)).filter(mayCount);
  if (entries.length === 0) throw new NoSuchDelivery(`no run took a file ${key} whose rows passed`);
  const meant = entries.filter((entry) => version === undefined || isVersion(entry.version, version));
  if (meant.length === 0) {
    const versions = entries.map((entry) => entry.version);
    throw new NoSuchDelivery(
      `${key} has no version ${version}; there is ${versions.slice(-VERSIONS_TOLD).join(', ')}${versions.length > VERSIONS_TOLD ? ' and older ones' : ''}`,
    );
  }
  return numbered(
    stores,
    meant.map((entry) => ({ key, version: entry.version, takers: takersOf(entry) })),
  );
}

/** A version is an ETag and a time; the ETag alone will do, with or without its quotes. */
function isVersion(version: string, asked: string): boolean {
  const bare = (text: string) => text.replaceAll('"', '');
  return bare(version) === bare(asked) || bare(version).split('@')[0] === bare(asked);
}

/** What a run took; or, of a run that took back or gave back what others did, that. */
async function ofRun(stores: Found, runId: string): Promise<readonly Delivery[]> {
  const { runs, objects } = stores;
  const run = await runs.findRun(runId);
  if (run === undefined) throw new NoSuchDelivery(`there is no run ${runId}`);
  if (run.manifest === undefined) throw new NoSuchDelivery(`${runId} is ${run.state}: it has taken no files`);
  const { streams, changed = [] } = await objects.readJson<Manifest>(run.manifest);
  if (streams.length === 0) {
    if (changed.length === 0) throw new NoSuchDelivery(`${runId} took no files`);
    return changed.map(({ key, version, takenBy }) => ({ key, version, takenBy }));
  }
  const entryOf = await runs.files.ofFiles(streams);
  const meant = streams.flatMap((file) => {
    const entry = entryOf(file);
    if (entry === undefined || !mayCount(entry) || !takersOf(entry).includes(runId)) return [];
    return [{ key: file.key, version: entry.version, takers: takersOf(entry) }];
  });
  if (meant.length === 0) throw new NoSuchDelivery(`${runId} took no file whose rows passed`);
  return numbered(stores, meant);
}

/** With the number that each has in the manifests of the runs that took it. */
async function numbered(
  { runs, objects }: Found,
  files: readonly { key: string; version: string; takers: readonly string[] }[],
): Promise<Delivery[]> {
  const takers = [...new Set(files.flatMap((file) => file.takers))];
  const numbers = new Map<string, Map<string, number>>();
  await mapLimited(takers, RUNS_AT_ONCE, async (runId) => {
    const manifest = (await runs.findRun(runId))?.manifest;
    const { streams } = manifest === undefined ? { streams: [] } : await objects.readJson<Manifest>(manifest);
    numbers.set(
      runId,
      new Map(streams.map((file) => [deliveryKey({ key: file.key, version: versionOf(file) }), file.file])),
    );
  });
  return files.map(({ key, version, takers: of }) => ({
    key,
    version,
    takenBy: of.flatMap((runId) => {
      const file = numbers.get(runId)?.get(deliveryKey({ key, version }));
      return file === undefined ? [] : [{ runId, file }];
    }),
  }));
}

/** Earlier versions of some files that stand, each with the file that is to replace it. */
export async function findReplaced(
  stores: Found,
  files: readonly { readonly key: string; readonly version: string; readonly file: number }[],
): Promise<(Delivery & { readonly replacedBy: number })[]> {
  const before = await mapLimited(files, RUNS_AT_ONCE, async ({ key, version, file }) =>
    (await stores.runs.files.versions(key))
      .filter((entry) => entry.version !== version && mayCount(entry))
      .map((entry) => ({ key, version: entry.version, takers: takersOf(entry), replacedBy: file })),
  );
  const { standings } = await stores.runs.standing.list();
  const gone = new Set(standings.filter(({ stands }) => !stands).map(deliveryKey));
  const meant = before.flat().filter((each) => !gone.has(deliveryKey(each)));
  const deliveries = await numbered(stores, meant);
  return deliveries.map((delivery, i) => ({ ...delivery, replacedBy: meant[i]?.replacedBy ?? 0 }));
}
