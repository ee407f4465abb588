import { writeFileSync } from 'node:fs';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { PATIENCE_MS, type Child, until } from '@music/local-stack';
import { LocalPipeline, musicKpis } from '@music/local-pipeline';
import { SignJWT, UnsecuredJWT, exportJWK, generateKeyPair } from 'jose';
import { ApiCaller, OPEN_API } from './api-caller.fixture';

const AUDIENCE = 'music-api';

/** Each operation with a path that is good enough to get as far as the guard. */
const OPERATIONS = Object.entries(OPEN_API.paths).flatMap(([template, item]) =>
  Object.entries(item).map(([method, operation]) => ({
    method: method.toUpperCase(),
    route: template.replace('{date}', '2026-03-02').replace('{genre}', 'dub').replace('{id}', 'scheduled__1999-01-01'),
    role: operation['x-role'],
  })),
);

describe('who may use the API', () => {
  let pipeline: LocalPipeline;
  beforeAll(async () => {
    pipeline = await LocalPipeline.start();
  });
  afterAll(() => pipeline?.stop());

  const start = async (env: Record<string, string>) => {
    const child = await pipeline.startService('api', env);
    const call = (method: string, route: string, token?: string) =>
      new ApiCaller(() => pipeline.apiUrl(child)).call(
        method,
        route,
        undefined,
        token === undefined ? {} : { authorization: `Bearer ${token}` },
      );
    return { child, call };
  };

  describe('by keys', () => {
    const keys: Record<string, string> = {};
    let file: string;
    let api: Awaited<ReturnType<typeof start>>;
    const entries: object[] = [];

    beforeAll(async () => {
      for (const role of ['reader', 'operator']) {
        const { out } = await musicKpis(pipeline, 'api-key', '--name', `the ${role}`, '--role', role, '--json');
        const { key, entry } = JSON.parse(out);
        keys[role] = key;
        entries.push(entry);
      }
      file = path.join(pipeline.dir, 'keys.json');
      writeFileSync(file, JSON.stringify(entries));
      api = await start({ API_AUTH: 'keys', API_KEYS_FILE: file });
    });
    afterAll(() => api?.child.stop());

    it.each(OPERATIONS)('$method $route is for the role $role', async ({ method, route, role }) => {
      const none = await api.call(method, route);
      expect([none.status, none.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="music"']);
      expect((await api.call(method, route, `${keys['operator']}x`)).status).toBe(401);
      if (route.endsWith('/stream') && !route.includes('runs')) return; // which would not end
      const reader = await api.call(method, route, keys['reader']);
      expect(reader.status === 403).toBe(role === 'operator');
      expect([401, 403]).not.toContain((await api.call(method, route, keys['operator'])).status);
    });

    it('tells a caller who it is', async () => {
      expect((await api.call('GET', '/v1/me', keys['reader'])).body).toEqual({
        name: 'the reader',
        role: 'reader',
        time_zone: 'UTC',
      });
    });

    it('takes a key that is added to the file, and no longer one that is taken out', async () => {
      const { key, entry } = JSON.parse((await musicKpis(pipeline, 'api-key', '--name', 'new', '--json')).out);
      writeFileSync(file, JSON.stringify([entry]));
      await until(
        'the file is read again',
        async () => (await api.call('GET', '/v1/me', key)).status === 200,
        PATIENCE_MS,
        500,
      );
      expect((await api.call('GET', '/v1/me', keys['operator'])).status).toBe(401);
      // A broken file locks nobody out.
      writeFileSync(file, '[{"name": "half');
      await new Promise((resolve) => setTimeout(resolve, 10_500));
      expect((await api.call('GET', '/v1/me', key)).status).toBe(200);
    });

    it('says what is wrong with a file of keys, and does not start', async () => {
      for (const [content, why] of [
        ['{}', /must be a list of keys/],
        [JSON.stringify([{ name: 'a', role: 'king', sha256: '0'.repeat(64) }]), /role must be one of/],
        [JSON.stringify([{ name: 'a', role: 'reader', sha256: 'plain-key' }]), /sha256 must match/],
      ] as const) {
        writeFileSync(path.join(pipeline.dir, 'wrong.json'), content);
        expect(await refusal({ API_AUTH: 'keys', API_KEYS_FILE: path.join(pipeline.dir, 'wrong.json') })).toMatch(why);
      }
    });
  });

  describe('by tokens of an issuer', () => {
    let issuer: Server;
    let url: string;
    let api: Awaited<ReturnType<typeof start>>;
    let own: CryptoKeyPair;
    let foreign: CryptoKeyPair;

    beforeAll(async () => {
      own = (await generateKeyPair('RS256')) as CryptoKeyPair;
      foreign = (await generateKeyPair('RS256')) as CryptoKeyPair;
      const jwks = { keys: [{ ...(await exportJWK(own.publicKey)), kid: 'own', alg: 'RS256', use: 'sig' }] };
      issuer = createServer((request, response) => {
        const body = request.url === '/jwks' ? jwks : { issuer: url, jwks_uri: `${url}/jwks` };
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      });
      await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
      url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
      api = await start({
        API_AUTH: 'oidc',
        API_OIDC_ISSUER: url,
        API_OIDC_AUDIENCE: AUDIENCE,
        API_OIDC_ROLE_CLAIM: 'groups',
      });
    });
    afterAll(async () => {
      await api?.child.stop();
      issuer.close();
    });

    const token = (
      changes: { key?: CryptoKeyPair; iss?: string; aud?: string; exp?: string; groups?: unknown } = {},
    ) => {
      const { key = own, iss = url, aud = AUDIENCE, exp = '5m', groups = ['music-operator'] } = changes;
      return new SignJWT({ groups, email: 'ada@example.org' })
        .setProtectedHeader({ alg: 'RS256', kid: 'own' })
        .setSubject('ada')
        .setIssuer(iss)
        .setAudience(aud)
        .setExpirationTime(exp)
        .sign(key.privateKey);
    };
    const statusWith = async (given: string, method = 'GET', route = '/v1/me') =>
      (await api.call(method, route, given)).status;

    it('takes those that are for it, with the role of their claim', async () => {
      expect((await api.call('GET', '/v1/me', await token())).body).toMatchObject({
        name: 'ada@example.org',
        role: 'operator',
      });
      const reader = await token({ groups: 'other music-reader' });
      expect((await api.call('GET', '/v1/me', reader)).body).toMatchObject({ role: 'reader' });
      expect(await statusWith(reader, 'POST', '/v1/runs')).toBe(403);
    });

    it('refuses all others', async () => {
      expect(await statusWith(await token({ key: foreign }))).toBe(401);
      expect(await statusWith(await token({ iss: 'http://elsewhere.example' }))).toBe(401);
      expect(await statusWith(await token({ aud: 'another-api' }))).toBe(401);
      expect(await statusWith(await token({ exp: '-5m' }))).toBe(401);
      expect(await statusWith(await token({ groups: ['somebody'] }))).toBe(403);
      expect(await statusWith(await token({ groups: { 'music-operator': true } }))).toBe(403);
      const unsigned = new UnsecuredJWT({ groups: ['music-operator'] })
        .setSubject('ada')
        .setIssuer(url)
        .setAudience(AUDIENCE)
        .setExpirationTime('5m');
      expect(await statusWith(unsigned.encode())).toBe(401);
      // The public key as a secret: what libraries that let the token choose the algorithm fall for.
      const secret = new TextEncoder().encode(JSON.stringify(await exportJWK(own.publicKey)));
      const confused = await new SignJWT({ groups: ['music-operator'] })
        .setProtectedHeader({ alg: 'HS256', kid: 'own' })
        .setSubject('ada')
        .setIssuer(url)
        .setAudience(AUDIENCE)
        .setExpirationTime('5m')
        .sign(secret);
      expect(await statusWith(confused)).toBe(401);
      const [head, , signature] = (await token()).split('.');
      const forged = Buffer.from(
        JSON.stringify({ iss: url, aud: AUDIENCE, sub: 'eve', exp: 4_000_000_000, groups: ['music-operator'] }),
      ).toString('base64url');
      expect(await statusWith(`${head}.${forged}.${signature}`)).toBe(401);
      expect(await statusWith('no-token-at-all')).toBe(401);
    });

    it('says that the issuer is away, and takes tokens again once it is back', async () => {
      const away = await start({
        API_AUTH: 'oidc',
        API_OIDC_ISSUER: 'http://127.0.0.1:1',
        API_OIDC_AUDIENCE: AUDIENCE,
      });
      const answer = await away.call('GET', '/v1/me', await token());
      expect([answer.status, answer.body.type]).toEqual([503, 'urn:music-pipeline:problem:issuer-away']);
      await away.child.stop();
    });
  });

  describe('by nothing', () => {
    it('is only for who reaches loopback, unless that is said', async () => {
      expect(await refusal({ API_AUTH: '', API_HOST: '0.0.0.0' })).toMatch(
        /API_AUTH=: must be keys, oidc or none where API_HOST is 0.0.0.0/,
      );
      expect(await refusal({ API_AUTH: 'keys', API_KEYS_FILE: '' })).toMatch(/API_KEYS_FILE=: must name a file/);
      expect(await refusal({ API_AUTH: 'oidc' })).toMatch(
        /API_OIDC_ISSUER=: must be a URL[^]*API_OIDC_AUDIENCE=: must be given/,
      );
      const { child, call } = await start({ API_AUTH: '', API_HOST: '', API_ANONYMOUS_ROLE: '' });
      expect((await call('GET', '/v1/me')).body).toMatchObject({ name: 'anonymous', role: 'reader' });
      expect((await call('POST', '/v1/runs')).status).toBe(403);
      await child.stop();
    });
  });

  /** What an API says that does not start with these settings. */
  async function refusal(env: Record<string, string>): Promise<string> {
    const child: Child = pipeline.spawnService('api', env);
    expect(await child.exited).toBe('exit code 2');
    return child.lastLines(12);
  }
});
