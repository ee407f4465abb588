import { EngineServiceConfig, Setting } from '@music/service';
import { IsIn, IsNumber, Max, Min } from 'class-validator';

export class ValidatorConfig extends EngineServiceConfig {
  @Setting('MAX_REJECTED_SHARE', 'share of rejected rows, 0 to 1, above which a whole file is rejected')
  @IsNumber()
  @Min(0)
  @Max(1)
  maxRejectedShare: number = 0.05;

  @Setting(
    'ON_REJECTED_FILE',
    'what a rejected file means for its run: `continue` with the others, or `reject` the run',
  )
  @IsIn(['continue', 'reject'])
  onRejectedFile: 'continue' | 'reject' = 'continue';
}
