import { ServiceConfig, Setting } from '@music/service';
import { IsIn, IsInt, IsNumber, IsUrl, Max, Min, ValidateIf } from 'class-validator';

export class SensorConfig extends ServiceConfig {
  @Setting('SENSOR_POLL_SECONDS', 'seconds between two looks at the source while a run waits')
  @IsNumber()
  @Min(0.05)
  @Max(3_600)
  pollSeconds: number = 10;

  @Setting('SENSOR_QUIET_SECONDS', 'a file is taken when it has not changed for so long')
  @IsNumber()
  @Min(0)
  @Max(86_400)
  quietSeconds: number = 30;

  @Setting('SENSOR_DEADLINE_SECONDS', 'how long after its request a run waits for files')
  @IsNumber()
  @Min(0)
  @Max(604_800)
  deadlineSeconds: number = 3_600;

  @Setting('BATCH_MB', 'MiB of stream files that make a batch, the unit of parallel work')
  @IsInt()
  @Min(1)
  @Max(102_400)
  batchMb: number = 256;

  @Setting('MAX_ACTIVE_RUNS', 'runs that may be under way at once; later ones wait their turn')
  @IsInt()
  @Min(1)
  @Max(100)
  maxActiveRuns: number = 1;

  @Setting(
    'SAME_NAME',
    'what a new version of a file name does: `add` its listens to those of the version before, or `replace` them',
  )
  @IsIn(['add', 'replace'])
  sameName: 'add' | 'replace' = 'add';

  @Setting(
    'LISTENS_KEEP_DAYS',
    'listens of days that are longer ago leave the lake by a run of their own, and their numbers stay; 0: none do',
  )
  @IsInt()
  @Min(0)
  @Max(36_500)
  listensKeepDays: number = 0;

  @Setting('ARRIVALS', 'whether files that arrive ask for a run by themselves: off, poll, or sqs (notifications)')
  @IsIn(['off', 'poll', 'sqs'])
  arrivals: string = 'off';

  @Setting('ARRIVAL_MIN_INTERVAL_SECONDS', 'seconds between two runs that arrivals ask for, at least')
  @IsNumber()
  @Min(0)
  @Max(86_400)
  arrivalMinIntervalSeconds: number = 60;

  @Setting('ARRIVAL_MAX_WAIT_SECONDS', 'how long a file that has arrived waits for others that keep coming')
  @IsNumber()
  @Min(0)
  @Max(86_400)
  arrivalMaxWaitSeconds: number = 300;

  @Setting('ARRIVAL_LIST_SECONDS', 'seconds between two looks that no notification rang for, with `sqs`')
  @IsNumber()
  @Min(0.05)
  @Max(86_400)
  arrivalListSeconds: number = 300;

  @Setting('ARRIVAL_QUEUE_URL', "URL of the queue that gets the source bucket's notifications; needed with `sqs`")
  @ValidateIf(({ arrivals }: SensorConfig) => arrivals === 'sqs')
  @IsUrl({ protocols: ['http', 'https'], require_protocol: true, require_tld: false })
  arrivalQueueUrl?: string;
}
