import { loadDuckDBAhead } from '@music/duckdb';
import { ErasureKey } from '@music/erasure';
import { BatchCombined, type StreamsSensed, envelope } from '@music/events';
import { type Manifest, type Work, type WorkOutcome, messageOf } from '@music/runs';
import { StagePerformer, StageRuntime } from '@music/service';
import { Injectable } from '@nestjs/common';
import { CombineBatch } from './combine-batch';
import { CombinerConfig } from './combiner.config';

const AHEAD = { files: 8, bytes: 128 * 2 ** 20, firstBytes: 32 * 2 ** 20 };
/**
 * Three or four statements a batch: the next files are fetched meanwhile, and what comes out is large enough for the
 * lake.
 */
const TOGETHER = { files: 500, bytes: 128 * 2 ** 20, firstBytes: 32 * 2 ** 20 };

/** Combines one batch and says so, once. */
@Injectable()
export class CombineStreams extends StagePerformer {
  private readonly combine: CombineBatch;

  constructor(
    private readonly runtime: StageRuntime,
    private readonly config: CombinerConfig,
  ) {
    super();
    loadDuckDBAhead();
    this.combine = new CombineBatch(
      runtime.stores.objects,
      { intermediate: config.intermediateBucket, lake: config.lakeBucket },
      config.reading,
      {
        engine: config.duckdbLimits,
        maxFileBytes: config.maxFileMb * 2 ** 20,
        together: TOGETHER,
        ahead: AHEAD,
      },
      runtime.scratch,
    );
  }

  async perform(work: Work): Promise<WorkOutcome> {
    const { runs, objects } = this.runtime.stores;
    const { runId, batch, manifest } = work.event.data as StreamsSensed;
    if ((await runs.batches.find(runId, batch))?.state !== 'sensed') return 'done';
    const began = performance.now();
    const [frozen, erased] = await Promise.all([
      objects.readJson<Manifest>(manifest),
      runs.erasures.state(),
      runs.startStage(runId, 'combiner'),
    ]);
    const key = erased.hashes.length === 0 ? undefined : ErasureKey.read(this.config.erasureKeyFile);
    const evidence = await this.combine.execute(frozen, batch, work, { ...erased, key });
    const combined = messageOf(envelope(BatchCombined, 'combiner', { runId, batch, manifest, evidence }), work);
    const [moved] = await Promise.all([
      runs.batches.move(runId, batch, 'sensed', 'combined', { evidence }, 'combiner', [combined]),
      runs.endStage(runId, 'combiner'),
    ]);
    if (moved) {
      const bytes = frozen.streams.reduce((sum, file) => (file.batch === batch ? sum + file.size : sum), 0);
      this.runtime.metrics.bytes.inc({ what: 'combined' }, bytes);
    }
    work.log.info({ batch, seconds: (performance.now() - began) / 1_000 }, 'combined');
    return 'done';
  }
}
