import { LEAVE_NAMES } from '@music/contracts';
import { RETENTION } from '@music/events';
import {
  ArrayMinSize,
  Equals,
  IsBoolean,
  IsIn,
  IsInt,
  IsNumber,
  IsOptional,
  IsString,
  IsTimeZone,
  Matches,
  Max,
  Min,
  ValidateBy,
  ValidateIf,
} from 'class-validator';
import { Setting } from './settings';

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const BROKER = /^[^\s:]+:\d+$/;
const TABLE = /^[a-zA-Z0-9_.-]{3,255}$/;

/** How Kafka is logged in to: by a user and a password, or by tokens that are made anew again and again. */
const PASSWORD_MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const;
const TOKEN_MECHANISMS = ['aws-iam', 'oauthbearer'] as const;
const isOneOf = (mechanisms: readonly string[], mechanism: string | undefined) =>
  mechanism !== undefined && mechanisms.includes(mechanism);

/**
 * What the command line and every service need to find the stores and the topics. AWS's own variables (region,
 * credentials, `AWS_ENDPOINT_URL_S3`, …) are read by its SDK.
 */
export class StoresConfig {
  @Setting('KAFKA_BROKERS', 'Kafka brokers, host:port, separated by commas')
  @Matches(BROKER, { each: true })
  kafkaBrokers: string[] = [];

  @Setting(
    'ERASURE_KEY_FILE',
    'file with the secret key by which ids of forgotten users become hashes, 32 bytes or more; needed once a user is forgotten',
  )
  @IsOptional()
  @IsString()
  erasureKeyFile?: string;

  @Setting('KAFKA_TLS', 'whether Kafka is spoken to over TLS; aws-iam and oauthbearer want it')
  @ValidateIf((config: StoresConfig) => isOneOf(TOKEN_MECHANISMS, config.kafkaSaslMechanism))
  @Equals(true, {
    message: 'must be true with KAFKA_SASL_MECHANISM=aws-iam and =oauthbearer: who reads a token has it',
  })
  kafkaTls: boolean = false;

  @Setting(
    'KAFKA_CA_FILE',
    'PEM file of the authority that signed the certificates of Kafka, where this system does not know it',
  )
  @IsOptional()
  @IsString()
  kafkaCaFile?: string;

  @Setting(
    'KAFKA_SASL_MECHANISM',
    'how to log in to Kafka: plain, scram-sha-256, scram-sha-512, aws-iam (by the role, to MSK) or oauthbearer (by tokens); empty: not at all',
  )
  @IsOptional()
  @IsIn([...PASSWORD_MECHANISMS, ...TOKEN_MECHANISMS])
  kafkaSaslMechanism?: (typeof PASSWORD_MECHANISMS)[number] | (typeof TOKEN_MECHANISMS)[number];

  @Setting('KAFKA_SASL_USERNAME', 'user for Kafka, with plain and scram')
  @ValidateIf((config: StoresConfig) => isOneOf(PASSWORD_MECHANISMS, config.kafkaSaslMechanism))
  @IsString()
  kafkaSaslUsername?: string;

  @Setting('KAFKA_SASL_PASSWORD', 'password for Kafka, with plain and scram; give it from a secret')
  @ValidateIf((config: StoresConfig) => isOneOf(PASSWORD_MECHANISMS, config.kafkaSaslMechanism))
  @IsString()
  kafkaSaslPassword?: string;

  @Setting('KAFKA_OAUTH_TOKEN_URL', 'token endpoint of OAuth 2.0, with oauthbearer')
  @ValidateIf((config: StoresConfig) => config.kafkaSaslMechanism === 'oauthbearer')
  @Matches(/^(https:\/\/|http:\/\/(localhost|127\.0\.0\.1|\[::1\])[:/])/, {
    message: 'must be an https:// address, since the client secret goes there',
  })
  kafkaOauthTokenUrl?: string;

  @Setting('KAFKA_OAUTH_CLIENT_ID', 'client that the token endpoint knows, with oauthbearer')
  @ValidateIf((config: StoresConfig) => config.kafkaSaslMechanism === 'oauthbearer')
  @IsString()
  kafkaOauthClientId?: string;

