import { ArrayMaxSize, IsString } from 'class-validator';
import { StageEvent } from './stage-event';

/** Validation ended the run: nothing was archived, and a later run takes the files again. */
export class RunRejected extends StageEvent {
  static readonly topic = 'music.run.rejected';
  @IsString({ each: true }) @ArrayMaxSize(20) readonly reasons!: string[];
}
