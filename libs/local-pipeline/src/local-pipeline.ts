import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { GlueClient } from '@aws-sdk/client-glue';
import { SQSClient, SendMessageCommand } from '@aws-sdk/client-sqs';
import { STAGES, type Stage } from '@music/events';
import { setUpGlueJob } from '@music/job-runners';
import type { RunState } from '@music/runs';
import {
  type Stores,
  StoresConfig,
  awsClient,
  loadSettings,
  openStores,
  serviceLogger,
  setUp,
  settingsOf,
} from '@music/service';
import { loadDelivery } from '@music/storage';
import { makeStack } from './made-stack';
import { fillFromSnapshot, unpackSnapshot } from './snapshot';
import {
  Child,
  GlueEndpoint,
  type KafkaSecurity,
  LocalStack,
  Moto,
  SERVERS,
  s3Notification,
  until,
  workspaceRoot,
} from '@music/local-stack';

/** The endpoints of `docker/compose.yaml`. */
const COMPOSE_STACK = {
  KAFKA_BROKERS: '127.0.0.1:9092',
  AWS_ENDPOINT_URL_DYNAMODB: 'http://127.0.0.1:8000',
  AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9090',
  S3_FORCE_PATH_STYLE: 'true',
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'local',
  AWS_SECRET_ACCESS_KEY: 'local',
};

/**
 * On one machine nobody waits for slow deliveries. The local S3 server goes on listing what was removed from a bucket
 * with versions, so there the source has none. Variables of the environment come before these.
 */
const LOCAL_DEFAULTS = {
  SOURCE_VERSIONS: 'false',
  SENSOR_POLL_SECONDS: '0.2',
  SENSOR_QUIET_SECONDS: '0',
  JOB_POLL_SECONDS: '0.5',
  LOG_LEVEL: 'info',
  GRACE_SECONDS: '10',
};

/** Files that arrive one by one are one run where they are close, and a run soon. */
const ARRIVAL_DEFAULTS = {
  SENSOR_QUIET_SECONDS: '1',
  ARRIVAL_MIN_INTERVAL_SECONDS: '1',
  ARRIVAL_MAX_WAIT_SECONDS: '5',
};

/** On loopback everybody is the operator. */
const API_DEFAULTS = { API_AUTH: 'none', API_HOST: '127.0.0.1', API_PORT: '0', API_ANONYMOUS_ROLE: 'operator' };

/** Engines of the KPI job that work on one machine; `glue` is the PySpark script behind an endpoint on loopback. */
export const LOCAL_ENGINES = ['duckdb', 'glue'] as const;

/** Where the servers come from. */
export const LOCAL_SERVERS = ['own', 'compose', 'moto'] as const;

/** What stands between the servers and those that call them. */
export interface CallProxies {
  /** What makes a caller, a stage, `cli` or `glue-job`, use the proxies in place of the servers; of no other, nothing. */
  env(caller: string): Record<string, string>;
  stop(): Promise<void>;
}

/** Gets who calls, where the HTTP servers are, and where Kafka is and its proxy has to listen. */
export type StartProxies = (
  callers: readonly string[],
  servers: { readonly s3?: string; readonly dynamodb?: string; readonly glue?: string; readonly sqs?: string },
  kafka: { readonly brokers: string; readonly port: number },
) => Promise<CallProxies>;

export interface LocalPipelineOptions {
  readonly engine?: (typeof LOCAL_ENGINES)[number];
  /**
   * Started here; those of `docker/compose.yaml`; or Kafka, and moto with the stack of apps/infra made on it.
   */
  readonly servers?: (typeof LOCAL_SERVERS)[number];
  /** Kafka with TLS and a login. */
  readonly kafkaSecurity?: KafkaSecurity;
  /** Starts what stands between the servers and those that call them. */
  readonly proxies?: StartProxies;
  /** DynamoDB starts slower and is quicker with very many items. */
  readonly muchData?: boolean;
  /** Spark works on columns by native code, as it does on Kubernetes and not on AWS Glue. */
  readonly comet?: boolean;
  /** How files that arrive ask for runs: not, by looking, or by notifications through a queue. */
  readonly arrivals?: 'off' | 'poll' | 'sqs';
  /** Whether the API, and the page, are served, too; on loopback, to whoever asks. */
  readonly api?: boolean;
  /** Nobody else uses the servers: they can be stopped, and buckets and tables have their usual names. */
  readonly unshared?: boolean;
  /** What an earlier pipeline left: see `saveSnapshot`. */
  readonly snapshot?: string;
  /** Settings of the services. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What runs as a process of its own besides the servers. */
export type Service = Stage | 'api';

/** The whole pipeline on this machine: the local stack, and each service as a process of its own. */
export class LocalPipeline {
  private readonly services = new Map<Service, Child[]>();
  private sqs: SQSClient | undefined;

  private constructor(
    readonly dir: string,
    readonly stack: LocalStack | undefined,
    readonly env: Readonly<Record<string, string>>,
    readonly config: StoresConfig,
    readonly stores: Stores,
    readonly glue: GlueEndpoint | undefined,
    private readonly callProxies: CallProxies | undefined,
    private readonly moto: Moto | undefined,
  ) {}

