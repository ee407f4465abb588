import { IsString, MaxLength } from 'class-validator';
import { StageEvent } from './stage-event';

/** No stream file could be taken by the deadline. */
export class RunSkipped extends StageEvent {
  static readonly topic = 'music.run.skipped';
  @IsString() @MaxLength(4_000) readonly reason!: string;
}
