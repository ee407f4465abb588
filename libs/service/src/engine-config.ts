import { IsInt, Max, Min } from 'class-validator';
import { ServiceConfig } from './service-config';
import { Setting } from './settings';

/** What a service takes without any work. MiB. */
const NODE_MIB = 256;

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

  /** Beside what DuckDB may hold there are its buffers for Parquet, of which docs/operations.md has a formula. */
  override memoryProblems(limitBytes: number): readonly string[] {
    const needs = NODE_MIB + this.concurrency * this.duckdbMemoryMb;
    const has = Math.floor(limitBytes / 2 ** 20);
    if (has >= needs) return [];
    return [
      `DUCKDB_MEMORY_MB=${this.duckdbMemoryMb}, CONCURRENCY=${this.concurrency}: need more than ${needs} MiB with what ` +
        `Node takes, and the container may have ${has}: raise its memory limit, best to ` +
        `${NODE_MIB + 2 * this.concurrency * this.duckdbMemoryMb}Mi, or lower the settings`,
    ];
  }

  get duckdbLimits(): { memoryBytes: number; threads: number } {
    return { memoryBytes: this.duckdbMemoryMb * 2 ** 20, threads: this.duckdbThreads };
  }
}