  /**
   * Starts stack and services and sets up topics, tables and buckets. Throws, with nothing left running, where one does
   * not start.
   */
  static async start({
    servers: from = 'own',
    engine = 'duckdb',
    kafkaSecurity,
    proxies: startProxies,
    muchData = false,
    comet = false,
    arrivals = 'off',
    api = false,
    unshared = false,
    snapshot,
    env: settings = {},
  }: LocalPipelineOptions = {}): Promise<LocalPipeline> {
    const dir = await mkdtemp(path.join(tmpdir(), 'music-'));
    const unpacked = snapshot === undefined ? undefined : await unpackSnapshot(snapshot, dir, path.join(dir, 'stack'));
    const own = from === 'moto' ? (['kafka'] as const) : arrivals === 'sqs' ? ([...SERVERS, 'sqs'] as const) : SERVERS;
    const stack =
      from === 'compose'
        ? undefined
        : await LocalStack.start(own, {
            dir: path.join(dir, 'stack'),
            kafkaSecurity,
            proxiedKafka: startProxies !== undefined,
            muchData,
            shared: !unshared && !muchData && unpacked === undefined, // a snapshot is put where the servers have their files
          });
    const stopServers = async (error: unknown) => {
      await Promise.all([stack?.stop(), moto?.stop()]);
      throw error;
    };
    const moto = from === 'moto' ? await Moto.start(path.join(dir, 'stack')).catch(stopServers) : undefined;
    const inherited = Object.fromEntries(
      Object.entries(process.env).filter(
        ([name, value]) => value !== undefined && !['AWS_PROFILE', 'AWS_SESSION_TOKEN'].includes(name),
      ),
    ) as Record<string, string>;
    const servers = stack === undefined ? COMPOSE_STACK : { ...stack.env, ...moto?.env };
    const glue = engine === 'glue' ? await GlueEndpoint.start(servers, { comet }).catch(stopServers) : undefined;
    const endpoints = { ...servers, ...(glue === undefined ? {} : { AWS_ENDPOINT_URL_GLUE: glue.url }) };
    const env: Record<string, string> = {
      ...LOCAL_DEFAULTS,
      ...API_DEFAULTS,
      ...(arrivals === 'off' ? {} : ARRIVAL_DEFAULTS),
      SCRATCH_DIR: path.join(dir, 'scratch'),
      ...inherited,
      ...(stack?.sharing === true && namesOn(stack)),
      ...settings,
      ...endpoints,
      ARRIVALS: arrivals,
      KPI_RUNNER: engine,
      HEALTH_PORT: '0',
      METRICS_PORT: '0',
      HEALTH_HOST: '127.0.0.1',
    };
    Object.assign(process.env, endpoints); // the SDK's clients of this process look there
    delete process.env['AWS_PROFILE'];
    if (moto !== undefined) {
      const settings = await makeStack(moto, path.join(dir, 'cdk')).catch(stopServers);
      Object.assign(env, settings, { ARRIVALS: arrivals, KPI_RUNNER: engine }); // which are said by who starts it
    }
    const config = loadSettings(StoresConfig, env);
    const proxies =
      startProxies !== undefined && stack !== undefined
        ? await startProxies(
            [...STAGES, 'api', 'cli'],
            {
              s3: env['AWS_ENDPOINT_URL_S3'],
              dynamodb: env['AWS_ENDPOINT_URL_DYNAMODB'],
              glue: glue?.url,
              sqs: env['ARRIVAL_QUEUE_URL'],
            },
            stack.kafkaBehindProxy,
          )
        : undefined;
    glue?.callThrough(proxies?.env('glue-job') ?? {});
    const stores = openStores(config, 'music-local', serviceLogger('local', 'silent'));
    const pipeline = new LocalPipeline(dir, stack, env, config, stores, glue, proxies, moto);
    try {
      await setUp(pipeline.stores, config);
      if (unpacked !== undefined) await fillFromSnapshot(pipeline.stores, config, unpacked);
      if (glue !== undefined) await pipeline.setUpGlue();
      await Promise.all([...STAGES, ...(api ? (['api'] as const) : [])].map((each) => pipeline.startService(each)));
      return pipeline;
    } catch (error) {
      await pipeline.stop();
      throw error;
    }
  }

  /** What a stage, or the command line, is started with. */
  envOf(caller: Service | 'cli'): Record<string, string> {
    return { ...this.env, ...this.callProxies?.env(caller) };
  }

  private async setUpGlue(): Promise<void> {
    const client = new GlueClient(awsClient(this.config));
    await setUpGlueJob(client, this.stores.objects, this.config.lakeBucket, {
      jobName: this.config.glueJobName,
      roleArn: 'arn:aws:iam::000000000000:role/local',
      workerType: 'G.1X',
      workers: 2,
      timeoutMinutes: 120,
    });
    client.destroy();
  }

  /** One more process of a stage, of this release or of a bundle; resolves when it takes events. */
  async startService(stage: Service, settings: Readonly<Record<string, string>> = {}, bundle?: string): Promise<Child> {
    const child = this.spawnService(stage, settings, [], bundle);
    await child.until(async () => (await this.readiness(child)).ready);
    return child;
  }

