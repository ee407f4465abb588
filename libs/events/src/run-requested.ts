import { IsBoolean, IsOptional, Matches } from 'class-validator';
import { LOGICAL_DATE, StageEvent } from './stage-event';

/** Somebody or the schedule wants a run for a logical date. */
export class RunRequested extends StageEvent {
  static readonly topic = 'music.run.requested';
  @Matches(LOGICAL_DATE) readonly logicalDate!: string;
  /** Judge the source as it stands now: without files the run is skipped at once instead of at its deadline. */
  @IsOptional() @IsBoolean() readonly immediately?: boolean;
}
