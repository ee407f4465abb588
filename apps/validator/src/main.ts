import { startStage } from '@music/service';
import { ValidateBatch } from './validate-batch';
import { ValidatorConfig } from './validator.config';
import { ValidatorModule } from './validator.module';

void startStage('validator', ValidatorConfig, ValidatorModule, ValidateBatch);
