import { readFileSync } from 'node:fs';
import { describeError } from '@music/errors';
import defaultChecks from '@music/glue/checks/checks.yaml';
import { EngineServiceConfig, Setting, WrongSettings } from '@music/service';
import { IsBoolean, IsIn, IsInt, IsNumber, IsOptional, Matches, Max, Min } from 'class-validator';
import { type CheckOf, readChecks } from './checks/check-list';

const K8S_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

export class GlueTriggerConfig extends EngineServiceConfig {
  @Setting(
    'KPI_RUNNER',
    'engine of the KPI job: `duckdb` in this service, `glue` on AWS Glue, `spark-kubernetes` as Jobs of this cluster',
  )
  @IsIn(['duckdb', 'glue', 'spark-kubernetes'])
  kpiRunner: 'duckdb' | 'glue' | 'spark-kubernetes' = 'duckdb';

  @Setting('JOB_POLL_SECONDS', 'seconds between two looks at a running KPI job')
  @IsNumber()
  @Min(0.05)
  @Max(3_600)
  jobPollSeconds: number = 10;

  @Setting('JOB_TIMEOUT_MINUTES', 'a KPI job on Glue or Kubernetes that takes longer is stopped')
  @IsInt()
  @Min(1)
  @Max(2_880)
  jobTimeoutMinutes: number = 120;

  @Setting(
    'UNKNOWN_TRACKS',
    'listens of tracks that songs does not have: `keep` them as genre Unknown, or `reject` them',
  )
  @IsIn(['keep', 'reject'])
  unknownTracks: 'keep' | 'reject' = 'keep';

  @Setting(
    'LAKE_MAX_OBJECTS',
    'of a day of the lake that has more objects, the smallest are compacted into one after a run',
  )
  @IsInt()
  @Min(1)
  @Max(100_000)
  lakeMaxObjects: number = 50;

  @Setting('CHECKS_FILE', "YAML file with the checks of a run's numbers (default: those of glue/checks/checks.yaml)")
  @IsOptional()
  @Matches(/^[^\0]{1,4096}$/)
  checksFile?: string;

  checks: readonly CheckOf[] = [];

  override readFiles(): void {
    this.checks = readChecks(this.checksFile === undefined ? defaultChecks : textOf(this.checksFile), 'CHECKS_FILE');
  }

  @Setting('SPARK_IMAGE', 'image of the Spark driver and executors, see docker/spark/Dockerfile')
  @Matches(/^\S{1,512}$/)
  sparkImage: string = 'music/spark:dev';

  @Setting('SPARK_IMAGE_PULL_POLICY', 'when Kubernetes fetches that image: Always, IfNotPresent or Never')
  @IsIn(['Always', 'IfNotPresent', 'Never'])
  sparkImagePullPolicy: string = 'IfNotPresent';

  @Setting('SPARK_NAMESPACE', 'namespace of the Spark Jobs')
  @Matches(K8S_NAME)
  sparkNamespace: string = 'music';

  @Setting('SPARK_SERVICE_ACCOUNT', 'service account of the Spark driver')
  @Matches(K8S_NAME)
  sparkServiceAccount: string = 'spark-driver';

  @Setting('SPARK_EXECUTORS', 'executor pods; 0: the driver does all the work')
  @IsInt()
  @Min(0)
  @Max(1_000)
  sparkExecutors: number = 0;

  @Setting(
    'SPARK_COMET',
    'whether Spark on Kubernetes works on columns by native code, with Comet; it needs processors with AVX2 or Neoverse N1',
  )
  @IsBoolean()
  sparkComet: boolean = true;

  @Setting('SPARK_MEMORY_MB', 'MiB of heap of the driver and of each executor; native code gets half as much besides')
  @IsInt()
  @Min(512)
  @Max(1_048_576)
  sparkMemoryMb: number = 1_024;

  @Setting('SPARK_CORES', 'cores of the driver and of each executor')
  @IsInt()
  @Min(1)
  @Max(64)
  sparkCores: number = 1;

  @Setting(
    'SPARK_CPU_REQUEST',
    'processor time that Kubernetes keeps free for the driver and for each executor, such as 500m',
  )
  @Matches(/^(\d{1,6}m|\d{1,3}(\.\d{1,3})?)$/)
  sparkCpuRequest: string = '1';

  @Setting('SPARK_KEEP_SECONDS', 'finished Spark Jobs are removed after so long')
  @IsInt()
  @Min(60)
  @Max(2_592_000)
  sparkKeepSeconds: number = 86_400;

  @Setting('SPARK_CONFIG_MAP', 'config map whose entries the Spark driver gets as environment')
  @Matches(K8S_NAME)
  sparkConfigMap: string = 'music-settings';

  @Setting('SPARK_SECRET', 'secret whose entries the Spark driver gets as environment, if there is one')
  @Matches(K8S_NAME)
  sparkSecret: string = 'music-secrets';
}

const MOST_BYTES = 2 ** 20;

function textOf(file: string): string {
  try {
    const text = readFileSync(file, 'utf8');
    if (text.length > MOST_BYTES) throw new Error(`it has more than ${MOST_BYTES} characters`);
    return text;
  } catch (error) {
    throw new WrongSettings([`CHECKS_FILE=${file}: ${describeError(error)}`]);
  }
}
