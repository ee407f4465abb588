import { createHash } from 'node:crypto';
import { ApiException, type BatchV1Api, type CoreV1Api, type V1Job } from '@kubernetes/client-node';
import { describeError } from '@music/errors';
import type { ObjectStore } from '@music/storage';
import { glueArguments } from './glue-runner';
import type { JobRunner, JobStart, JobStatus, KpiJob } from './job-runner';
import { finishSparkJob, prepareSparkJob } from './spark-job';

export interface SparkKubernetesOptions {
  readonly namespace: string;
  /** Made from docker/spark/Dockerfile. */
  readonly image: string;
  readonly imagePullPolicy: string;
  /** Of the driver; with executors it may manage pods, and the config maps and services that Spark makes for them. */
  readonly serviceAccount: string;
  /** 0: the driver does all the work itself. */
  readonly executors: number;
  /** Heap of the driver and of each executor. */
  readonly memoryMb: number;
  /** Whether they work on columns by native code, with Comet; it gets half as much memory as the heap besides. */
  readonly comet: boolean;
  readonly cores: number;
  /** As Kubernetes writes it, such as `500m`. */
  readonly cpuRequest: string;
  /** A job that takes longer is ended. Minutes. */
  readonly timeoutMinutes: number;
  /** Finished Jobs are removed after so long. Seconds. */
  readonly keepSeconds: number;
  /**
   * ConfigMap and Secret whose entries become environment variables: endpoints, region, credentials where no role gives
   * them.
   */
  readonly configMap: string;
  readonly secret: string;
}

const LABEL = 'music-pipeline/kpi-job';
const RUN = 'music-pipeline/run-id';
const INPUT = 'music-pipeline/input';
const LOG_LINES = 200;
const SHOWN_LINES = 15;
/** What a JVM and Python need beside the heap: a part of it, and no less than Spark itself gives executors. */
const OVERHEAD_FACTOR = 0.4;
const MIN_OVERHEAD_MB = 384;
const DRIVER_PORT = 7078;
const BLOCK_PORT = 7079;
const MAX_ATTEMPTS = 100;

/** Runs KPI jobs as Kubernetes Jobs: the Job's pod is the Spark driver, which starts its executors itself. */
export class SparkKubernetesRunner implements JobRunner {
  readonly engine = 'spark-kubernetes';

  constructor(
    private readonly batch: BatchV1Api,
    private readonly core: CoreV1Api,
    private readonly store: ObjectStore,
    private readonly options: SparkKubernetesOptions,
  ) {}

  /**
   * A Job of the same run and input that is under way or complete is adopted. Its name follows from the run, the input
   * and how many failed before it, so that two processes cannot make two. Waits for every other: the Job of a run that
   * failed, or of an earlier turn, may still be writing the lake. Throws as the API server does.
   */
  async start(job: KpiJob): Promise<JobStart> {
    const args = await prepareSparkJob(this.store, job);
    const { namespace } = this.options;
    const hash = createHash('sha256').update(JSON.stringify(args)).digest('hex').slice(0, 16);
    const { items } = await this.batch.listNamespacedJob({ namespace, labelSelector: LABEL });
    const own = items.filter(({ metadata }) => metadata?.labels?.[LABEL] === hash);
    const adopted = own.find((each) => !isFailed(each) && each.metadata?.deletionTimestamp === undefined)?.metadata
      ?.name;
    if (adopted !== undefined) return { jobRunId: adopted };
    const other = items.find((each) => !isFailed(each) && !isComplete(each))?.metadata;
    if (other !== undefined)
      return { busy: `Job ${other.name} of ${other.annotations?.[RUN] ?? 'an unknown run'} has not ended yet` };
    for (let attempt = own.length + 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      const name = `music-kpis-${hash}-${attempt}`;
      try {
        await this.batch.createNamespacedJob({ namespace, body: this.manifest(name, hash, args) });
        return { jobRunId: name };
      } catch (error) {
        if (codeOf(error) === 403 && /exceeded quota/.test(describeError(error)))
          return { busy: describeError(error, 300) };
        if (codeOf(error) !== 409) throw error;
        // Made by a process that died before it could say so; or one that failed, and was counted already.
        const there = await this.batch.readNamespacedJob({ namespace, name });
        if (!isFailed(there)) return { jobRunId: name };
      }
    }
    throw new Error(`the KPI job of ${job.runId} failed ${MAX_ATTEMPTS} times`);
  }

  async poll(job: KpiJob, jobRunId: string): Promise<JobStatus> {
    const { namespace } = this.options;
    let there: V1Job;
    try {
      there = await this.batch.readNamespacedJob({ namespace, name: jobRunId });
    } catch (error) {
      if (codeOf(error) === 404) return { state: 'lost' };
      throw error;
    }
    const logs = `kubectl --namespace ${namespace} logs job/${jobRunId}`;
    if (isComplete(there))
      return { state: 'succeeded', summary: await finishSparkJob(this.store, job, this.engine), logs };
    const failure = condition(there, 'Failed');
    if (failure === undefined) return { state: 'running', logs };
    const why = `${failure.reason ?? 'Failed'}: ${failure.message ?? 'no message'}`;
    return { state: 'failed', message: `${why}\n${await this.lastLines(jobRunId)}`.trim(), lasting: true, logs };
  }

  async close(): Promise<void> {
    // A Job needs nobody to go on.
  }

