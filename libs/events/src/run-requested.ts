import { IsBoolean, IsOptional, IsString, Matches, MaxLength, ValidateIf } from 'class-validator';
import { LOGICAL_DATE, StageEvent } from './stage-event';

const isBackfill = ({ backfillFrom, backfillTo }: RunRequested) =>
  backfillFrom !== undefined || backfillTo !== undefined;

/** Somebody or the schedule wants a run for a logical date. */
export class RunRequested extends StageEvent {
  static readonly topic = 'music.run.requested';
  @Matches(LOGICAL_DATE) readonly logicalDate!: string;
  /** Judge the source as it stands now: without files the run is skipped at once instead of at its deadline. */
  @IsOptional() @IsBoolean() readonly immediately?: boolean;
  /** Take files, too, that earlier runs took or rejected, as long as those runs have ended. */
  @IsOptional() @IsBoolean() readonly force?: boolean;
  /** A backfill: no stream files, but these days of the lake, both inclusive, are computed again. */
  @ValidateIf(isBackfill) @Matches(LOGICAL_DATE) readonly backfillFrom?: string;
  @ValidateIf(isBackfill) @Matches(LOGICAL_DATE) readonly backfillTo?: string;
  /** Who asked, where that is known. */
  @IsOptional() @IsString() @MaxLength(200) readonly requestedBy?: string;
}
