import { ArrayMaxSize, IsInt, Matches, Min } from 'class-validator';
import { LOGICAL_DATE, StageEvent } from './stage-event';

/** The KPIs of every affected day are in `music_kpis_table`. */
export class KpisPublished extends StageEvent {
  static readonly topic = 'music.kpis.published';
  @Matches(LOGICAL_DATE, { each: true }) @ArrayMaxSize(4_000) readonly days!: string[];
  /** Of the items that were written; a later publishing of a day has a higher one. */
  @IsInt() @Min(1) readonly version!: number;
}
