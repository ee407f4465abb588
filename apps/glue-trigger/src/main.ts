import { startStage } from '@music/service';
import { ComputeKpis } from './compute-kpis';
import { GlueTriggerConfig } from './glue-trigger.config';
import { GlueTriggerModule } from './glue-trigger.module';

void startStage('glue-trigger', GlueTriggerConfig, GlueTriggerModule, ComputeKpis);
