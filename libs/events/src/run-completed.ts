import { IsInt, Min } from 'class-validator';
import { StageEvent } from './stage-event';

/** The run's files are archived and its intermediate objects cleared. */
export class RunCompleted extends StageEvent {
  static readonly topic = 'music.run.completed';
  @IsInt() @Min(0) readonly archivedFiles!: number;
}
