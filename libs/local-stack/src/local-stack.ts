import { randomBytes, randomInt } from 'node:crypto';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Kafka, logLevel } from 'kafkajs';
import { Child } from './child-process';
import { QUICK_START, SharedClasses } from './jvm';
import { type KafkaSecurity, certificateOf, makeCertificate, tlsOf } from './kafka-security';
import { SHARED_SERVERS, type SharedServers, sharedServers } from './shared-servers';
import { PATIENCE_MS } from './until';
import { workspaceRoot } from './workspace';

export const SERVERS = ['kafka', 'dynamodb', 's3'] as const;
/** `sqs` is started only where it is asked for. */
export type Server = (typeof SERVERS)[number] | 'sqs';

const SMALL_JVM = ['-Xmx256m', '-XX:+UseSerialGC'];
const HOST = '127.0.0.1';
/** Name of the queue that gets the source bucket's notifications. */
const ARRIVALS = 'arrivals';
/** Below the ports that systems give to outgoing connections, which take one while its server is still starting. */
const PORTS = { from: 15_000, to: 32_000 };
const PORT_TRIES = 100;

interface ProxiedKafka {
  readonly brokerPort: number;
  readonly proxyPort: number;
}

export interface LocalStackOptions {
  /** Where servers keep their data, which stay there; without it a folder that goes with the stack. */
  readonly dir?: string;
  /** How clients of Kafka log in; without it they do not. */
  readonly kafkaSecurity?: KafkaSecurity;
  /** Kafka has a second listener, for a proxy. */
  readonly proxiedKafka?: boolean;
  /** A DynamoDB that starts slower and is quicker with very many items. */
  readonly muchData?: boolean;
  /** Whether servers will do that others use at the same time, where there are some; in them, names are by `named`. */
  readonly shared?: boolean;
}

/** Kafka, DynamoDB and S3 as processes on free ports of loopback, with their data in one folder. */
export class LocalStack {
  private readonly children = new Map<Server, Child>();
  private readonly ports = new Map<Server, number>();
  /** Those that write an archive of their classes when they end. */
  private readonly slowToStop = new Set<Child>();
  private readonly mark = randomBytes(4).toString('hex');

  private constructor(
    readonly dir: string,
    private readonly jars: string,
    private readonly ownsDir: boolean,
    private readonly shared: SharedServers,
    /** Kafka speaks TLS and wants a login. */
    private readonly kafkaSecurity: KafkaSecurity | undefined,
    private readonly proxiedKafka: ProxiedKafka | undefined,
    private readonly muchData: boolean,
  ) {}

  static async start(
    servers: readonly Server[] = SERVERS,
    { dir, kafkaSecurity, proxiedKafka = false, muchData = false, shared = false }: LocalStackOptions = {},
  ): Promise<LocalStack> {
    const jars = path.join(workspaceRoot(), '.stack');
    for (const server of servers) {
      if (!existsSync(path.join(jars, server)))
        throw new Error(
          `the jars of ${server} are not in ${jars}: run \`npm run setup${server === 'sqs' ? ' sqs' : ''}\``,
        );
    }
    const stack = new LocalStack(
      dir ?? (await mkdtemp(path.join(tmpdir(), 'music-stack-'))),
      jars,
      dir === undefined,
      shared ? sharedServers() : {},
      kafkaSecurity,
      proxiedKafka ? { brokerPort: await freePort(), proxyPort: await freePort() } : undefined,
      muchData,
    );
    await mkdir(stack.dir, { recursive: true });
    try {
      await Promise.all(servers.map((server) => stack.take(server)));
      return stack;
    } catch (error) {
      await stack.stop();
      throw error;
    }
  }

  get brokers(): string {
    return `${HOST}:${this.ports.get('kafka')}`;
  }

  /** Where a proxy for Kafka finds it, and must stand. Throws where the stack was not started with `proxiedKafka`. */
  get kafkaBehindProxy(): { readonly brokers: string; readonly port: number } {
    if (this.proxiedKafka === undefined) throw new Error('the stack was started without `proxiedKafka`');
    return { brokers: `${HOST}:${this.proxiedKafka.brokerPort}`, port: this.proxiedKafka.proxyPort };
  }

  /** What the AWS SDK and the services need to find this stack. */
  get env(): Record<string, string> {
    const env: Record<string, string> = {
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'local',
      AWS_SECRET_ACCESS_KEY: 'local',
    };
    if (this.ports.has('kafka')) env['KAFKA_BROKERS'] = this.brokers;
    if (this.kafkaSecurity !== undefined)
      Object.assign(env, {
        KAFKA_TLS: 'true',
        KAFKA_CA_FILE: certificateOf(path.join(this.dir, 'kafka')),
        ...this.kafkaSecurity.env,
      });
    if (this.ports.has('dynamodb')) env['AWS_ENDPOINT_URL_DYNAMODB'] = `http://${HOST}:${this.ports.get('dynamodb')}`;
    if (this.ports.has('s3'))
      Object.assign(env, {
        AWS_ENDPOINT_URL_S3: `http://${HOST}:${this.ports.get('s3')}`,
        S3_FORCE_PATH_STYLE: 'true',
      });
    if (this.ports.has('sqs')) {
      env['AWS_ENDPOINT_URL_SQS'] = `http://${HOST}:${this.ports.get('sqs')}`;
      env['ARRIVAL_QUEUE_URL'] = `${env['AWS_ENDPOINT_URL_SQS']}/000000000000/${ARRIVALS}`;
    }
    return env;
  }