  @Setting('KAFKA_OAUTH_CLIENT_SECRET', 'its secret; give it from a secret')
  @ValidateIf((config: StoresConfig) => config.kafkaSaslMechanism === 'oauthbearer')
  @IsString()
  kafkaOauthClientSecret?: string;

  @Setting('KAFKA_OAUTH_SCOPE', 'what to ask tokens for, where the token endpoint wants to know')
  @IsOptional()
  @IsString()
  kafkaOauthScope?: string;

  @Setting(
    'KAFKA_OAUTH_EXTENSIONS',
    'what goes to Kafka with each token, name=value: logicalCluster and identityPoolId for Confluent Cloud',
  )
  @Matches(/^(?!auth=)[A-Za-z]+=[\x21-\x7e]+$/, { each: true })
  kafkaOauthExtensions: string[] = [];

  @Setting('KAFKA_REPLICATION_FACTOR', 'replicas of the topics that set-up creates')
  @IsInt()
  @Min(1)
  @Max(9)
  kafkaReplicationFactor: number = 1;

  @Setting(
    'KAFKA_MIN_INSYNC_REPLICAS',
    'so many replicas must have a message before it counts as sent, in topics that set-up creates',
  )
  @IsInt()
  @Min(1)
  @Max(9)
  @ValidateBy({
    name: 'atMostTheReplicas',
    validator: {
      validate: (value, args) => value <= (args?.object as StoresConfig).kafkaReplicationFactor,
      defaultMessage: () => 'must be no more than KAFKA_REPLICATION_FACTOR',
    },
  })
  kafkaMinInSyncReplicas: number = 1;

  @Setting('KAFKA_RETENTION_DAYS', 'for so many days topics that set-up creates keep events')
  @IsInt()
  @Min(2)
  @Max(365)
  kafkaRetentionDays: number = RETENTION.eventDays;

  @Setting('KAFKA_DEAD_LETTER_DAYS', 'for so many days topics that set-up creates keep dead letters')
  @IsInt()
  @Min(7)
  @Max(3_650)
  kafkaDeadLetterDays: number = RETENTION.deadLetterDays;

  @Setting('AWS_REGION', 'region of the buckets and tables')
  @IsString()
  @Matches(/^[a-z]{2}(-[a-z]+)+-\d$/)
  awsRegion: string = 'us-east-1';

  @Setting(
    'CALL_TIMEOUT_SECONDS',
    'a connection to AWS or Kafka that gives no answer for so long is given up, and the call made again',
  )
  @IsNumber()
  @Min(5)
  @Max(900)
  callTimeoutSeconds: number = 60;

  @Setting('S3_FORCE_PATH_STYLE', 'whether buckets stand in the path, as local S3 servers want it')
  @IsBoolean()
  s3ForcePathStyle: boolean = false;

  @Setting('SOURCE_BUCKET', 'bucket with streams/, songs/ and users/')
  @Matches(BUCKET)
  sourceBucket: string = 'music-source';

  @Setting(
    'LEAVE_NAMES',
    'names of objects and folders that are no files of data, `*` for any characters; they are left where they are',
  )
  @Matches(/^[^/,]+$/, { each: true })
  leaveNames: string[] = [...LEAVE_NAMES];

  @Setting(
    'SOURCE_VERSIONS',
    'whether set-up makes the source bucket keep versions, so that a replaced file can still be read',
  )
  @IsBoolean()
  sourceVersions: boolean = true;

  @Setting('INTERMEDIATE_BUCKET', 'bucket for what a run works on; cleared when a run has ended well')
  @Matches(BUCKET)
  intermediateBucket: string = 'music-intermediate';

  @Setting('LAKE_BUCKET', 'bucket for listens by day, the catalogue, manifests and the quarantine')
  @Matches(BUCKET)
  lakeBucket: string = 'music-lake';

  @Setting('ARCHIVE_BUCKET', 'bucket for the stream files of completed runs')
  @Matches(BUCKET)
  archiveBucket: string = 'music-archive';

  @Setting('KPI_TABLE', 'DynamoDB table that serves the KPIs')
  @Matches(TABLE)
  kpiTable: string = 'music_kpis_table';

  @Setting('RUNS_TABLE', 'DynamoDB table of runs, files, batches and leases')
  @Matches(TABLE)
  runsTable: string = 'pipeline_runs';

