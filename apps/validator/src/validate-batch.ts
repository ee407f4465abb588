import { CONTRACTS, FILE_REASONS, addCounts } from '@music/contracts';
import { type BatchCombined, type ObjectRef, RunRejected, RunValidated, envelope } from '@music/events';
import {
  type Batch,
  type BatchEvidence,
  type BatchVerdict,
  type FileEvidence,
  type LedgerEntry,
  type Manifest,
  type ManifestFile,
  type Work,
  type WorkOutcome,
  messageOf,
  takesFiles,
  versionOf,
} from '@music/runs';
import { StagePerformer, StageRuntime } from '@music/service';
import { ObjectChanged, keyBelow, mapLimited } from '@music/storage';
import { Injectable } from '@nestjs/common';
import { ulid } from 'ulid';
import { type Verdict, judgeFile, judgeTables } from './judge-file';
import { promoteBatch } from './promote-batch';
import { ValidatorConfig } from './validator.config';

const FILES_AT_ONCE = 16;
const MAX_REASONS = 20;

/**
 * Judges the files of a batch and acts on it: what passed is promoted, what did not is quarantined. The last verdict of
 * a run ends validation. Every step is safe to repeat.
 */
@Injectable()
export class ValidateBatch extends StagePerformer {
  constructor(
    private readonly runtime: StageRuntime,
    private readonly config: ValidatorConfig,
  ) {
    super();
  }

  async perform(work: Work): Promise<WorkOutcome> {
    const { runs, objects } = this.runtime.stores;
    const event = work.event.data as BatchCombined;
    const { runId, batch } = event;
    const [found] = await Promise.all([runs.batches.find(runId, batch), runs.startStage(runId, 'validator')]);
    if (found?.state === 'combined') {
      const [manifest, evidence] = await Promise.all([
        objects.readJson<Manifest>(event.manifest),
        // That of the event may name objects that were written anew since.
        objects.readJson<BatchEvidence>(found.evidence ?? event.evidence),
      ]);
      const changes = await this.judge(manifest, evidence, work);
      await runs.batches.move(runId, batch, 'combined', 'judged', changes, 'validator');
      work.log.info({ batch, passedFiles: changes.passedFiles, rejectedFiles: changes.rejectedFiles }, 'judged');
    }
    await this.endValidation(event, work);
    return 'done';
  }

  private async judge(manifest: Manifest, evidence: BatchEvidence, work: Work): Promise<Partial<Batch>> {
    const limits = { rejectedShare: this.config.maxRejectedShare };
    const files = new Map(manifest.streams.map((file) => [file.file, file]));
    const verdicts = evidence.files.map((file) => ({ file, verdict: judgeFile(file, CONTRACTS.streams, limits) }));
    const passed = verdicts.filter(({ verdict }) => verdict.passed).map(({ file }) => file);
    const [stored] = await Promise.all([
      this.promote(evidence, passed),
      mapLimited(verdicts, FILES_AT_ONCE, async ({ file, verdict }) => {
        const source = files.get(file.file);
        if (source !== undefined) await this.actOn(evidence.runId, source, file, verdict);
        work.progress();
      }),
    ]);
    return {
      verdict: stored,
      passedFiles: passed.length,
      rejectedFiles: verdicts.length - passed.length,
      rows: {
        read: passed.reduce((sum, { rows }) => sum + rows, 0),
        rejected: addCounts(...passed.map(({ rejected }) => rejected)),
      },
      unusable:
        evidence.batch === 0
          ? [
              ...judgeTables('songs', evidence.songs ?? [], CONTRACTS.songs, limits),
              ...judgeTables('users', evidence.users ?? [], CONTRACTS.users, limits),
            ].slice(0, MAX_REASONS)
          : [],
    };
  }

  /** Brings what passed to where the KPI job's listens come from. Gives where the verdict is that names it. */
  private async promote(evidence: BatchEvidence, passed: readonly FileEvidence[]): Promise<ObjectRef> {
    const { objects } = this.runtime.stores;
    const { runId, batch } = evidence;
    if (evidence.rejectedRows !== undefined) {
      await objects.copy(
        evidence.rejectedRows,
        this.config.lakeBucket,
        `quarantine/${runId}/rejected-rows/batch-${String(batch).padStart(5, '0')}.csv`,
      );
    }
    const listens = await promoteBatch(
      evidence,
      new Set(passed.map(({ file }) => file)),
      objects,
      this.config.intermediateBucket,
      this.runtime.scratch,
      this.config.duckdbLimits,
    );
    const tables = (kind: 'songs' | 'users') =>
      evidence[kind]?.flatMap(({ parquet }) => (parquet === undefined ? [] : [parquet]));
    const verdict: BatchVerdict = {
      runId,
      batch,
      listens,
      songs: tables('songs'),
      users: tables('users'),
      ...(evidence.forgotten === undefined ? {} : { forgotten: evidence.forgotten }),
    };
    return objects.putJson(
      this.config.intermediateBucket,
      `runs/${runId}/validated/batch-${String(batch).padStart(5, '0')}/verdict-${ulid()}.json`,
      verdict,
    );
  }

