import { IsIn, IsString, MaxLength } from 'class-validator';
import { StageEvent } from './stage-event';
import { STAGES, type Stage } from './stage';

/** A stage met something that trying again does not mend. `replay` of its dead letter resumes the run. */
export class RunFailed extends StageEvent {
  static readonly topic = 'music.run.failed';
  @IsIn(STAGES) readonly stage!: Stage;
  @IsString() @MaxLength(4_000) readonly reason!: string;
}