  /** The end of the driver's log, as far as its pod is still there. */
  private async lastLines(name: string): Promise<string> {
    const { namespace } = this.options;
    try {
      const { items } = await this.core.listNamespacedPod({
        namespace,
        labelSelector: `batch.kubernetes.io/job-name=${name}`,
      });
      const pod = items.at(-1)?.metadata?.name;
      if (pod === undefined) return 'its pod is gone';
      const log = await this.core.readNamespacedPodLog({
        namespace,
        name: pod,
        container: 'driver',
        tailLines: LOG_LINES,
      });
      return log
        .split('\n')
        .filter((line) => !/^\s+at | INFO |^\s*\.\.\. \d+ more/.test(line)) // the frames of Java hide what it says
        .slice(-SHOWN_LINES)
        .join('\n');
    } catch (error) {
      return `its log cannot be read: ${describeError(error, 300)}`;
    }
  }

  private manifest(name: string, hash: string, args: Record<string, string>): V1Job {
    const { image, imagePullPolicy, serviceAccount, memoryMb, timeoutMinutes, keepSeconds, configMap, secret } =
      this.options;
    const labels = {
      'app.kubernetes.io/name': 'kpi-job',
      'app.kubernetes.io/component': 'spark-driver',
      'app.kubernetes.io/part-of': 'music-pipeline',
      [LABEL]: hash,
    };
    const overheadMb = Math.max(Math.ceil(memoryMb * OVERHEAD_FACTOR), MIN_OVERHEAD_MB);
    const memory = `${memoryMb + overheadMb + this.nativeMb}Mi`;
    return {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name, labels, annotations: { [RUN]: args['RUN_ID'] ?? '', [INPUT]: args['S3_SOURCE_PATH'] ?? '' } },
      spec: {
        backoffLimit: 0, // the pipeline starts it again, so that it knows which attempt is which
        activeDeadlineSeconds: timeoutMinutes * 60,
        ttlSecondsAfterFinished: keepSeconds,
        template: {
          metadata: { labels },
          spec: {
            restartPolicy: 'Never',
            serviceAccountName: serviceAccount,
            automountServiceAccountToken: this.options.executors > 0,
            securityContext: {
              runAsNonRoot: true,
              runAsUser: 10_001,
              fsGroup: 10_001,
              seccompProfile: { type: 'RuntimeDefault' },
            },
            containers: [
              {
                name: 'driver',
                image,
                imagePullPolicy,
                args: ['driver', ...this.sparkOptions(), '/opt/music/music_kpis.py', ...commandLine(args)],
                envFrom: [
                  { configMapRef: { name: configMap, optional: true } },
                  { secretRef: { name: secret, optional: true } },
                ],
                env: [
                  { name: 'SPARK_CONFIG_MAP', value: configMap },
                  { name: 'SPARK_SECRET', value: secret },
                  { name: 'SPARK_COMET', value: String(this.options.comet) },
                  { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
                  { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
                ],
                ports: [
                  { name: 'driver', containerPort: DRIVER_PORT },
                  { name: 'blocks', containerPort: BLOCK_PORT },
                ],
                resources: { requests: { cpu: this.options.cpuRequest, memory }, limits: { memory } },
                securityContext: {
                  allowPrivilegeEscalation: false,
                  readOnlyRootFilesystem: true,
                  capabilities: { drop: ['ALL'] },
                },
                volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
              },
            ],
            volumes: [{ name: 'tmp', emptyDir: {} }],
          },
        },
      },
    };
  }

  /** What native code may have, in MiB. */
  private get nativeMb(): number {
    return this.options.comet ? Math.ceil(this.options.memoryMb / 2) : 0;
  }

  private sparkOptions(): string[] {
    const { namespace, image, imagePullPolicy, executors, memoryMb, cores, comet } = this.options;
    const conf = (settings: Record<string, string | number>) =>
      Object.entries(settings).flatMap(([name, value]) => ['--conf', `${name}=${value}`]);
    const driver = [
      ...['--driver-memory', `${memoryMb}m`],
      ...conf(comet ? { 'spark.memory.offHeap.size': `${this.nativeMb}m` } : {}),
    ];
    if (executors === 0) return ['--master', `local[${cores}]`, ...driver];
    return [
      ...['--master', 'k8s://https://kubernetes.default.svc', '--deploy-mode', 'client', ...driver],
      ...conf({
        'spark.executor.instances': executors,
        'spark.executor.memory': `${memoryMb}m`,
        'spark.executor.cores': cores,
        'spark.kubernetes.executor.request.cores': this.options.cpuRequest,
        'spark.kubernetes.namespace': namespace,
        'spark.kubernetes.container.image': image,
        'spark.kubernetes.container.image.pullPolicy': imagePullPolicy,
        'spark.kubernetes.executor.podTemplateFile': '/tmp/executor-pod.yaml',
        'spark.kubernetes.authenticate.executor.serviceAccountName': this.options.serviceAccount,
        'spark.kubernetes.memoryOverheadFactor': OVERHEAD_FACTOR,
        // Executors belong to the driver's pod and go with it. $(…) is filled in by Kubernetes.
        'spark.kubernetes.driver.pod.name': '$(POD_NAME)',
        'spark.driver.host': '$(POD_IP)',
        'spark.driver.bindAddress': '0.0.0.0',
        'spark.driver.port': DRIVER_PORT,
        'spark.blockManager.port': BLOCK_PORT,
      }),
    ];
  }
}

function commandLine(args: Record<string, string>): string[] {
  return Object.entries(glueArguments({ ...args, SQL_PATH: 'file:///opt/music/sql' })).flat();
}

const condition = (job: V1Job, type: string) =>
  job.status?.conditions?.find((each) => each.type === type && each.status === 'True');
const isComplete = (job: V1Job): boolean => condition(job, 'Complete') !== undefined;
const isFailed = (job: V1Job): boolean => condition(job, 'Failed') !== undefined;

function codeOf(error: unknown): number | undefined {
  return error instanceof ApiException ? error.code : undefined;
}
