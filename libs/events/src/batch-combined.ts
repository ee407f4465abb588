import { Type } from 'class-transformer';
import { IsDefined, ValidateNested } from 'class-validator';
import { BatchEvent } from './batch-event';
import { ObjectRef } from './object-ref';

/** A batch's files are Parquet now and what was seen in them is written down as evidence; nothing has been judged. */
export class BatchCombined extends BatchEvent {
  static readonly topic = 'music.batch.combined';
  @IsDefined() @ValidateNested() @Type(() => ObjectRef) readonly manifest!: ObjectRef;
  @IsDefined() @ValidateNested() @Type(() => ObjectRef) readonly evidence!: ObjectRef;
}
