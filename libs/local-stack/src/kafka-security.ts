import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { KafkaConfig } from 'kafkajs';
import { TokenEndpoint } from './token-endpoint';

const HOST = '127.0.0.1';
const KAFKA_USER = 'music';
const OAUTH = 'org.apache.kafka.common.security.oauthbearer';

/** How the local broker wants its clients to log in; over TLS, by a certificate of its own. */
export interface KafkaSecurity {
  /** Of the listener for clients, called CLIENTS. */
  readonly properties: Readonly<Record<string, string>>;
  /** For `StorageTool format`. */
  readonly formatArgs: readonly string[];
  readonly jvmArgs: readonly string[];
  /** Settings of a client. */
  readonly env: Readonly<Record<string, string>>;
  /** For a client in this process. */
  readonly sasl: NonNullable<KafkaConfig['sasl']>;
}

/** By a user and a password. */
export function scram(): KafkaSecurity {
  const password = randomBytes(16).toString('hex');
  return {
    properties: {
      'sasl.enabled.mechanisms': 'SCRAM-SHA-512',
      'listener.name.clients.scram-sha-512.sasl.jaas.config':
        'org.apache.kafka.common.security.scram.ScramLoginModule required ;',
    },
    formatArgs: [`--add-scram=SCRAM-SHA-512=[name=${KAFKA_USER},password=${password}]`],
    jvmArgs: [],
    env: {
      KAFKA_SASL_MECHANISM: 'scram-sha-512',
      KAFKA_SASL_USERNAME: KAFKA_USER,
      KAFKA_SASL_PASSWORD: password,
    },
    sasl: { mechanism: 'scram-sha-512', username: KAFKA_USER, password },
  };
}

/**
 * By tokens of an endpoint on loopback; who logs in is the client of the token. With `lists` nobody may do what no
 * access control list says, but for the client that this stack and set-up are.
 */
export function oauth(endpoint: TokenEndpoint, { lists = false } = {}): KafkaSecurity {
  return {
    properties: {
      ...(lists && {
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'super.users': `User:ANONYMOUS;User:${KAFKA_USER}`, // the broker itself, on its own listener
      }),
      'sasl.enabled.mechanisms': 'OAUTHBEARER',
      'listener.name.clients.oauthbearer.sasl.jaas.config': `${OAUTH}.OAuthBearerLoginModule required ;`,
      'listener.name.clients.oauthbearer.sasl.server.callback.handler.class': `${OAUTH}.OAuthBearerValidatorCallbackHandler`,
      'sasl.oauthbearer.jwks.endpoint.url': endpoint.keysUrl,
      'sasl.oauthbearer.expected.issuer': TokenEndpoint.ISSUER,
      'sasl.oauthbearer.expected.audience': TokenEndpoint.AUDIENCE,
      // A connection whose token has expired is closed at its next request.
      'listener.name.clients.oauthbearer.connections.max.reauth.ms': '3600000',
    },
    formatArgs: [],
    jvmArgs: [`-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=${endpoint.keysUrl}`],
    env: {
      KAFKA_SASL_MECHANISM: 'oauthbearer',
      KAFKA_OAUTH_TOKEN_URL: endpoint.tokenUrl,
      KAFKA_OAUTH_CLIENT_ID: KAFKA_USER,
      KAFKA_OAUTH_CLIENT_SECRET: endpoint.secret,
    },
    sasl: { mechanism: 'oauthbearer', oauthBearerProvider: async () => ({ value: await tokenFor(endpoint) }) },
  };
}

async function tokenFor({ tokenUrl, secret }: TokenEndpoint): Promise<string> {
  const authorization = `Basic ${Buffer.from(`${KAFKA_USER}:${secret}`).toString('base64')}`;
  const body = new URLSearchParams({ grant_type: 'client_credentials' });
  const answer = await fetch(tokenUrl, { method: 'POST', headers: { authorization }, body });
  return ((await answer.json()) as { access_token: string }).access_token;
}

export const certificateOf = (dir: string): string => path.join(dir, 'broker.pem');

/** For a client in this process. */
export async function tlsOf(dir: string): Promise<{ readonly ca: string[] }> {
  return { ca: [await readFile(certificateOf(dir), 'utf8')] };
}

/** Makes a certificate for the broker, in a folder of its own. Gives the properties that name it. */
export async function makeCertificate(dir: string): Promise<Record<string, string>> {
  const password = randomBytes(16).toString('hex');
  const keystore = path.join(dir, 'broker.p12');
  const store = ['-alias', 'broker', '-keystore', keystore, '-storetype', 'PKCS12', '-storepass', password];
  const keytool = (...args: string[]) => promisify(execFile)('keytool', args);
  const subject = ['-dname', `CN=${HOST}`, '-ext', `SAN=ip:${HOST}`, '-validity', '2'];
  await keytool('-genkeypair', ...store, '-keyalg', 'RSA', ...subject);
  await keytool('-exportcert', '-rfc', ...store, '-file', certificateOf(dir));
  return { 'ssl.keystore.location': keystore, 'ssl.keystore.type': 'PKCS12', 'ssl.keystore.password': password };
}
