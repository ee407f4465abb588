import type { SASLOptions } from 'kafkajs';
import type { AwsIam } from './aws-iam';
import { BearerTokens } from './bearer-tokens';
import { type ClientCredentials, clientCredentialsToken } from './client-credentials';

/** How clients log in to Kafka. */
export interface KafkaLogin {
  readonly sasl: SASLOptions;
  /** Why they could not log in the last time, where it was for want of a token. */
  readonly problem: () => string | undefined;
}

export function passwordLogin(
  mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512',
  username: string,
  password: string,
): KafkaLogin {
  return { sasl: { mechanism, username, password } as SASLOptions, problem: () => undefined };
}

/** By tokens of an OAuth 2.0 token endpoint; `extensions` go with each, as some providers of Kafka want it. */
export function oauthLogin(
  credentials: ClientCredentials,
  extensions: Readonly<Record<string, string>> = {},
): KafkaLogin {
  const tokens = new BearerTokens(credentials.tokenUrl, (signal) => clientCredentialsToken(credentials, signal));
  return tokenLogin(tokens, extensions);
}

/** By the role that this process has on AWS. */
export function awsIamLogin(role: AwsIam): KafkaLogin {
  // Loaded only where it is wanted: it has clients for all ways to credentials.
  const make = import('./aws-iam').then(({ awsIamTokens }) => awsIamTokens(role));
  return tokenLogin(new BearerTokens('AWS IAM', async () => (await make)()));
}

function tokenLogin(tokens: BearerTokens, extensions: Readonly<Record<string, string>> = {}): KafkaLogin {
  const oauthBearerProvider = async () => ({
    value: await tokens.current(),
    ...(Object.keys(extensions).length === 0 ? {} : { extensions }),
  });
  return { sasl: { mechanism: 'oauthbearer', oauthBearerProvider }, problem: () => tokens.problem };
}
