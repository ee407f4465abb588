import { Type } from 'class-transformer';
import {
  IsBoolean,
  IsDefined,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  Matches,
  MaxLength,
  Min,
  MinLength,
  ValidateIf,
  ValidateNested,
} from 'class-validator';
import { ObjectRef } from './object-ref';
import { LOGICAL_DATE, RUN_ID, StageEvent } from './stage-event';

const isBackfill = ({ backfillFrom, backfillTo }: RunRequested) =>
  backfillFrom !== undefined || backfillTo !== undefined;

const isForgetting = ({ what }: ErasureAsked) => what === 'forget';

const STANDING_ASKED = ['retract', 'restore'] as const;

/** Deliveries that are to be taken back or given back: those of a key, or those of a run. */
export class StandingAsked {
  @IsIn(STANDING_ASKED) readonly change!: (typeof STANDING_ASKED)[number];
  @IsString() @MinLength(1) @MaxLength(1_000) readonly reason!: string;
  @ValidateIf(({ ofRun }: StandingAsked) => ofRun === undefined)
  @IsString()
  @MinLength(1)
  @MaxLength(1_024)
  readonly key?: string;
  /** One version of the key, as `music-kpis explain` shows it. */
  @IsOptional() @IsString() @MaxLength(1_024) readonly version?: string;
  @IsOptional() @Matches(RUN_ID) readonly ofRun?: string;
}

/** Listens that are to leave the lake for good: those of users, or those of days before one. */
export class ErasureAsked {
  @IsIn(['forget', 'expire']) readonly what!: 'forget' | 'expire';
  @ValidateIf(isForgetting) @IsInt() @Min(1) readonly users?: number;
  /** The hashes of their ids; the ids are in no event. */
  @ValidateIf(isForgetting) @IsDefined() @ValidateNested() @Type(() => ObjectRef) readonly hashes?: ObjectRef;
  @IsOptional() @IsIn(['keep', 'delete']) readonly archive?: 'keep' | 'delete';
  @ValidateIf((asked: ErasureAsked) => !isForgetting(asked)) @Matches(LOGICAL_DATE) readonly before?: string;
}

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
  /** No stream files, but what earlier runs delivered is taken back or given back. */
  @IsOptional() @ValidateNested() @Type(() => StandingAsked) readonly standing?: StandingAsked;
  /** No stream files, but listens leave the lake for good. */
  @IsOptional() @ValidateNested() @Type(() => ErasureAsked) readonly erasure?: ErasureAsked;
  /** Who asked, where that is known. */
  @IsOptional() @IsString() @MaxLength(200) readonly requestedBy?: string;
}
