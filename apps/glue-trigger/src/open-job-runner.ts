import { GlueClient } from '@aws-sdk/client-glue';
import { BatchV1Api, CoreV1Api, KubeConfig } from '@kubernetes/client-node';
import { DuckDBRunner, GlueRunner, type JobRunner, SparkKubernetesRunner } from '@music/job-runners';
import type { ObjectStore } from '@music/storage';
import type { GlueTriggerConfig } from './glue-trigger.config';

/** The engine that the settings name. */
export function openJobRunner(config: GlueTriggerConfig, store: ObjectStore, scratch: string): JobRunner {
  switch (config.kpiRunner) {
    case 'duckdb':
      return new DuckDBRunner(store, scratch, config.duckdbLimits);
    case 'glue':
      // One attempt: a StartJobRun whose reply is lost must not be sent again, but be looked for.
      return new GlueRunner(new GlueClient({ region: config.awsRegion, maxAttempts: 1 }), store, {
        jobName: config.glueJobName,
        region: config.awsRegion,
        timeoutMinutes: config.jobTimeoutMinutes,
      });
    case 'spark-kubernetes': {
      const cluster = new KubeConfig();
      cluster.loadFromDefault(); // the pod's service account, or the current kubectl context
      return new SparkKubernetesRunner(cluster.makeApiClient(BatchV1Api), cluster.makeApiClient(CoreV1Api), store, {
        namespace: config.sparkNamespace,
        image: config.sparkImage,
        imagePullPolicy: config.sparkImagePullPolicy,
        serviceAccount: config.sparkServiceAccount,
        executors: config.sparkExecutors,
        memoryMb: config.sparkMemoryMb,
        cores: config.sparkCores,
        timeoutMinutes: config.jobTimeoutMinutes,
        keepSeconds: config.sparkKeepSeconds,
        configMap: config.sparkConfigMap,
        secret: config.sparkSecret,
      });
    }
  }
}
