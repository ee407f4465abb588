import { BatchV1Api, CoreV1Api, KubeConfig } from '@kubernetes/client-node';
import type { JobRunner } from '@music/job-runners';
import { SparkKubernetesRunner } from '@music/job-runners/spark-kubernetes-runner';
import type { ObjectStore } from '@music/storage';
import type { GlueTriggerConfig } from './glue-trigger.config';

export function openSparkKubernetesRunner(config: GlueTriggerConfig, store: ObjectStore): JobRunner {
  const cluster = new KubeConfig();
  cluster.loadFromDefault(); // the pod's service account, or the current kubectl context
  return new SparkKubernetesRunner(cluster.makeApiClient(BatchV1Api), cluster.makeApiClient(CoreV1Api), store, {
    namespace: config.sparkNamespace,
    image: config.sparkImage,
    imagePullPolicy: config.sparkImagePullPolicy,
    serviceAccount: config.sparkServiceAccount,
    executors: config.sparkExecutors,
    memoryMb: config.sparkMemoryMb,
    comet: config.sparkComet,
    cores: config.sparkCores,
    cpuRequest: config.sparkCpuRequest,
    timeoutMinutes: config.jobTimeoutMinutes,
    keepSeconds: config.sparkKeepSeconds,
    configMap: config.sparkConfigMap,
    secret: config.sparkSecret,
  });
}
