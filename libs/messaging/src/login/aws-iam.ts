import { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import { generateAuthTokenFromCredentialsProvider } from 'aws-msk-iam-sasl-signer-js';
import type { BearerToken } from './bearer-tokens';

export interface AwsIam {
  readonly region: string;
  /** Of the role's session: the same at every login, since Kafka refuses one that changes while a connection stands. */
  readonly sessionName: string;
  /** By how many milliseconds AWS's clock is ahead of this machine's, as far as its answers have told. */
  readonly clockOffsetMs: () => number;
}

/** Makes tokens for MSK: signed requests to connect, by the credentials that all clients of AWS have. Throws where there are none. */
export function awsIamTokens({ region, sessionName, clockOffsetMs }: AwsIam): () => Promise<BearerToken> {
  // One for all tokens: it keeps credentials, and has new ones when they expire.
  const awsCredentialsProvider = fromNodeProviderChain({ clientConfig: { region }, roleSessionName: sessionName });
  return async () => {
    const { token, expiryTime } = await generateAuthTokenFromCredentialsProvider({ region, awsCredentialsProvider });
    return { value: token, expiresAt: expiryTime, clockAheadMs: -clockOffsetMs() };
  };
}