  @Setting('GLUE_JOB_NAME', 'AWS Glue job of the KPIs, which `music-kpis setup --glue` makes')
  @Matches(/^[A-Za-z0-9_.-]{1,255}$/)
  glueJobName: string = 'music-kpis';

  @Setting('GLUE_DATABASE', 'database of the Glue Data Catalog that `music-kpis setup --catalog` makes of the lake')
  @Matches(/^[a-z0-9_]{1,255}$/)
  glueDatabase: string = 'music';

  @Setting('KPI_TIME_ZONE', 'IANA zone whose calendar days the KPIs are of; not to be changed once there is a lake')
  @IsTimeZone()
  kpiTimeZone: string = 'UTC';

  @Setting(
    'STALL_MINUTES',
    'work that gets nowhere for so long is told by `status`, the metric music_work_stalled and an alert',
  )
  @IsNumber()
  @Min(0.01)
  @Max(1_440)
  stallMinutes: number = 15;

  @Setting('LOG_LEVEL', 'trace, debug, info, warn or error')
  @IsIn(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
  logLevel: string = 'info';

  @Setting('RETRY_DELAYS_SECONDS', 'pauses on the retry topics, one topic each, separated by commas')
  @ArrayMinSize(1)
  @Matches(/^\d+(\.\d+)?$/, { each: true })
  retryDelaysSeconds: string[] = ['5', '30', '120', '600'];
}

/** What everything that runs as a service has. */
export class ProcessConfig extends StoresConfig {
  @Setting('KAFKA_BROKERS', 'Kafka brokers, host:port, separated by commas')
  @ArrayMinSize(1, { message: 'must name at least one broker, host:port' })
  @Matches(BROKER, { each: true })
  override kafkaBrokers: string[] = [];

  @Setting('GRACE_SECONDS', 'how long a stopping service waits for what is under way')
  @IsNumber()
  @Min(0)
  @Max(3_600)
  graceSeconds: number = 25;

  @Setting('HEALTH_PORT', 'port for /livez and /readyz; 0: a free one')
  @IsInt()
  @Min(0)
  @Max(65_535)
  healthPort: number = 8_080;

  @Setting('METRICS_PORT', 'port for /metrics; 0: a free one')
  @IsInt()
  @Min(0)
  @Max(65_535)
  metricsPort: number = 9_464;

  @Setting('HEALTH_HOST', 'address that the ports for health and metrics listen on')
  @IsString()
  healthHost: string = '0.0.0.0';
}

/** What every stage of the pipeline has. */
export class ServiceConfig extends ProcessConfig {
  @Setting('CONCURRENCY', 'pieces of work that one replica does at once')
  @IsInt()
  @Min(1)
  @Max(64)
  concurrency: number = 1;

  @Setting(
    'KAFKA_SESSION_SECONDS',
    'after so long without a sign of life a replica loses its partitions to the others; brokers take 6 or more unless told otherwise',
  )
  @IsInt()
  @Min(1)
  @Max(300)
  kafkaSessionSeconds: number = 30;

  @Setting('LEASE_SECONDS', 'how long work stays with a replica that gives no sign of life')
  @IsNumber()
  @Min(1)
  @Max(3_600)
  leaseSeconds: number = 30;

  @Setting('SWEEP_SECONDS', 'how often work of stopped replicas and owed events are looked for')
  @IsNumber()
  @Min(0.05)
  @Max(300)
  sweepSeconds: number = 5;

  @Setting('WORK_ATTEMPTS', 'tries before work counts as failed; pauses double from 1 s to 1 min')
  @IsInt()
  @Min(1)
  @Max(100)
  workAttempts: number = 8;

  @Setting('SCRATCH_DIR', 'folder for files under way; must have room for a batch or a day of listens')
  @IsString()
  scratchDir: string = '/tmp/music';

  /** Reads the files that settings name. Throws WrongSettings with all that is wrong with them. */
  readFiles(): void {
    // Most services have none.
  }

  /** What is wrong with the memory that this process may have (bytes), by what the settings need of it. */
  memoryProblems(_limitBytes: number): readonly string[] {
    return []; // most services need little
  }
}
