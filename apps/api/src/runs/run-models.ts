import { totalOf } from '@music/contracts';
import { RERUN_STAGES, RUN_KINDS, STAGES } from '@music/events';
import { RUN_STATES, STANDING_CHANGES } from '@music/runs';
import type { FileReport } from '@music/reports';
import { ApiProperty } from '@nestjs/swagger';
import { Column, Count } from '../http/row';

const TIME = { format: 'date-time', required: false };
const MAYBE = { required: false };

export class RunRowModel {
  @Column('Its id.') readonly run_id!: string;
  @Column('What asked for it.', { enum: [...RUN_KINDS] }) readonly kind!: string;
  @Column('The day it is for; its files may be of others.', { format: 'date' }) readonly logical_date!: string;
  @Column('Where it stands; the last four end it.', { enum: [...RUN_STATES] }) readonly state!: string;
  @Column('When it was asked for.', { format: 'date-time' }) readonly requested_at!: string;
  @Column('Who asked, where that is known.', MAYBE) readonly requested_by?: string;
  @Column('When its last stage so far ended.', TIME) readonly ended_at?: string;
  @Column('From the request to `ended_at`, in seconds.', { type: 'number', ...MAYBE }) readonly seconds?: number;
  @Count('Rows of the files that passed.', MAYBE) readonly rows_read?: number;
  @Count('Distinct listens that were new.', MAYBE) readonly rows_kept?: number;
  @Count('Rows that do not count.', MAYBE) readonly rows_rejected?: number;
  @Count('Files that count and are in the archive.', MAYBE) readonly files_archived?: number;
  @Count('Files that were rejected.', MAYBE) readonly files_rejected?: number;
  @Count('Days that it published.', MAYBE) readonly days?: number;
  @Count('Version of the numbers that it published.', MAYBE) readonly version?: number;
  @Column('What computed them.', MAYBE) readonly engine?: string;
  @Column('The first reason why it was skipped, rejected or failed.', MAYBE) readonly reason?: string;
}

class StageModel {
  @ApiProperty({ enum: [...STAGES] }) readonly stage!: string;
  @ApiProperty(TIME) readonly started_at?: string;
  @ApiProperty(TIME) readonly ended_at?: string;
  @ApiProperty({ type: 'number', required: false, description: 'From its first start to its last end.' })
  readonly seconds?: number;
}

class BatchModel {
  @ApiProperty({ type: 'integer' }) readonly batch!: number;
  @ApiProperty({ enum: ['sensed', 'combined', 'judged'] }) readonly state!: string;
  @ApiProperty({ type: 'integer', required: false }) readonly files_passed?: number;
  @ApiProperty({ type: 'integer', required: false }) readonly files_rejected?: number;
  @ApiProperty({ type: 'integer', required: false }) readonly rows_read?: number;
}

class JobModel {
  @ApiProperty() readonly engine!: string;
  @ApiProperty({ required: false }) readonly jobRunId?: string;
  @ApiProperty({ required: false, description: 'Why the engine takes no job now.' }) readonly waiting?: string;
  @ApiProperty({ required: false, description: 'Where its logs are.' }) readonly logs?: string;
  @ApiProperty({ type: 'number', required: false }) readonly seconds?: number;
  @ApiProperty(TIME) readonly endedAt?: string;
  @ApiProperty({ required: false }) readonly message?: string;
}

class RateModel {
  @ApiProperty({ type: 'number' }) readonly amount!: number;
  @ApiProperty({ enum: ['bytes', 'days', 'files'] }) readonly unit!: string;
}

class ProgressModel {
  @ApiProperty({ enum: [...STAGES] }) readonly stage!: string;
  @ApiProperty({ type: 'number', minimum: 0, maximum: 1, description: 'How much of the stage is done.' })
  readonly share!: number;
  @ApiProperty({ required: false }) readonly per_second?: RateModel;
  @ApiProperty({ type: 'integer', required: false, description: 'Once it can be told.' })
  readonly seconds_left?: number;
}

class StalledModel {
  @ApiProperty({ enum: [...STAGES] }) readonly stage!: string;
  @ApiProperty({ format: 'date-time' }) readonly since!: string;
}

class DaysModel {
  @ApiProperty({ format: 'date' }) readonly from!: string;
  @ApiProperty({ format: 'date' }) readonly to!: string;
}

class StandingModel {
  @ApiProperty({ enum: [...STANDING_CHANGES] }) readonly change!: string;
  @ApiProperty() readonly reason!: string;
  @ApiProperty({ required: false, description: 'Of which file.' }) readonly key?: string;
  @ApiProperty({ required: false, description: 'Of which version of it.' }) readonly version?: string;
  @ApiProperty({ required: false, description: 'Of which run.' }) readonly ofRun?: string;
  @ApiProperty({ type: 'integer', required: false, description: 'How many.' }) readonly deliveries?: number;
}

