import { type JWTVerifyGetKey, createRemoteJWKSet, errors, jwtVerify } from 'jose';
import type { ApiConfig } from '../api.config';
import { ProblemError } from '../http/problem';
import { type Authenticator, type Caller, bearerOf } from './caller';

/** Signatures by keys that only the issuer has: no `none`, nothing that a public key could be mistaken for a secret in. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const CLOCK_TOLERANCE_SECONDS = 30;
const DISCOVERY_TIMEOUT_MS = 5_000;

type OidcSettings = Pick<
  ApiConfig,
  'apiOidcIssuer' | 'apiOidcAudience' | 'apiOidcJwksUrl' | 'apiOidcRoleClaim' | 'apiOidcReader' | 'apiOidcOperator'
>;

/** Bearer tokens of an OpenID Connect issuer. */
export class OidcTokens implements Authenticator {
  private keys: Promise<JWTVerifyGetKey> | undefined;

  constructor(private readonly settings: OidcSettings) {}

  async identify(authorization: string | undefined): Promise<Caller | undefined> {
    const token = bearerOf(authorization);
    if (token === undefined) return undefined;
    const { apiOidcIssuer: issuer, apiOidcAudience: audience } = this.settings;
    const keys = await this.issuerKeys();
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer,
        audience,
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ['exp', 'sub'],
      });
      return this.callerOf(payload);
    } catch (error) {
      if (error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError)) throw issuerIsAway(error);
      throw new ProblemError(401, 'invalid-token', `the token is not accepted: ${error.message}`);
    }
  }

  private callerOf(payload: Readonly<Record<string, unknown>>): Caller {
    const { apiOidcRoleClaim: claim, apiOidcReader: reader, apiOidcOperator: operator } = this.settings;
    const value = payload[claim];
    const roles = Array.isArray(value) ? value : typeof value === 'string' ? value.split(' ') : [];
    const role = roles.includes(operator) ? 'operator' : roles.includes(reader) ? 'reader' : undefined;
    const shown = [payload['email'], payload['preferred_username'], payload['sub']].find(
      (each) => typeof each === 'string',
    );
    const name = String(shown).slice(0, 100);
    if (role === undefined)
      throw new ProblemError(403, 'no-role', `claim ${claim} of the token has neither ${reader} nor ${operator}`);
    return { name, role };
  }

  /** Where the issuer is away at the first token, the next one asks again. */
  private issuerKeys(): Promise<JWTVerifyGetKey> {
    this.keys ??= this.discover().catch((error: unknown) => {
      this.keys = undefined;
      throw issuerIsAway(error);
    });
    return this.keys;
  }

  private async discover(): Promise<JWTVerifyGetKey> {
    const { apiOidcIssuer: issuer = '', apiOidcJwksUrl: url } = this.settings;
    if (url !== undefined) return createRemoteJWKSet(new URL(url));
    const answer = await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, {
      signal: AbortSignal.timeout(DISCOVERY_TIMEOUT_MS),
    });
    if (!answer.ok) throw new Error(`answered ${answer.status}`);
    const { jwks_uri: found } = (await answer.json()) as { jwks_uri?: string };
    if (found === undefined) throw new Error('names no jwks_uri');
    return createRemoteJWKSet(new URL(found));
  }
}

function issuerIsAway(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  return new ProblemError(503, 'issuer-away', `the keys of the issuer cannot be had: ${(error as Error).message}`, {
    retryAfterSeconds: 5,
  });
}