  /** The servers of this stack that others can share. */
  get toShare(): SharedServers {
    return Object.fromEntries(SHARED_SERVERS.map((server) => [server, this.ports.get(server)]));
  }

  /** Whether some of the servers are not its own. */
  get sharing(): boolean {
    return this.ports.size > this.children.size;
  }

  /** A name for a bucket or a table that nobody else on these servers has. */
  named(name: string): string {
    return this.sharing ? `${name}-${this.mark}` : name;
  }

  private async take(server: Server): Promise<void> {
    const port = this.shared[server];
    if (port === undefined) await this.startServer(server);
    else this.ports.set(server, port);
  }

  /** Starts a server, or starts it again at its old port: Kafka and S3 with their old data, DynamoDB with none. */
  async startServer(server: Server): Promise<void> {
    const port = this.ports.get(server) ?? (await freePort());
    this.ports.set(server, port);
    const data = path.join(this.dir, server);
    await mkdir(data, { recursive: true });
    const classes = new SharedClasses(this.jars, server);
    const args = await {
      kafka: () => this.kafka(port, data),
      dynamodb: () => this.dynamodb(port),
      s3: () => this.s3(port, data, classes.isMaking),
      sqs: () => this.sqs(port, data),
    }[server]();
    const quick = server === 'dynamodb' && this.muchData ? [] : [QUICK_START];
    const child = Child.spawn(server, 'java', [...SMALL_JVM, ...quick, ...classes.jvmArgs, ...args], {
      env: process.env,
      logFile: path.join(this.dir, `${server}.log`),
      cwd: data,
    });
    this.children.set(server, child);
    if (classes.isMaking) this.slowToStop.add(child);
    void child.exited.then((how) => classes.ended(!how.includes('SIGKILL')));
    await child.until(server === 'kafka' ? () => this.answersKafka(port) : () => answersHttp(port));
  }

  child(server: Server): Child {
    const child = this.children.get(server);
    if (child === undefined) throw new Error(`${server} was not started`);
    return child;
  }

  async stop(): Promise<void> {
    await Promise.all(
      [...this.children.values()].map((child) => child.stop(this.slowToStop.has(child) ? PATIENCE_MS : 5_000)),
    );
    if (this.ownsDir) await rm(this.dir, { recursive: true, force: true, maxRetries: 3 });
  }

  private async kafka(port: number, data: string): Promise<string[]> {
    const config = path.join(data, 'server.properties');
    const classPath = ['-cp', path.join(this.jars, 'kafka', '*')];
    if (!existsSync(config)) {
      const controller = await freePort();
      const secure = this.kafkaSecurity === undefined ? 'PLAINTEXT' : 'SASL_SSL';
      const own = await freePort(); // on which the broker is a client of itself
      const { brokerPort, proxyPort } = this.proxiedKafka ?? {};
      const behindProxy = (port: number | undefined) => (port === undefined ? '' : `,PROXIED://${HOST}:${port}`);
      await writeFile(
        config,
        Object.entries({
          'process.roles': 'broker,controller',
          'node.id': 1,
          'log.dirs': path.join(data, 'log'),
          'controller.quorum.voters': `1@${HOST}:${controller}`,
          'controller.listener.names': 'CONTROLLER',
          listeners: `CLIENTS://${HOST}:${port},BROKER://${HOST}:${own},CONTROLLER://${HOST}:${controller}${behindProxy(brokerPort)}`,
          'advertised.listeners': `CLIENTS://${HOST}:${port},BROKER://${HOST}:${own}${behindProxy(proxyPort)}`,
          'inter.broker.listener.name': 'BROKER',
          'listener.security.protocol.map': `CLIENTS:${secure},PROXIED:${secure},BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT`,
          ...(this.kafkaSecurity && { ...(await makeCertificate(data)), ...this.kafkaSecurity.properties }),
          // One node: the defaults ask for three.
          'offsets.topic.replication.factor': 1,
          'offsets.topic.num.partitions': 1,
          'transaction.state.log.replication.factor': 1,
          'transaction.state.log.min.isr': 1,
          'share.coordinator.state.topic.replication.factor': 1,
          'share.coordinator.state.topic.min.isr': 1,
          'group.initial.rebalance.delay.ms': 0,
          'group.min.session.timeout.ms': 1_000, // tests that kill members do not wait for long
          'auto.create.topics.enable': false,
          'metadata.max.idle.interval.ms': 0, // with one node nobody waits for its records that say nothing
        })
          .map(([key, value]) => `${key}=${value}\n`)
          .join(''),
      );
      const classes = new SharedClasses(this.jars, 'kafka-format');
      await promisify(execFile)('java', [
        ...SMALL_JVM,
        QUICK_START,
        ...classes.jvmArgs,
        ...classPath,
        'kafka.tools.StorageTool',
        'format',
        // In one argument, since an id may begin with a hyphen.
        `--cluster-id=${randomBytes(16).toString('base64url')}`,
        ...(this.kafkaSecurity?.formatArgs ?? []),
        '-c',
        config,
      ]);
      classes.ended(true);
    }
    return [...(this.kafkaSecurity?.jvmArgs ?? []), ...classPath, 'kafka.Kafka', config];
  }

