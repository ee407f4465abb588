import { Type } from 'class-transformer';
import { IsDefined, ValidateNested } from 'class-validator';
import { BatchEvent } from './batch-event';
import { ObjectRef } from './object-ref';

/** The run's manifest is frozen; this batch of it is ready to be combined. */
export class StreamsSensed extends BatchEvent {
  static readonly topic = 'music.streams.sensed';
  @IsDefined() @ValidateNested() @Type(() => ObjectRef) readonly manifest!: ObjectRef;
}
