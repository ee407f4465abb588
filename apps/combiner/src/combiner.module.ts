import { stageWorker } from '@music/service';
import { Module } from '@nestjs/common';
import { CombineStreams } from './combine-streams';
import { CombinerController } from './combiner.controller';

@Module({ controllers: [CombinerController], providers: [CombineStreams, stageWorker(CombineStreams)] })
export class CombinerModule {}