class ErasureModel {
  @ApiProperty({ enum: ['forget', 'expire'] }) readonly what!: string;
  @ApiProperty({ type: 'integer', required: false, description: 'How many users.' }) readonly users?: number;
  @ApiProperty({ enum: ['keep', 'delete'], required: false, description: 'What becomes of archived files.' })
  readonly archive?: string;
  @ApiProperty({ format: 'date', required: false, description: 'The first day that stays.' }) readonly before?: string;
}

class FindingModel {
  @ApiProperty() readonly check!: string;
  @ApiProperty({ enum: ['warn', 'hold'] }) readonly level!: string;
  @ApiProperty({ format: 'date', required: false, description: 'Missing where it is about the whole run.' })
  readonly date?: string;
  @ApiProperty() readonly text!: string;
}

class DecisionModel {
  @ApiProperty({ enum: ['release', 'discard'] }) readonly what!: string;
  @ApiProperty({ format: 'date-time' }) readonly at!: string;
  @ApiProperty({ required: false }) readonly by?: string;
  @ApiProperty({ required: false }) readonly reason?: string;
}

class NotesModel {
  @ApiProperty({ type: 'integer', required: false }) readonly unknownTrackListens?: number;
  @ApiProperty({ type: 'integer', required: false }) readonly unknownUserListens?: number;
  @ApiProperty({ type: 'integer', required: false }) readonly unreadableDurations?: number;
  @ApiProperty({ type: 'integer', required: false, description: 'Rows of the catalogue.' }) readonly songRows?: number;
}

class AskModel {
  @ApiProperty() readonly id!: string;
  @ApiProperty({ enum: ['rerun', 'replay'] }) readonly what!: string;
  @ApiProperty({ description: 'Who asked.' }) readonly by!: string;
  @ApiProperty({ format: 'date-time', description: 'When it was carried out.' }) readonly at!: string;
  @ApiProperty({ enum: [...RERUN_STAGES], required: false }) readonly fromStage?: string;
  @ApiProperty({ type: 'integer', required: false, description: 'Dead letters that were put back.' })
  readonly replayed?: number;
  @ApiProperty({ required: false, description: 'Why it was not carried out.' }) readonly refused?: string;
}

export class RunModel extends RunRowModel {
  @ApiProperty({ type: [String], description: 'Why it was skipped, rejected or failed.' })
  readonly reasons!: readonly string[];
  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'integer' },
    description: 'Rows that do not count, by reason.',
  })
  readonly rejected_rows!: Readonly<Record<string, number>>;
  @ApiProperty({ required: false }) readonly notes?: NotesModel;
  @ApiProperty({ required: false }) readonly job?: JobModel;
  @ApiProperty({ type: [String], description: 'The days that it published.' }) readonly dates!: readonly string[];
  @ApiProperty({ required: false, description: 'The days that a backfill is to compute again.' })
  readonly backfill?: DaysModel;
  @ApiProperty({ required: false, description: 'What it takes back or gives back of what others delivered.' })
  readonly standing?: StandingModel;
  @ApiProperty({ required: false, description: 'Listens that it takes out of the lake for good.' })
  readonly erasure?: ErasureModel;
  @ApiProperty({ type: [FindingModel], description: 'What checks found in its numbers.' })
  readonly findings!: readonly FindingModel[];
  @ApiProperty({ required: false, description: 'Of a run that was held: what became of it.' })
  readonly decision?: DecisionModel;
  @ApiProperty({ type: [StageModel] }) readonly stages!: readonly StageModel[];
  @ApiProperty({ type: [BatchModel], description: 'The first 1,000.' }) readonly batches!: readonly BatchModel[];
  @ApiProperty({ type: 'integer' }) readonly batch_count!: number;
  @ApiProperty({ required: false, description: 'How far the stage is that works on it.' })
  readonly progress?: ProgressModel;
  @ApiProperty({ type: [StalledModel], required: false, description: 'Stages whose work on it gets nowhere.' })
  readonly stalled?: readonly StalledModel[];
  @ApiProperty({ enum: [...RERUN_STAGES], isArray: true, description: 'Where it can be begun again.' })
  readonly rerun_stages!: readonly string[];
  @ApiProperty({ type: [AskModel], description: 'What was asked of it once it had ended.' })
  readonly asks!: readonly AskModel[];
}

export const FILE_STATES = ['left', 'taken', 'passed', 'archived', 'rejected', 'changed', 'released'] as const;

export class FileRowModel {
  @Column('Its key in the source bucket.') readonly key!: string;
  @Column('What became of it.', { enum: [...FILE_STATES] }) readonly state!: string;
  @Column('Why.', MAYBE) readonly reason?: string;
  @Column('More of why.', MAYBE) readonly detail?: string;
  @Column('What to do.', MAYBE) readonly what_to_do?: string;
  @Column('What it is, as `CSV` or `JSON lines, gzip`.', MAYBE) readonly form?: string;
  @Column('The file that had the same content first.', MAYBE) readonly copy_of?: string;
  @Column('Who took it back, so that no listen counts for it.', MAYBE) readonly retracted?: string;
  @Column('Where it is now.', MAYBE) readonly moved_to?: string;
  @Count('Its rows.', MAYBE) readonly rows_read?: number;
  @Count('Those that do not count.', MAYBE) readonly rows_rejected?: number;
}

