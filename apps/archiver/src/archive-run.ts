import { type KpisPublished, RunCompleted, envelope } from '@music/events';
import {
  type LedgerEntry,
  type Manifest,
  type ManifestFile,
  type Run,
  type Work,
  type WorkOutcome,
  messageOf,
  versionOf,
} from '@music/runs';
import { StagePerformer, StageRuntime } from '@music/service';
import { ObjectChanged, keyBelow, mapLimited } from '@music/storage';
import { Injectable } from '@nestjs/common';
import { ArchiverConfig } from './archiver.config';

const FILES_AT_ONCE = 32; // S3 copies by itself, so these mostly wait

/**
 * Archives exactly the stream files that passed in a run, then clears what the run worked on. A file is copied, checked,
 * written down as archived, and only then removed, if it is still the version that was copied.
 */
@Injectable()
export class ArchiveRun extends StagePerformer {
  constructor(
    private readonly runtime: StageRuntime,
    private readonly config: ArchiverConfig,
  ) {
    super();
  }

  async perform(work: Work): Promise<WorkOutcome> {
    const { runs, objects } = this.runtime.stores;
    const { runId } = work.event.data as KpisPublished;
    const run = await runs.findRun(runId);
    if (run?.state !== 'published' || run.manifest === undefined) return 'done';
    await runs.startStage(runId, 'archiver');
    const manifest = await objects.readJson<Manifest>(run.manifest);
    const ledger = await runs.findFiles(manifest.streams.map((file) => ({ key: file.key, version: versionOf(file) })));
    const archived = await mapLimited(manifest.streams, FILES_AT_ONCE, async (file) => {
      work.signal.throwIfAborted();
      const entry = ledger.get(`${file.key}\n${versionOf(file)}`);
      // Without an entry of this run the file is another run's now; rejected and changed ones are in quarantine or as they were.
      return entry?.runId === runId && (entry.state === 'passed' || entry.state === 'archived')
        ? this.archive(run, file, entry, work)
        : false;
    });
    const archivedFiles = archived.filter(Boolean).length;
    await objects.deletePrefix(this.config.intermediateBucket, `runs/${runId}/`);
    const completed = messageOf(envelope(RunCompleted, 'archiver', { runId, archivedFiles }), work);
    await runs.transition(runId, 'published', 'completed', 'archiver', { archivedFiles }, [completed]);
    work.log.info({ archivedFiles }, 'completed');
    return 'done';
  }

  private async archive(run: Run, file: ManifestFile, entry: LedgerEntry, work: Work): Promise<boolean> {
    const { objects, runs } = this.runtime.stores;
    const bucket = this.config.archiveBucket;
    const key = keyBelow(`streams/${run.logicalDate}/${run.runId}/`, file.key.replace(/^streams\//, ''));
    if (entry.state === 'passed') {
      try {
        await objects.copy(file, bucket, key, this.config.archiveStorageClass);
      } catch (error) {
        if (!(error instanceof ObjectChanged)) throw error;
        if ((await objects.head(bucket, key))?.size !== file.size) {
          // Its rows count, but this version is gone from a bucket that keeps none: say so, and leave what is there now alone.
          await runs.updateFile(file.key, entry.version, run.runId, {
            detail: 'replaced or removed before it could be archived; its rows count',
          });
          work.log.warn({ key: file.key }, 'replaced or removed before it could be archived');
          return false;
        }
      }
      await runs.updateFile(file.key, entry.version, run.runId, { state: 'archived', movedTo: `s3://${bucket}/${key}` });
      this.runtime.metrics.bytes.inc({ what: 'archived' }, file.size);
    }
    const removed = await objects.deleteIfUnchanged(file);
    if (removed === 'changed') work.log.info({ key: file.key }, 'uploaded again meanwhile; the new version stays for the next run');
    return true;
  }
}
