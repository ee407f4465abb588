import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { TokenEndpoint } from '@music/local-stack';
import { awsIamTokens } from './aws-iam';
import { type BearerToken, BearerTokens } from './bearer-tokens';
import { clientCredentialsToken } from './client-credentials';

const MINUTE_MS = 60_000;

describe('tokens', () => {
  const LIFE_MS = 100_000;
  let now = 1_000_000;
  beforeEach(() => jest.spyOn(Date, 'now').mockImplementation(() => now));
  afterEach(() => jest.restoreAllMocks());
  const lives = (value: string, clockAheadMs?: number): BearerToken => ({
    value,
    expiresAt: now + LIFE_MS,
    clockAheadMs,
  });

  it('are made once for all that want one, and anew once a quarter of their life is over', async () => {
    let made = 0;
    const tokens = new BearerTokens('an issuer', async () => lives(`token ${(made += 1)}`));
    expect(await Promise.all([tokens.current(), tokens.current()])).toEqual(['token 1', 'token 1']);
    now += LIFE_MS / 4 - 1;
    expect(await tokens.current()).toBe('token 1');
    now += 1;
    expect(await tokens.current()).toBe('token 2');
  });

  it('that cannot be had are a problem until they can', async () => {
    let refuses = true;
    const tokens = new BearerTokens('an issuer', async () => {
      if (refuses) throw new Error('not you');
      return lives('token');
    });
    await expect(tokens.current()).rejects.toThrow('an issuer gives no token for Kafka');
    expect(tokens.problem).toContain('not you');
    refuses = false;
    expect(await tokens.current()).toBe('token');
    expect(tokens.problem).toBeUndefined();
  });

  it.each([
    [5 * MINUTE_MS, undefined],
    [7 * MINUTE_MS, "this machine's clock is 7 minutes ahead of that of an issuer"],
    [-6 * MINUTE_MS, "this machine's clock is 6 minutes behind that of an issuer"],
  ])('name the clocks where they differ: %d ms', async (ahead, problem) => {
    const tokens = new BearerTokens('an issuer', async () => lives('token', ahead));
    await tokens.current();
    if (problem === undefined) expect(tokens.problem).toBeUndefined();
    else expect(tokens.problem).toContain(problem);
  });
});

describe('a token endpoint', () => {
  let endpoint: TokenEndpoint;
  beforeAll(async () => {
    endpoint = await TokenEndpoint.start(20);
  });
  afterAll(() => endpoint.stop());
  const signal = AbortSignal.timeout(MINUTE_MS);
  const ask = (clientSecret: string, tokenUrl = endpoint.tokenUrl) =>
    clientCredentialsToken({ tokenUrl, clientId: 'me:and/you', clientSecret }, signal);

  it('gives tokens to whom it knows', async () => {
    const { value, expiresAt, clockAheadMs } = await ask(endpoint.secret);
    const [, claims = ''] = value.split('.');
    expect(JSON.parse(Buffer.from(claims, 'base64url').toString())).toMatchObject({ sub: 'me:and/you' });
    expect(Math.abs(expiresAt - Date.now() - 20_000)).toBeLessThan(10_000);
    expect(Math.abs(clockAheadMs ?? Infinity)).toBeLessThan(10_000);
  });

  it('refuses others, and that says why', async () => {
    await expect(ask('wrong')).rejects.toThrow('it refuses me:and/you: invalid_client: nobody is known');
  });

  it('whose clock is another one shows it', async () => {
    const server = createServer((_, response) =>
      response
        .writeHead(200, { 'content-type': 'application/json', date: new Date(Date.now() - 600_000).toUTCString() })
        .end('{"access_token":"a","token_type":"Bearer"}'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const token = await ask('any', `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    server.close();
    expect(Math.round((token.clockAheadMs ?? 0) / MINUTE_MS)).toBe(10);
    expect(token.expiresAt).toBeGreaterThan(Date.now() + 4 * MINUTE_MS);
  });
});

describe('AWS IAM', () => {
  const { env } = process;
  afterEach(() => {
    process.env = env;
  });

  it('a token is a request to connect that is signed by the role, for a quarter of an hour', async () => {
    process.env = { ...env, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret', AWS_SESSION_TOKEN: '' };
    const make = awsIamTokens({ region: 'eu-central-1', sessionName: 'music-sensor', clockOffsetMs: () => 420_000 });
    const { value, expiresAt, clockAheadMs } = await make();
    const url = new URL(Buffer.from(value, 'base64url').toString());
    expect(url.host).toBe('kafka.eu-central-1.amazonaws.com');
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      Action: 'kafka-cluster:Connect',
      'X-Amz-Expires': '900',
      'X-Amz-Credential': expect.stringMatching(/^AKIDEXAMPLE\/\d{8}\/eu-central-1\/kafka-cluster\/aws4_request$/),
      'X-Amz-Signature': expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(expiresAt - Date.now()).toBeGreaterThan(14 * MINUTE_MS);
    expect(clockAheadMs).toBe(-420_000);
  });
});
