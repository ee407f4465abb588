import { IsInt, Max, Min } from 'class-validator';
import { ServiceConfig } from './service-config';
import { Setting } from './settings';

/** Of the services that work with the embedded engine. */
export class EngineServiceConfig extends ServiceConfig {
  @Setting('DUCKDB_MEMORY_MB', 'MiB that DuckDB may hold; what does not fit is spilled to SCRATCH_DIR')
  @IsInt()
  @Min(64)
  @Max(1_048_576)
  duckdbMemoryMb: number = 512;

  @Setting('DUCKDB_THREADS', 'threads of DuckDB')
  @IsInt()
  @Min(1)
  @Max(256)
  duckdbThreads: number = 2;

  get duckdbLimits(): { memoryBytes: number; threads: number } {
    return { memoryBytes: this.duckdbMemoryMb * 2 ** 20, threads: this.duckdbThreads };
  }
}