  /** Writes a file's verdict into the ledger, and moves a rejected file out of the way of the next run. */
  private async actOn(runId: string, source: ManifestFile, file: FileEvidence, verdict: Verdict): Promise<void> {
    const { runs } = this.runtime.stores;
    const version = versionOf(source);
    const rows = { read: file.rows, rejected: file.rejected };
    const copyOf =
      file.sha256 === undefined
        ? undefined
        : await runs.files.noteContent(file.sha256, { key: file.key, version, runId });
    const known: Partial<LedgerEntry> = { sha256: file.sha256, copyOf, rows, form: file.form };
    if (verdict.passed) {
      await runs.files.update(file.key, version, runId, { ...known, state: 'passed' });
      return;
    }
    const { reason, detail } = verdict;
    // What a forgotten user has in it is not to be kept once more.
    const isForgotten = (file.rejected.forgotten_user ?? 0) > 0;
    const movedTo =
      reason === 'source_changed' || isForgotten ? undefined : await this.quarantine(runId, source, reason, detail);
    const state = reason === 'source_changed' ? 'changed' : 'rejected';
    const where = isForgotten ? 'it has rows of forgotten users, so it is left in the source' : undefined;
    const told = [detail, where].filter((part) => part !== undefined && part !== '').join('; ');
    await runs.files.update(file.key, version, runId, { ...known, state, reason, detail: told, movedTo });
    // Last: until the ledger says where the file is, it stays where it was.
    if (movedTo !== undefined) await this.runtime.stores.objects.deleteIfUnchanged(source);
  }

  private async quarantine(
    runId: string,
    source: ManifestFile,
    reason: keyof typeof FILE_REASONS,
    detail: string,
  ): Promise<string> {
    const { objects } = this.runtime.stores;
    const name = source.key.replace(/^streams\//, '');
    const bucket = this.config.lakeBucket;
    const prefix = `quarantine/${runId}/files/`;
    const key = keyBelow(prefix, name);
    const note = { file: source.key, etag: source.etag, run: runId, reason, detail, what_to_do: FILE_REASONS[reason] };
    try {
      await objects.copy(source, bucket, key);
    } catch (error) {
      // Moved by an earlier try of the same work: then the copy is there.
      if (!(error instanceof ObjectChanged) || (await objects.head(bucket, key)) === undefined) throw error;
    }
    await objects.putJson(bucket, keyBelow(prefix, name, '.reason.json'), note);
    return `s3://${bucket}/${key}`;
  }

  /** Moves the run on when its last batch is judged. */
  private async endValidation({ runId, manifest }: BatchCombined, work: Work): Promise<void> {
    const { runs } = this.runtime.stores;
    const [run, batches] = await Promise.all([runs.findRun(runId), runs.batches.list(runId)]);
    if (run?.state !== 'sensed') return;
    if (batches.length < (run.batches ?? 0) || batches.some(({ state }) => state !== 'judged')) return;
    const sum = (count: (batch: Batch) => number) => batches.reduce((total, batch) => total + count(batch), 0);
    const passedFiles = sum((batch) => batch.passedFiles ?? 0);
    const rejectedFiles = sum((batch) => batch.rejectedFiles ?? 0);
    const rejected = addCounts(...batches.map(({ rows }) => rows?.rejected ?? {}));
    const read = sum(({ rows }) => rows?.read ?? 0);
    const good = read - sum(({ rows }) => Object.values(rows?.rejected ?? {}).reduce((total, n) => total + n, 0));
    const reasons = batches.flatMap(({ unusable }) => unusable ?? []);
    if (passedFiles === 0 && takesFiles(run))
      reasons.push(`none of the ${rejectedFiles} stream files is good; see their reasons`);
    else if (rejectedFiles > 0 && this.config.onRejectedFile === 'reject')
      reasons.push(`${rejectedFiles} stream files were rejected, and ON_REJECTED_FILE is \`reject\``);
    if (reasons.length > 0) {
      const event = messageOf(
        envelope(RunRejected, 'validator', { runId, reasons: reasons.slice(0, MAX_REASONS) }),
        work,
      );
      await runs.transition(
        runId,
        'sensed',
        'rejected',
        'validator',
        { reasons, rejectedFiles, rows: { read: 0, kept: 0, rejected: {} } },
        [event],
      );
      work.log.warn({ reasons }, 'rejected');
      return;
    }
    const event = messageOf(envelope(RunValidated, 'validator', { runId, manifest, passedFiles, rows: good }), work);
    await runs.transition(
      runId,
      'sensed',
      'validated',
      'validator',
      { rejectedFiles, rows: { read, kept: good, rejected } },
      [event],
    );
  }
}
