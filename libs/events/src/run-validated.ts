import { Type } from 'class-transformer';
import { IsDefined, IsInt, Min, ValidateNested } from 'class-validator';
import { ObjectRef } from './object-ref';
import { StageEvent } from './stage-event';

/**
 * Every batch has its verdict and at least one file passed, but in a backfill: the listens wait in the intermediate
 * bucket.
 */
export class RunValidated extends StageEvent {
  static readonly topic = 'music.run.validated';
  @IsDefined() @ValidateNested() @Type(() => ObjectRef) readonly manifest!: ObjectRef;
  @IsInt() @Min(0) readonly passedFiles!: number;
  /** Rows that broke no row rule, in the files that passed. */
  @IsInt() @Min(0) readonly rows!: number;
}
