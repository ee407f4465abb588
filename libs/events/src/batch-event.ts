import { IsInt, Max, Min } from 'class-validator';
import { StageEvent } from './stage-event';

/** An event about one batch of a run. Batches of a run go in parallel, so each is its own key. */
export abstract class BatchEvent extends StageEvent {
  /** Counts from 0. */
  @IsInt() @Min(0) @Max(99_999) readonly batch!: number;

  static override keyOf(event: StageEvent): string {
    return `${event.runId}/${(event as BatchEvent).batch}`;
  }
}
