import { startStage } from '@music/service';
import { CombineStreams } from './combine-streams';
import { CombinerConfig } from './combiner.config';
import { CombinerModule } from './combiner.module';

void startStage('combiner', CombinerConfig, CombinerModule, CombineStreams);
