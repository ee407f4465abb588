import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { STAGES, type Stage } from '@music/events';
import { LocalPipeline, buildNewerRelease } from '@music/local-pipeline';
import { type Child, PATIENCE_MS, until } from '@music/local-stack';
import { listDeadLetters } from '@music/messaging';
import { dayReport, requestRun, waitForRun } from '@music/reports';

const DAY = '2026-03-01';
const HEADER = 'user_id,track_id,listen_time\n';
const FILES = 8;
const LISTENS = 16_000; // above 0.5 MiB, so that each file is a batch of its own

describe('releases side by side:', () => {
  let dir: string;
  let pipeline: LocalPipeline;
  let bundleOf: (stage: Stage) => string;

  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'upgrades-spec-'));
    bundleOf = await buildNewerRelease(path.join(dir, 'newer'), STAGES);
    pipeline = await LocalPipeline.start({
      env: { BATCH_MB: '1', MAX_ACTIVE_RUNS: '4', SWEEP_SECONDS: '0.2', ADDED_LATER: '8' },
    });
    await pipeline.putTexts({
      'songs/songs.csv': 'track_id,track_name,artists,track_genre,duration_ms,popularity\nt1,One,A,pop,60000,1\n',
      'users/users.csv': 'user_id,user_name,user_country\n1,Ada,France\n',
    });
  });
  afterAll(async () => {
    await pipeline?.stop();
    await rm(dir, { recursive: true });
  });

  let delivered = 0;
  /** Files with listens that no other delivery has, and a run of them. */
  async function begun(): Promise<string> {
    const texts: Record<string, string> = {};
    for (let file = 0; file < FILES; file += 1) {
      const rows = Array.from({ length: LISTENS }, (_, n) => `listener-${delivered}-${n},t1,${DAY} 10:00:00.000\n`);
      texts[`streams/${(delivered += 1)}.csv`] = HEADER + rows.join('');
    }
    await pipeline.putTexts(texts);
    return requestRun(pipeline.stores, { logicalDate: DAY, immediately: true });
  }
  const combined = (children: readonly Child[]) =>
    children.filter((child) => child.lastLines(5_000).includes('"msg":"combined"'));
  const oneIsCombined = (runId: string) =>
    until(`a batch of ${runId} is combined`, async () =>
      (await pipeline.stores.runs.batches.list(runId)).some(({ state }) => state !== 'sensed'),
    );
  /** Replaces every process of a stage as a Deployment does: a new one is ready before the old one is asked to go. */
  async function roll(bundle?: (stage: Stage) => string): Promise<void> {
    for (const stage of STAGES) {
      const old = pipeline.children(stage);
      await pipeline.startService(stage, {}, bundle?.(stage));
      await Promise.all(old.map((child) => child.stop(20_000)));
    }
  }

  it('a run goes on through an upgrade, both releases at work on one, and through the way back', async () => {
    const [older] = pipeline.children('combiner');
    const first = await begun();
    await oneIsCombined(first);
    const second = await begun();
    const newer = await pipeline.startService('combiner', {}, bundleOf('combiner'));
    await until('both releases have combined', () => combined([older as Child, newer]).length === 2);
    await roll(bundleOf);
    const third = await begun();
    await oneIsCombined(third);
    await roll();
    const fourth = await begun();
    const ends = [];
    for (const runId of [first, second, third, fourth])
      ends.push(await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS }));
    expect(ends.map((run) => [run?.state, run?.reasons ?? []])).toEqual(ends.map(() => ['completed', []]));
    expect((await dayReport(pipeline.stores.kpis, DAY))?.listen_count).toBe(4 * FILES * LISTENS);
    expect(await listDeadLetters(pipeline.stores.kafka, pipeline.stores.runs)).toEqual([]);
    // The newer release was there: its field is in an item that the older one went on with.
    const stages = (await pipeline.stores.runs.findRun(third))?.stages.sensor;
    expect(stages).toMatchObject({ addedLater: true, endedAt: expect.any(String) });
  });
});
