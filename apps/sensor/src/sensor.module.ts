import { stageWorker } from '@music/service';
import { Module } from '@nestjs/common';
import { SenseStreams } from './sense-streams';
import { SensorController } from './sensor.controller';

@Module({ controllers: [SensorController], providers: [SenseStreams, stageWorker(SenseStreams)] })
export class SensorModule {}
