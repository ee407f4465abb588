import { stageWorker } from '@music/service';
import { Module } from '@nestjs/common';
import { ArchiveRun } from './archive-run';
import { ArchiverController } from './archiver.controller';

@Module({ controllers: [ArchiverController], providers: [ArchiveRun, stageWorker(ArchiveRun)] })
export class ArchiverModule {}