  /** One process with these settings in place of all that a stage has. */
  async replaceService(stage: Service, settings: Readonly<Record<string, string>> = {}): Promise<Child> {
    await Promise.all(this.children(stage).map((child) => child.stop()));
    return this.startService(stage, settings);
  }

  /** Like `startService`, without waiting for anything; started by another command where `within` gives one. */
  spawnService(
    stage: Service,
    settings: Readonly<Record<string, string>> = {},
    within: readonly string[] = [],
    bundle = path.join(workspaceRoot(), 'apps', stage, 'dist', 'main.js'),
  ): Child {
    const [command = '', ...args] = [...within, process.execPath, '--enable-source-maps', bundle];
    const child = Child.spawn(stage, command, args, {
      env: { ...this.envOf(stage), ...settings },
      logFile: this.logOf(stage),
    });
    this.services.set(stage, [...(this.services.get(stage) ?? []), child]);
    return child;
  }

  /** What a service says of itself. Throws where it does not answer (yet). */
  async readiness(child: Child): Promise<{ readonly ready: boolean; readonly says: string }> {
    const answer = await fetch(`http://127.0.0.1:${this.portsOf(child).health}/readyz`);
    return { ready: answer.ok, says: await answer.text() };
  }

  /** Where a service listens. Throws where it has not said so (yet). */
  portsOf(child: Child): { readonly health: string; readonly metrics: string } {
    const started = new RegExp(`"pid":${child.pid}.*"healthPort":(\\d+),"metricsPort":(\\d+)`, 'g');
    const [, health, metrics] = [...child.lastLines(1_000).matchAll(started)].at(-1) ?? [];
    if (health === undefined || metrics === undefined) throw new Error(`${child.name} has not said where it listens`);
    return { health, metrics };
  }

  /** Where an API of this pipeline, the first one or this, is to be had. Throws where it has not said so (yet). */
  apiUrl(child = this.children('api')[0]): string {
    const started = new RegExp(`"pid":${child?.pid}.*"port":(\\d+)`, 'g');
    const port = [...(child?.lastLines(1_000).matchAll(started) ?? [])].at(-1)?.[1];
    if (port === undefined) throw new Error('the API has not said where it listens');
    return `http://127.0.0.1:${port}`;
  }

  /** Waits up to 30 s until a run is in a state; throws where it is not by then. */
  async untilRunIs(state: RunState, runId: string): Promise<void> {
    await until(`${runId} is ${state}`, async () => (await this.stores.runs.findRun(runId))?.state === state);
  }

  logOf(stage: Service): string {
    return path.join(this.dir, `${stage}.log`);
  }

  children(stage: Service): readonly Child[] {
    return (this.services.get(stage) ?? []).filter(({ running }) => running);
  }

  /** Puts the files of a folder's streams/, songs/ and users/ into the source bucket. Gives how many there were. */
  load(folder: string): Promise<number> {
    const { sourceBucket, leaveNames } = this.config;
    return loadDelivery(this.stores.objects, sourceBucket, folder, {
      leaveNames,
      put: (object) => this.notify(s3Notification(object)),
    });
  }

  /** Puts texts into the source bucket, by their keys. */
  async putTexts(texts: Readonly<Record<string, string>>): Promise<void> {
    for (const [key, text] of Object.entries(texts))
      await this.notify(
        s3Notification(await this.stores.objects.putText(this.config.sourceBucket, key, text, 'text/csv')),
      );
  }

  /** Puts a local file into the source bucket; S3 would tell the queue of it, where there is one. */
  async put(key: string, file: string): Promise<void> {
    const object = await this.stores.objects.upload(this.config.sourceBucket, key, file);
    await this.notify(s3Notification(object));
  }

  /** Sends a message to the queue of arrivals, where there is one. */
  async notify(message: string): Promise<void> {
    const QueueUrl = this.env['ARRIVAL_QUEUE_URL'];
    if (this.env['ARRIVALS'] !== 'sqs' || QueueUrl === undefined) return;
    this.sqs ??= new SQSClient({ ...awsClient(this.config), useQueueUrlAsEndpoint: true });
    await this.sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: message }));
  }

  /** Stops the services in order, then the stack, and removes what they left. */
  async stop(): Promise<void> {
    await Promise.all([...this.services.values()].flat().map((child) => child.stop(15_000)));
    this.stores.close();
    this.sqs?.destroy();
    await this.callProxies?.stop();
    await this.glue?.stop();
    await Promise.all([this.stack?.stop(), this.moto?.stop()]);
    await rm(this.dir, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Settings that give buckets and tables names that nobody else on a stack has. */
function namesOn(stack: LocalStack): Record<string, string> {
  const usual = { ...new StoresConfig() } as unknown as Record<string, string>;
  return Object.fromEntries(
    settingsOf(StoresConfig)
      .filter(({ env }) => /_(BUCKET|TABLE)$/.test(env))
      .map(({ env, property }) => [env, stack.named(usual[property] ?? '')]),
  );
}
