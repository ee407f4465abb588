import { startStage } from '@music/service';
import { ArchiveRun } from './archive-run';
import { ArchiverConfig } from './archiver.config';
import { ArchiverModule } from './archiver.module';

void startStage('archiver', ArchiverConfig, ArchiverModule, ArchiveRun);
