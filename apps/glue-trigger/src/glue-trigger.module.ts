import { stageWorker } from '@music/service';
import { Module } from '@nestjs/common';
import { ComputeKpis } from './compute-kpis';
import { GlueTriggerController } from './glue-trigger.controller';

@Module({ controllers: [GlueTriggerController], providers: [ComputeKpis, stageWorker(ComputeKpis)] })
export class GlueTriggerModule {}