  private async answersKafka(port: number): Promise<boolean> {
    const { kafkaSecurity } = this;
    const secure = kafkaSecurity && { ssl: await tlsOf(path.join(this.dir, 'kafka')), sasl: kafkaSecurity.sasl };
    const kafka = new Kafka({
      brokers: [`${HOST}:${port}`],
      logLevel: logLevel.NOTHING,
      retry: { retries: 0 },
      ...secure,
    });
    const admin = kafka.admin();
    try {
      await admin.connect();
      await admin.listTopics();
      return true;
    } finally {
      await admin.disconnect();
    }
  }

  private async dynamodb(port: number): Promise<string[]> {
    const libs = path.join(this.jars, 'dynamodb');
    const { own, others } = await this.jarsOf('dynamodb', 'DynamoDBLocal');
    return [
      '-Dsqlite4java.library.path=' + libs,
      '-Djava.library.path=' + libs,
      '-cp',
      others.join(path.delimiter),
      // As a module: its manifest would bring a folder to the class path, of which Java keeps no classes.
      '--module-path',
      own.join(path.delimiter),
      '-m',
      'DynamoDBLocal/com.amazonaws.services.dynamodbv2.local.main.ServerRunner',
      '-inMemory',
      '-sharedDb',
      '-disableTelemetry',
      '-port',
      String(port),
    ];
  }

  /** A queue, and the queue that it moves to what nobody deletes. */
  private async sqs(port: number, data: string): Promise<string[]> {
    const config = path.join(data, 'elasticmq.conf');
    await writeFile(
      config,
      `include classpath("application.conf")
node-address { protocol = http, host = "${HOST}", port = ${port}, context-path = "" }
rest-sqs { enabled = true, bind-hostname = "${HOST}", bind-port = ${port}, sqs-limits = strict }
rest-stats { enabled = false }
queues {
  ${ARRIVALS} { defaultVisibilityTimeout = 2 seconds, deadLettersQueue { name = "${ARRIVALS}-dead", maxReceiveCount = 3 } }
  ${ARRIVALS}-dead { }
}
`,
    );
    return ['-cp', path.join(this.jars, 'sqs', '*'), `-Dconfig.file=${config}`, 'org.elasticmq.server.Main'];
  }

  /** `plain`: without the native digests, whose signed classes Java 17 fails to archive. */
  private async s3(port: number, data: string, plain: boolean): Promise<string[]> {
    const { own, others: digests } = await this.jarsOf('s3', 's3mock');
    return [
      ...(plain ? [] : [`-Djava.security.properties=${path.join(workspaceRoot(), 'docker', 'stack', 's3.security')}`]),
      '-cp',
      // Those of the archive come first.
      [...own, ...(plain ? [] : digests)].join(path.delimiter),
      'com.adobe.testing.s3mock.S3MockApplication',
      '--server.port=0',
      `--http.port=${port}`,
      `--com.adobe.testing.s3mock.store.root=${data}`,
      '--com.adobe.testing.s3mock.store.retainFilesOnExit=true',
    ];
  }

  /** The jars of a server, those whose names begin so apart. Always in one order: Java keeps classes of a class path. */
  private async jarsOf(server: Server, beginning: string): Promise<{ own: string[]; others: string[] }> {
    const dir = path.join(this.jars, server);
    const names = (await readdir(dir)).filter((name) => name.endsWith('.jar')).sort();
    const paths = (isOwn: boolean) =>
      names.filter((name) => name.startsWith(beginning) === isOwn).map((name) => path.join(dir, name));
    return { own: paths(true), others: paths(false) };
  }
}

export async function freePort(): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const port = randomInt(PORTS.from, PORTS.to);
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen(port, HOST, () => server.close(() => resolve(true)));
    });
    if (free) return port;
    if (attempt === PORT_TRIES) throw new Error(`no port from ${PORTS.from} to ${PORTS.to} of ${HOST} is free`);
  }
}

async function answersHttp(port: number): Promise<boolean> {
  await fetch(`http://${HOST}:${port}/`, { signal: AbortSignal.timeout(2_000) });
  return true;
}
