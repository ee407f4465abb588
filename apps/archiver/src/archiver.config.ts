import { ServiceConfig, Setting } from '@music/service';
import { IsIn } from 'class-validator';

export class ArchiverConfig extends ServiceConfig {
  @Setting('ARCHIVE_STORAGE_CLASS', 'S3 class of archived files: GLACIER, DEEP_ARCHIVE or GLACIER_IR')
  @IsIn(['GLACIER', 'DEEP_ARCHIVE', 'GLACIER_IR'])
  archiveStorageClass: 'GLACIER' | 'DEEP_ARCHIVE' | 'GLACIER_IR' = 'DEEP_ARCHIVE';
}
