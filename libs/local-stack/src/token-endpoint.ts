import { randomBytes } from 'node:crypto';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type JWK, SignJWT, exportJWK, generateKeyPair } from 'jose';

const HOST = '127.0.0.1';
const ALGORITHM = 'RS256';
const KEY_ID = 'local';

type SigningKey = Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];

/** An OAuth 2.0 token endpoint on loopback, and the keys by which its tokens are known: client credentials only. */
export class TokenEndpoint {
  static readonly ISSUER = 'local-issuer';
  static readonly AUDIENCE = 'kafka';
  /** Of every client. */
  readonly secret = randomBytes(16).toString('hex');
  /** How many tokens each client got. */
  readonly issued = new Map<string, number>();
  /** Whether it says no to everybody, for a test. */
  refuses = false;
  private server: Server | undefined;
  private port = 0;

  private constructor(
    private readonly lifeSeconds: number,
    private readonly key: SigningKey,
    private readonly publicKey: JWK,
  ) {}

  static async start(lifeSeconds: number): Promise<TokenEndpoint> {
    const { privateKey, publicKey } = await generateKeyPair(ALGORITHM);
    const endpoint = new TokenEndpoint(lifeSeconds, privateKey, await exportJWK(publicKey));
    await endpoint.listen();
    return endpoint;
  }

  get tokenUrl(): string {
    return `http://${HOST}:${this.port}/token`;
  }

  get keysUrl(): string {
    return `http://${HOST}:${this.port}/keys`;
  }

  /** Listens, again where it was stopped, at the same port. */
  async listen(): Promise<void> {
    const server = createServer((request, response) => void this.answer(request, response));
    await new Promise<void>((resolve) => server.listen(this.port, HOST, resolve));
    this.port = (server.address() as AddressInfo).port;
    this.server = server;
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((resolve) => (this.server === undefined ? resolve(undefined) : this.server.close(resolve)));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const say = (status: number, body: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (request.url === '/keys') return void say(200, { keys: [{ ...this.publicKey, alg: ALGORITHM, kid: KEY_ID }] });
    const client = this.clientOf(request);
    if (client === undefined || this.refuses)
      return void say(401, { error: 'invalid_client', error_description: 'nobody is known by that id and secret' });
    this.issued.set(client, (this.issued.get(client) ?? 0) + 1);
    const token = await new SignJWT({ scope: 'kafka' })
      .setProtectedHeader({ alg: ALGORITHM, kid: KEY_ID })
      .setIssuer(TokenEndpoint.ISSUER)
      .setAudience(TokenEndpoint.AUDIENCE)
      .setSubject(client)
      .setIssuedAt()
      .setExpirationTime(`${this.lifeSeconds} s`)
      .sign(this.key);
    say(200, { access_token: token, token_type: 'Bearer', expires_in: this.lifeSeconds });
  }

  private clientOf({ headers }: IncomingMessage): string | undefined {
    const [id, secret] = Buffer.from((headers.authorization ?? '').replace(/^Basic /, ''), 'base64')
      .toString('utf8')
      .split(':')
      .map(decodeURIComponent);
    return secret === this.secret ? id : undefined;
  }
}
