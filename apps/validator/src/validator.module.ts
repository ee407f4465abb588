import { stageWorker } from '@music/service';
import { Module } from '@nestjs/common';
import { ValidateBatch } from './validate-batch';
import { ValidatorController } from './validator.controller';

@Module({ controllers: [ValidatorController], providers: [ValidateBatch, stageWorker(ValidateBatch)] })
export class ValidatorModule {}