export function fileRow({ rows, ...file }: FileReport): FileRowModel {
  return {
    ...file,
    rows_read: rows?.read,
    rows_rejected: rows === undefined ? undefined : totalOf(rows.rejected),
  };
}

export class EventRowModel {
  @Column('When its topic got it.', { format: 'date-time' }) readonly at!: string;
  @Column('Its topic.') readonly topic!: string;
  @Column('Its key.') readonly key!: string;
  @Count('Partition of the topic.') readonly partition!: number;
  @Column('Offset in the partition.') readonly offset!: string;
  @Column('The event, as it stands in the topic.') readonly event!: string;
}

export class DeadLetterRowModel {
  @Column('The stage that gave up on it.') readonly stage!: string;
  @Column('The topic it came from.') readonly topic!: string;
  @Column('Its key: a run, or a batch of one.') readonly key!: string;
  @Column('When.') readonly at!: string;
  @Column('Why.') readonly reason!: string;
}

class FreshDayModel {
  @ApiProperty({ format: 'date' }) readonly date!: string;
  @ApiProperty({ type: 'integer' }) readonly version!: number;
  @ApiProperty({ format: 'date-time' }) readonly computed_at!: string;
}

class BacklogModel {
  @ApiProperty({ enum: STAGES }) readonly stage!: string;
  @ApiProperty({ type: 'integer', description: 'Pieces of work that are due, and nobody works on.' })
  readonly waiting!: number;
  @ApiProperty({ type: 'integer' }) readonly running!: number;
  @ApiProperty({ type: 'integer', description: 'Pieces of work that are tried again later.' })
  readonly delayed!: number;
  @ApiProperty({ description: 'How long the piece waits that has waited longest.' })
  readonly oldest_waiting_seconds!: number;
  @ApiProperty({ description: 'Whether there is more than was counted.' }) readonly is_more!: boolean;
}

export class FreshnessModel {
  @ApiProperty({ format: 'date-time' }) readonly now!: string;
  @ApiProperty({ description: 'The zone whose calendar days the KPIs are of.' }) readonly time_zone!: string;
  @ApiProperty({ required: false }) readonly last_completed_run?: RunRowModel;
  @ApiProperty({ required: false, description: 'The newest day that was published.' })
  readonly newest_day?: FreshDayModel;
  @ApiProperty({ required: false, description: 'The newest of them that is over.' })
  readonly newest_complete_day?: FreshDayModel;
  @ApiProperty({ type: 'integer', description: 'Of the newest 100 runs.' }) readonly runs_under_way!: number;
  @ApiProperty({ type: 'integer', description: 'Stream files that no run has taken.' }) readonly files_waiting!: number;
  @ApiProperty({ description: 'Whether there are more objects than the 1,000 that were looked at.' })
  readonly more_files!: boolean;
  @ApiProperty({ type: [BacklogModel], description: 'The stages that have something to do, on all their replicas.' })
  readonly work!: readonly BacklogModel[];
  @ApiProperty({
    type: 'integer',
    required: false,
    description: 'Dead letters that were not put back; missing while Kafka does not answer.',
  })
  readonly dead_letters?: number;
}

export class CallerModel {
  @ApiProperty() readonly name!: string;
  @ApiProperty({ enum: ['reader', 'operator'] }) readonly role!: string;
  @ApiProperty({ description: 'The zone whose calendar days the KPIs are of.' }) readonly time_zone!: string;
}

export class AskedModel {
  @ApiProperty({ description: 'The run that was asked for, or about.' }) readonly run_id!: string;
  @ApiProperty({ required: false, description: 'Identifies what was asked of the run; `asks` of the run tells of it.' })
  readonly ask_id?: string;
}

export class BackfillDayModel {
  @ApiProperty({ format: 'date' }) readonly date!: string;
  @ApiProperty({ type: 'integer', required: false, description: 'As it is served now.' })
  readonly listen_count?: number;
  @ApiProperty({ type: 'integer', required: false, description: 'Of what is served now.' }) readonly version?: number;
  @ApiProperty({ required: false, description: 'What computed it.' }) readonly run_id?: string;
}

export class BackfillModel {
  @ApiProperty({ required: false, description: 'The run that was asked for; missing where it was only tried out.' })
  readonly run_id?: string;
  @ApiProperty({ type: [BackfillDayModel], description: 'The days that are, or would be, computed again.' })
  readonly days!: readonly BackfillDayModel[];
  @ApiProperty({ type: 'integer', description: 'Their listens, as they are served now.' })
  readonly listen_count!: number;
}
