import {
  type AuthorizationServer,
  type Client,
  ClientSecretBasic,
  ResponseBodyError,
  allowInsecureRequests,
  clientCredentialsGrantRequest,
  processClientCredentialsResponse,
} from 'oauth4webapi';
import type { BearerToken } from './bearer-tokens';

export interface ClientCredentials {
  /** Of the token endpoint; `http:` is for an endpoint on this machine only. */
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly scope?: string;
}

/** Where an issuer does not say for how long a token is good. */
const DEFAULT_LIFE_SECONDS = 300;

/** A token of an OAuth 2.0 token endpoint, by the client credentials grant (RFC 6749, section 4.4). Throws where it is refused. */
export async function clientCredentialsToken(
  { tokenUrl, clientId, clientSecret, scope }: ClientCredentials,
  signal: AbortSignal,
): Promise<BearerToken> {
  const issuer: AuthorizationServer = { issuer: new URL(tokenUrl).origin, token_endpoint: tokenUrl };
  const client: Client = { client_id: clientId };
  const asked = Date.now();
  const response = await clientCredentialsGrantRequest(
    issuer,
    client,
    ClientSecretBasic(clientSecret),
    scope === undefined ? {} : { scope },
    { signal, [allowInsecureRequests]: tokenUrl.startsWith('http:') },
  );
  const date = Date.parse(response.headers.get('date') ?? '');
  try {
    const answer = await processClientCredentialsResponse(issuer, client, response);
    return {
      value: answer.access_token,
      expiresAt: asked + (answer.expires_in ?? DEFAULT_LIFE_SECONDS) * 1_000,
      clockAheadMs: Number.isNaN(date) ? undefined : asked - date,
    };
  } catch (error) {
    if (!(error instanceof ResponseBodyError)) throw error;
    throw new Error([`it refuses ${clientId}`, error.error, error.error_description].filter(Boolean).join(': '), {
      cause: error,
    });
  }
}
