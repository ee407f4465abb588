import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  IsArray,
  IsDefined,
  IsInt,
  IsOptional,
  IsString,
  MaxLength,
  Min,
  ValidateNested,
} from 'class-validator';
import { ObjectRef } from './object-ref';
import { StageEvent } from './stage-event';

/** The KPIs of every affected day are in `music_kpis_table`. */
export class KpisPublished extends StageEvent {
  static readonly topic = 'music.kpis.published';
  /** Names the days. */
  @IsDefined() @ValidateNested() @Type(() => ObjectRef) readonly summary!: ObjectRef;
  @IsInt() @Min(0) readonly days!: number;
  /** Of the items that were written; a later publishing of a day has a higher one. */
  @IsInt() @Min(1) readonly version!: number;
  /** What checks found that did not hold it back. */
  @IsOptional()
  @IsArray()
  @ArrayMaxSize(50)
  @IsString({ each: true })
  @MaxLength(1_000, { each: true })
  readonly warnings?: string[];
}
