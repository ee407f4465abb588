import { IsInt, IsOptional, IsString, MaxLength, Min } from 'class-validator';

/** One version of one object in S3. Events carry these instead of data. */
export class ObjectRef {
  @IsString() @MaxLength(63) readonly bucket!: string;
  @IsString() @MaxLength(1024) readonly key!: string;
  @IsString() @MaxLength(256) readonly etag!: string;
  /** Bytes. */
  @IsInt() @Min(0) readonly size!: number;
  /** Only where the bucket keeps versions. */
  @IsOptional() @IsString() @MaxLength(1024) readonly versionId?: string;
}
