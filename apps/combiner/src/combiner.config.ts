import { EngineServiceConfig, Setting } from '@music/service';
import { IsInt, IsTimeZone, Max, Min } from 'class-validator';

export class CombinerConfig extends EngineServiceConfig {
  @Setting('SOURCE_TIME_ZONE', 'IANA zone of a listen_time that names none')
  @IsTimeZone()
  sourceTimeZone: string = 'UTC';

  @Setting('MAX_FILE_MB', 'MiB; a larger stream file is rejected')
  @IsInt()
  @Min(1)
  @Max(5_242_880)
  maxFileMb: number = 5_120;

  @Setting('MAX_ROW_KB', 'KiB; a longer row is malformed')
  @IsInt()
  @Min(64)
  @Max(65_536)
  maxRowKb: number = 1_024;
}
