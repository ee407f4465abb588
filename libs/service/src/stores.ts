import { readFileSync } from 'node:fs';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { KpiHistory, KpiTable } from '@music/kpis';
import {
  type Kafka,
  type KafkaLogin,
  type Log,
  awsIamLogin,
  kafkaClient,
  oauthLogin,
  passwordLogin,
} from '@music/messaging';
import { RunStore } from '@music/runs';
import { ObjectStore } from '@music/storage';
import type { StoresConfig } from './service-config';
import { WrongSettings } from './settings';

const AWS_ATTEMPTS = 4; // of one call; what fails longer is tried again as a piece of work

/** The clients of all stores, made from the settings. */
export interface Stores {
  readonly s3: S3Client;
  readonly dynamo: DynamoDBClient;
  readonly objects: ObjectStore;
  readonly runs: RunStore;
  readonly kpis: KpiTable;
  readonly history: KpiHistory;
  /** Throws WrongSettings where the settings name no broker; what needs no Kafka does without. */
  readonly kafka: Kafka;
  /** Why Kafka could not be logged in to, where it was for want of a token. */
  readonly kafkaProblem: () => string | undefined;
  close(): void;
}

/** How every client of AWS is made. */
export function awsClient({ awsRegion, callTimeoutSeconds }: StoresConfig) {
  return {
    region: awsRegion,
    maxAttempts: AWS_ATTEMPTS,
    // Of the socket, not of the request: a large object may take long, as long as it moves.
    requestHandler: { socketTimeout: callTimeoutSeconds * 1_000, connectionTimeout: 5_000 },
  };
}

export function openStores(config: StoresConfig, clientId: string, log: Log): Stores {
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true'; // engines and Dockerfile say which Node
  const aws = awsClient(config);
  const s3 = new S3Client({ ...aws, forcePathStyle: config.s3ForcePathStyle });
  const dynamo = new DynamoDBClient(aws);
  const documents = DynamoDBDocumentClient.from(dynamo, { marshallOptions: { removeUndefinedValues: true } });
  const kpis = new KpiTable(documents, config.kpiTable);
  let kafka: Kafka | undefined;
  const login = loginOf(config, clientId, () => dynamo.config.systemClockOffset);
  const connectKafka = () =>
    kafkaClient(
      {
        brokers: config.kafkaBrokers,
        clientId,
        tls: config.kafkaTls,
        ca: caOf(config),
        login,
        callTimeoutMs: config.callTimeoutSeconds * 1_000,
      },
      log,
    );
  return {
    s3,
    dynamo,
    objects: new ObjectStore(s3),
    runs: new RunStore(documents, config.runsTable),
    kpis,
    history: new KpiHistory(documents, config.kpiTable, kpis),
    get kafka() {
      if (config.kafkaBrokers.length === 0)
        throw new WrongSettings(['KAFKA_BROKERS=: must name at least one broker, host:port']);
      return (kafka ??= connectKafka());
    },
    kafkaProblem: () => login?.problem(),
    close: () => {
      s3.destroy();
      dynamo.destroy();
    },
  };
}

function caOf({ kafkaCaFile }: StoresConfig): string | undefined {
  if (kafkaCaFile === undefined) return undefined;
  try {
    return readFileSync(kafkaCaFile, 'utf8');
  } catch (error) {
    throw new WrongSettings([`KAFKA_CA_FILE=${kafkaCaFile}: cannot be read: ${(error as Error).message}`]);
  }
}

function loginOf(config: StoresConfig, clientId: string, clockOffsetMs: () => number): KafkaLogin | undefined {
  const { kafkaSaslMechanism: mechanism } = config;
  if (mechanism === undefined) return undefined;
  if (mechanism === 'aws-iam') return awsIamLogin({ region: config.awsRegion, sessionName: clientId, clockOffsetMs });
  if (mechanism === 'oauthbearer')
    return oauthLogin(
      {
        tokenUrl: config.kafkaOauthTokenUrl ?? '',
        clientId: config.kafkaOauthClientId ?? '',
        clientSecret: config.kafkaOauthClientSecret ?? '',
        scope: config.kafkaOauthScope,
      },
      Object.fromEntries(
        config.kafkaOauthExtensions.map((each) => [each.split('=', 1)[0], each.slice(each.indexOf('=') + 1)]),
      ),
    );
  return passwordLogin(mechanism, config.kafkaSaslUsername ?? '', config.kafkaSaslPassword ?? '');
}
