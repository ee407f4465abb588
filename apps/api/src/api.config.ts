import { ProcessConfig, Setting, WrongSettings, loadSettings } from '@music/service';
import { IsIn, IsInt, IsNumber, IsOptional, IsString, IsUrl, Matches, Max, Min, ValidateIf } from 'class-validator';
import { ROLES, type Role } from './auth/caller';

export const AUTH_MODES = ['keys', 'oidc', 'none'] as const;

const ANY_ADDRESS = '0.0.0.0';
const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

export class ApiConfig extends ProcessConfig {
  @Setting('API_PORT', 'port of the API and the page; 0: a free one')
  @IsInt()
  @Min(0)
  @Max(65_535)
  apiPort: number = 8_090;

  @Setting(
    'API_HOST',
    'address that the API listens on (default: all with `API_AUTH`, 127.0.0.1 without it, where no other will do)',
  )
  @IsOptional()
  @IsString()
  apiHost?: string;

  @Setting(
    'API_AUTH',
    'who may use the API: who has one of API_KEYS_FILE (`keys`), a token of API_OIDC_ISSUER (`oidc`), or whoever reaches it (`none`)',
  )
  @IsOptional()
  @IsIn(AUTH_MODES)
  apiAuth?: (typeof AUTH_MODES)[number];

  @Setting('API_ANONYMOUS_ROLE', 'what everybody may without `keys` and `oidc`: be a `reader` or an `operator`')
  @IsIn(ROLES)
  apiAnonymousRole: Role = 'reader';

  @Setting(
    'API_KEYS_FILE',
    'JSON file of keys: [{"name", "role", "sha256"}]; `music-kpis api-key` makes one; re-read when it changes',
  )
  @ValidateIf(({ apiAuth }: ApiConfig) => apiAuth === 'keys')
  @IsString({ message: 'must name a file, since API_AUTH is keys' })
  apiKeysFile?: string;

  @Setting('API_OIDC_ISSUER', 'who issues the tokens: their `iss`')
  @ValidateIf(({ apiAuth }: ApiConfig) => apiAuth === 'oidc')
  @IsUrl({ require_tld: false, protocols: ['http', 'https'] }, { message: 'must be a URL, since API_AUTH is oidc' })
  apiOidcIssuer?: string;

  @Setting('API_OIDC_AUDIENCE', 'whom the tokens are for: their `aud`')
  @ValidateIf(({ apiAuth }: ApiConfig) => apiAuth === 'oidc')
  @IsString({ message: 'must be given, since API_AUTH is oidc' })
  apiOidcAudience?: string;

  @Setting('API_OIDC_JWKS_URL', "the issuer's keys (default: as its `.well-known/openid-configuration` says)")
  @IsOptional()
  @IsUrl({ require_tld: false, protocols: ['http', 'https'] })
  apiOidcJwksUrl?: string;

  @Setting('API_OIDC_ROLE_CLAIM', 'the claim that has the roles: a list, or a text with spaces between them')
  @IsString()
  apiOidcRoleClaim: string = 'roles';

  @Setting('API_OIDC_READER', 'the role of that claim that makes a reader')
  @IsString()
  apiOidcReader: string = 'music-reader';

  @Setting('API_OIDC_OPERATOR', 'the role of that claim that makes an operator')
  @IsString()
  apiOidcOperator: string = 'music-operator';

  @Setting('API_RATE_LIMIT', 'requests a minute that one replica takes of one caller, or of one address without a key')
  @IsInt()
  @Min(1)
  @Max(10_000_000)
  apiRateLimit: number = 600;

  @Setting('API_STREAMS', 'streams of events that one replica serves at once')
  @IsInt()
  @Min(1)
  @Max(10_000)
  apiStreams: number = 200;

  @Setting('API_CORS_ORIGINS', 'origins of other pages that may use the API, separated by commas')
  @Matches(/^https?:\/\/[^/,]+$/, { each: true })
  apiCorsOrigins: string[] = [];

  @Setting('API_PROXIES', 'reverse proxies in front, whose word on a caller’s address is taken')
  @IsInt()
  @Min(0)
  @Max(10)
  apiProxies: number = 0;

  @Setting(
    'CALL_TIMEOUT_SECONDS',
    'a connection to AWS or Kafka that gives no answer for so long is given up, and the call made again',
  )
  @IsNumber()
  @Min(1)
  @Max(900)
  override callTimeoutSeconds: number = 5;

  /** The address to listen on. */
  get host(): string {
    return this.apiHost ?? (this.apiAuth === undefined ? '127.0.0.1' : ANY_ADDRESS);
  }

  get loopbackOnly(): boolean {
    return LOOPBACK.test(this.host);
  }
}

/** Throws WrongSettings, all that is wrong named. */
export function loadApiConfig(env: NodeJS.ProcessEnv): ApiConfig {
  const config = loadSettings(ApiConfig, env);
  if (config.apiAuth === undefined && !config.loopbackOnly)
    throw new WrongSettings([
      `API_AUTH=: must be keys, oidc or none where API_HOST is ${config.host}: without it whoever reaches the port could ask for runs`,
    ]);
  return config;
}
