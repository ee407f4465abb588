import { type ErasureReport, erasureReportKey, removeForGood } from '@music/erasure';
import { type KpisPublished, RunCompleted, envelope } from '@music/events';
import {
  type LedgerEntry,
  type Manifest,
  type ManifestFile,
  type Run,
  type Work,
  type WorkOutcome,
  messageOf,
} from '@music/runs';
import { StagePerformer, StageRuntime } from '@music/service';
import { CopyDiffers, type FoundObject, ObjectChanged, isCopy, keyBelow, mapLimited } from '@music/storage';
import { Injectable } from '@nestjs/common';
import { ArchiverConfig } from './archiver.config';

const FILES_AT_ONCE = 32; // S3 copies by itself, so these mostly wait

/** A stream file that passed, and where it goes. */
interface PassedFile {
  readonly file: ManifestFile;
  readonly entry: LedgerEntry;
  /** In the archive bucket. */
  readonly key: string;
}

/**
 * Archives exactly the stream files that passed in a run, then clears what the run worked on. A file is copied,
 * checked, written down as archived, and only then removed, if it is still the version that was copied.
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
    const [manifest] = await Promise.all([
      objects.readJson<Manifest>(run.manifest),
      runs.startStage(runId, 'archiver'),
    ]);
    const [passed, before] = await Promise.all([this.passedFiles(run, manifest), this.listArchive(run)]);
    const gone = await this.copyAll(run, passed, before, work);
    const archived = await mapLimited(passed, FILES_AT_ONCE, async (each) => {
      work.signal.throwIfAborted();
      work.progress();
      if (gone.has(each.key)) return this.noteGone(run, each, work);
      if (each.entry.state === 'passed') await this.noteArchived(run, each);
      return this.removeSource(each, work);
    });
    const archivedFiles = archived.filter(Boolean).length;
    // Not before: where the archive fails for good, the run may be begun again from an earlier stage.
    await objects.deletePrefix(this.config.intermediateBucket, `runs/${runId}/`);
    const erasure = await this.deleteErased(run, work);
    const completed = messageOf(envelope(RunCompleted, 'archiver', { runId, archivedFiles }), work);
    await runs.transition(runId, 'published', 'completed', 'archiver', { archivedFiles, erasure }, [completed]);
    work.log.info({ archivedFiles }, 'completed');
    return 'done';
  }

  /** Removes the archived files that a run which forgets users has found, where that was asked, and says so in its report. */
  private async deleteErased({ runId, erasure }: Run, work: Work): Promise<Run['erasure']> {
    if (erasure?.archive !== 'delete' || erasure.report === undefined) return erasure;
    const { objects } = this.runtime.stores;
    const { lakeBucket, archiveBucket } = this.config;
    const known = await objects.head(lakeBucket, erasureReportKey(runId));
    if (known === undefined) return erasure;
    const report = await objects.readJson<ErasureReport>(known);
    const prefix = `s3://${archiveBucket}/`;
    const archived = await mapLimited(report.archived, FILES_AT_ONCE, async (file) => {
      work.signal.throwIfAborted();
      work.progress();
      if (file.deleted || !file.object.startsWith(prefix)) return file;
      const found = await objects.head(archiveBucket, file.object.slice(prefix.length));
      if (found !== undefined) await removeForGood(objects, found);
      return { ...file, deleted: true };
    });
    return { ...erasure, report: await objects.putJson(lakeBucket, known.key, { ...report, archived }) };
  }

  private async passedFiles(run: Run, { streams }: Manifest): Promise<PassedFile[]> {
    const entryOf = await this.runtime.stores.runs.files.ofFiles(streams);
    return streams.flatMap((file) => {
      const entry = entryOf(file);
      // Without an entry of this run the file is another run's now; rejected and changed ones are in quarantine or as
      // they were.
      if (entry?.runId !== run.runId || (entry.state !== 'passed' && entry.state !== 'archived')) return [];
      return [{ file, entry, key: keyBelow(archivePrefix(run), file.key.replace(/^streams\//, '')) }];
    });
  }

  /**
   * Copies what an earlier try has not copied, and checks the copies. Gives the keys of what was gone before it was
   * copied. A listing before and one after tell with a call for a thousand files what the archive has. Throws
   * CopyDiffers.
   */
  private async copyAll(
    run: Run,
    passed: readonly PassedFile[],
    before: ReadonlyMap<string, FoundObject>,
    work: Work,
  ): Promise<ReadonlySet<string>> {
    const { archiveBucket, archiveStorageClass } = this.config;
    const gone = new Set<string>();
    const copied: PassedFile[] = [];
    const missing = passed.filter(
      ({ file, entry, key }) => entry.state === 'passed' && !this.isArchived(file, before.get(key)),
    );
    await mapLimited(missing, FILES_AT_ONCE, async (each) => {
      work.signal.throwIfAborted();
      work.progress({ done: passed.length - missing.length + copied.length, of: passed.length, unit: 'files' });
      const { file, key } = each;
      try {
        await this.runtime.stores.objects.copyUnchecked(file, archiveBucket, key, archiveStorageClass);
        copied.push(each);
      } catch (error) {
        if (!(error instanceof ObjectChanged)) throw error;
        if (before.get(key)?.size !== file.size) gone.add(key); // else an earlier try copied it, in whatever class
      }
    });
    if (copied.length === 0) return gone;
    const after = await this.listArchive(run);
    for (const { file, key } of copied) {
      const copy = after.get(key);
      if (!this.isArchived(file, copy)) throw new CopyDiffers(file, `s3://${archiveBucket}/${key}`, copy);
    }
    return gone;
  }

  private async listArchive(run: Run): Promise<ReadonlyMap<string, FoundObject>> {
    const found = new Map<string, FoundObject>();
    for await (const object of this.runtime.stores.objects.list(this.config.archiveBucket, archivePrefix(run)))
      found.set(object.key, object);
    return found;
  }

  private isArchived(file: ManifestFile, copy: FoundObject | undefined): boolean {
    return copy !== undefined && isCopy(copy, file, this.config.archiveStorageClass);
  }

  /**
   * The file's rows count, but this version is gone from a bucket that keeps none: says so, and leaves what is there
   * now alone.
   */
  private async noteGone({ runId }: Run, { file, entry }: PassedFile, work: Work): Promise<false> {
    const detail = 'replaced or removed before it could be archived; its rows count';
    await this.runtime.stores.runs.files.update(file.key, entry.version, runId, { detail });
    work.log.warn({ key: file.key }, 'replaced or removed before it could be archived');
    return false;
  }

  private async noteArchived({ runId }: Run, { file, entry, key }: PassedFile): Promise<void> {
    const movedTo = `s3://${this.config.archiveBucket}/${key}`;
    await this.runtime.stores.runs.files.update(file.key, entry.version, runId, { state: 'archived', movedTo });
    this.runtime.metrics.bytes.inc({ what: 'archived' }, file.size);
  }

  private async removeSource({ file }: PassedFile, work: Work): Promise<true> {
    const removed = await this.runtime.stores.objects.deleteIfUnchanged(file);
    if (removed === 'changed')
      work.log.info({ key: file.key }, 'uploaded again meanwhile; the new version stays for the next run');
    return true;
  }
}

const archivePrefix = ({ logicalDate, runId }: Run): string => `streams/${logicalDate}/${runId}/`;
