import { EngineServiceConfig, Setting } from '@music/service';
import { IsIn, IsNumber, Max, Min } from 'class-validator';

export class GlueTriggerConfig extends EngineServiceConfig {
  @Setting('KPI_RUNNER', 'engine of the KPI job: duckdb, in this service')
  @IsIn(['duckdb'])
  kpiRunner: string = 'duckdb';

  @Setting('JOB_POLL_SECONDS', 'seconds between two looks at a running KPI job')
  @IsNumber()
  @Min(0.05)
  @Max(3_600)
  jobPollSeconds: number = 10;

  @Setting('UNKNOWN_TRACKS', 'listens of tracks that songs does not have: `keep` them as genre Unknown, or `reject` them')
  @IsIn(['keep', 'reject'])
  unknownTracks: 'keep' | 'reject' = 'keep';
}
