import { stageWorker } from '@music/service';
import { Module } from '@nestjs/common';
import { Arrivals } from './arrivals';
import { AsksAgain } from './asks-again';
import { Expiry } from './expiry';
import { SenseStreams } from './sense-streams';
import { SensorController } from './sensor.controller';
import { SourceFiles } from './source-files';

@Module({
  controllers: [SensorController],
  providers: [SourceFiles, Arrivals, Expiry, AsksAgain, SenseStreams, stageWorker(SenseStreams)],
})
export class SensorModule {}
