import { IsIn, IsString, Matches, MaxLength } from 'class-validator';
import { StageEvent } from './stage-event';

/** Identifies one time of asking: the same id asks once. */
export const ASK_ID = /^[0-9A-Z]{26}$/;

/** Stages that a run can be begun again from. The sensor is not among them: that is a new run. */
export const RERUN_STAGES = ['combiner', 'validator', 'glue-trigger', 'archiver'] as const;
export type RerunStage = (typeof RERUN_STAGES)[number];

/** Somebody wants more of a run that has ended. */
export abstract class AskedAgain extends StageEvent {
  @Matches(ASK_ID) readonly askId!: string;
  @IsString() @MaxLength(200) readonly requestedBy!: string;

  static override keyOf(event: AskedAgain): string {
    return `${event.runId}/${event.askId}`;
  }
}

/** A run that was rejected or failed is to begin again from a stage. */
export class RerunRequested extends AskedAgain {
  static readonly topic = 'music.rerun.requested';
  @IsIn(RERUN_STAGES) readonly fromStage!: RerunStage;
}

/** A run's dead letters are to be put back. */
export class ReplayRequested extends AskedAgain {
  static readonly topic = 'music.replay.requested';
}
