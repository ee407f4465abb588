import { ArrayMaxSize, IsArray, IsString, MaxLength } from 'class-validator';
import { StageEvent } from './stage-event';

/** Checks hold a run's numbers back: what was published stays until somebody releases or discards the run. */
export class RunHeld extends StageEvent {
  static readonly topic = 'music.run.held';
  /** What the checks found. */
  @IsArray() @ArrayMaxSize(50) @IsString({ each: true }) @MaxLength(1_000, { each: true }) readonly findings!: string[];
}
