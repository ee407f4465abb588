import type { FileReason, RowCounts } from '@music/contracts';
import type { ObjectRef } from '@music/events';

/** What the combiner saw in one input file. It judges nothing. */
export interface FileEvidence {
  /** Its number in the manifest; for songs and users their place there. */
  readonly file: number;
  readonly key: string;
  /** Of the bytes that were read; absent where it could not be read to its end. */
  readonly sha256?: string;
  /** The header, as far as there is one. */
  readonly columns: readonly string[];
  /** What it is, for a person: `CSV, delimiter ;`, `JSON lines, gzip`. */
  readonly form?: string;
  readonly rows: number;
  readonly rejected: RowCounts;
  /** The first rejected rows, each with its place and what is wrong with it. */
  readonly examples?: readonly string[];
  /** Why it could not be read, where it could not. */
  readonly defect?: FileReason;
  readonly detail?: string;
}

/** A Parquet object of good rows: those of one day, or, without `date`, of any number of days. */
export interface ListensObject extends ObjectRef {
  /** YYYY-MM-DD in the KPI time zone. */
  readonly date?: string;
  /** The numbers of the files whose rows are, or may be, in it. */
  readonly files?: readonly number[];
}

/** One Parquet object of listens, with the files whose rows are, or may be, in it. */
export interface ListensPart {
  readonly object: ListensObject;
  readonly files: readonly number[];
}

/** A songs or users file as Parquet, once per content. */
export interface TableEvidence extends FileEvidence {
  readonly parquet?: ObjectRef;
}

export interface BatchEvidence {
  readonly runId: string;
  readonly batch: number;
  readonly files: readonly FileEvidence[];
  readonly parts: readonly ListensPart[];
  /**
   * A CSV of the rows that broke a row rule, where there are any: file, row (from 1, below the header), reason,
   * columns.
   */
  readonly rejectedRows?: ObjectRef;
  /** How many users were forgotten when it was combined: listens of others that are forgotten since may be in it. */
  readonly forgotten?: number;
  /** Only in the evidence of batch 0. */
  readonly songs?: readonly TableEvidence[];
  readonly users?: readonly TableEvidence[];
}

/** What the validator decided about a batch, for the KPI job. */
export interface BatchVerdict {
  readonly runId: string;
  readonly batch: number;
  /** Listens of the files that passed, and of no other. */
  readonly listens: readonly ListensObject[];
  /** As of its evidence. */
  readonly forgotten?: number;
  readonly songs?: readonly ObjectRef[];
  readonly users?: readonly ObjectRef[];
}
