import { DuckDBRunner, type JobRunner } from '@music/job-runners';
import type { ObjectStore } from '@music/storage';
import type { GlueTriggerConfig } from './glue-trigger.config';

/** The engine that the settings name. The clients of the others take much memory, so they are not even loaded. */
export async function openJobRunner(
  config: GlueTriggerConfig,
  store: ObjectStore,
  scratch: string,
): Promise<JobRunner> {
  switch (config.kpiRunner) {
    case 'duckdb':
      return new DuckDBRunner(store, scratch, config.duckdbLimits);
    case 'glue':
      return (await import('./open-glue-runner')).openGlueRunner(config, store);
    case 'spark-kubernetes':
      return (await import('./open-spark-kubernetes-runner')).openSparkKubernetesRunner(config, store);
  }
}
