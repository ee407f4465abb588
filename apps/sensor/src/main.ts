import { startStage } from '@music/service';
import { SenseStreams } from './sense-streams';
import { SensorConfig } from './sensor.config';
import { SensorModule } from './sensor.module';

void startStage('sensor', SensorConfig, SensorModule, SenseStreams);
