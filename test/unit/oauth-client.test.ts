import { pino } from 'pino';
import { Secret } from '../../src/crypto/secret.ts';
import { clientSecretBasic } from '../../src/oauth/client-authentication.ts';
import { createOAuthClient } from '../../src/oauth/oauth-client.ts';
import { OAuthError, toOAuthError } from '../../src/oauth/oauth-error.ts';
import type { TokenSet } from '../../src/oauth/token-set.ts';

const tokens: TokenSet = {
  accessToken: 'at',
  tokenType: 'bearer',
  scope: [],
  issuedAt: 0,
  refreshToken: 'rt',
};

const nothingSpecial = {
  authorizationParameters: [],
  tokenParameters: [],
  userinfoClaims: undefined,
  deviations: [],
};

function clientAnswering(
  answer: () => Response | Promise<Response>,
  endpoints = {},
  asked: Request[] = [],
  secrets = ['secret'],
) {
  return createOAuthClient(
    {
      issuer: undefined,
      endpoints: {
        authorization_endpoint: 'https://login.example.com/authorize',
        token_endpoint: 'https://login.example.com/token',
        revocation_endpoint: undefined,
        userinfo_endpoint: undefined,
        end_session_endpoint: undefined,
        jwks_uri: undefined,
        ...endpoints,
      },
      clientId: 'id',
      clientSecrets: secrets.map((each) => new Secret(each)),
      clientAuth: 'client_secret_basic',
      redirectUri: new URL('https://app.example.com/auth/callback'),
      scopes: ['a'],
      ...nothingSpecial,
    },
    'https://app.example.com',
    {
      now: () => 1000,
      log: pino({ level: 'silent' }),
      fetch: async (url, init) => {
        asked.push(new Request(url, init));
        return answer();
      },
    },
  );
}

const json =
  (status: number, body: unknown, headers = {}) =>
  () =>
    new Response(JSON.stringify(body), {
      status,
      headers: { 'content-type': 'application/json', ...headers },
    });

test.each<[string, () => Response | Promise<Response>, string, number | undefined]>([
  ['invalid_grant in a 400', json(400, { error: 'invalid_grant' }), 'invalid_grant', undefined],
  ['invalid_grant in a 401', json(401, { error: 'invalid_grant' }), 'invalid_grant', undefined],
  ['invalid_grant in a 403', json(403, { error: 'invalid_grant' }), 'invalid_grant', undefined],
  [
    'invalid_grant beside WWW-Authenticate',
    json(401, { error: 'invalid_grant' }, { 'www-authenticate': 'Bearer error="invalid_token"' }),
    'invalid_grant',
    undefined,
  ],
  [
    'invalid_client',
    json(401, { error: 'invalid_client' }, { 'www-authenticate': 'Basic' }),
    'client_misconfigured',
    undefined,
  ],
  ['unauthorized_client', json(400, { error: 'unauthorized_client' }), 'client_misconfigured', undefined],
  [
    'unsupported_grant_type',
    json(400, { error: 'unsupported_grant_type' }),
    'client_misconfigured',
    undefined,
  ],
  ['invalid_scope', json(400, { error: 'invalid_scope' }), 'client_misconfigured', undefined],
  ['invalid_request', json(400, { error: 'invalid_request' }), 'rejected_other', undefined],
  ['an error of its own', json(422, { error: 'token_family_gone' }), 'rejected_other', undefined],
  ['400 with an empty body', () => new Response('', { status: 400 }), 'rejected_other', undefined],
  [
    '400 with an empty body called JSON',
    () => new Response('', { status: 400, headers: { 'content-type': 'application/json' } }),
    'rejected_other',
    undefined,
  ],
  ['403 with a page', () => new Response('<h1>no</h1>', { status: 403 }), 'rejected_other', undefined],
  ['404 with a page', () => new Response('<h1>?</h1>', { status: 404 }), 'outcome_unknown', undefined],
  ['429', json(429, { error: 'slow_down' }, { 'retry-after': '30' }), 'unavailable', 30],
  ['429 saying invalid_grant', json(429, { error: 'invalid_grant' }), 'unavailable', undefined],
  ['503', () => new Response('', { status: 503, headers: { 'retry-after': '5' } }), 'unavailable', 5],
  ['500 saying invalid_grant', json(500, { error: 'invalid_grant' }), 'outcome_unknown', undefined],
  ['502', () => new Response('', { status: 502 }), 'outcome_unknown', undefined],
  [
    'a connection refused',
    () =>
      Promise.reject(
        new TypeError('fetch failed', { cause: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }) }),
      ),
    'unavailable',
    undefined,
  ],
  [
    'a connection reset',
    () =>
      Promise.reject(
        new TypeError('fetch failed', { cause: Object.assign(new Error('x'), { code: 'ECONNRESET' }) }),
      ),
    'outcome_unknown',
    undefined,
  ],
  [
    '200 with a page',
    () => new Response('<h1>hi</h1>', { headers: { 'content-type': 'text/html' } }),
    'outcome_unknown',
    undefined,
  ],
  [
    '200 with half an answer',
    () => new Response('{"access_tok', { headers: { 'content-type': 'application/json' } }),
    'outcome_unknown',
    undefined,
  ],
  ['200 without a token', json(200, { hello: 'world' }), 'invalid_response', undefined],
  ['no answer', () => Promise.reject(new TypeError('fetch failed')), 'outcome_unknown', undefined],
  ['a time-out', () => Promise.reject(new DOMException('x', 'TimeoutError')), 'outcome_unknown', undefined],
])('a refresh that ends in %s', async (_what, answer, kind, retryAfterSeconds) => {
  const error = await clientAnswering(answer)
    .refreshTokenGrant(tokens)
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(OAuthError);
  expect(error).toMatchObject({ kind, retryAfterSeconds });
});

test('Retry-After may be a date', async () => {
  const at = new Date(Date.now() + 90_000).toUTCString();
  const answer = () => new Response('', { status: 503, headers: { 'retry-after': at } });
  const error = await clientAnswering(answer).refreshTokenGrant(tokens).catch(toOAuthError);
  expect((error as OAuthError).retryAfterSeconds).toBeGreaterThan(85);
  expect((error as OAuthError).retryAfterSeconds).toBeLessThan(95);
});

test('what the server says about an error is for the log, without anything that could be a token', async () => {
  const answer = json(400, {
    error: 'invalid_grant',
    error_description: `token eyJhbGciOiJIUzI1NiJ9.abc.def-123 is spent`,
  });
  const error = await clientAnswering(answer).refreshTokenGrant(tokens).catch(toOAuthError);
  expect((error as OAuthError).message).toBe('invalid_grant: token [redacted] is spent');
});

test('quirks of real servers do not stand in the way of a refresh', async () => {
  const answer = json(200, {
    access_token: 'at2',
    token_type: 'BEARER',
    expires_in: '60',
    refresh_token: null,
    scope: null,
    id_token: 'not one',
  });
  await expect(clientAnswering(answer).refreshTokenGrant(tokens)).resolves.toEqual({
    accessToken: 'at2',
    tokenType: 'bearer',
    scope: [],
    issuedAt: 1000,
    expiresAt: 61_000,
    refreshToken: 'rt',
  });
});

test('without a revocation endpoint nothing is asked, and the operator can be told', async () => {
  const asked: Request[] = [];
  const client = clientAnswering(json(200, {}), {}, asked);
  await client.revokeToken('at', 'access_token');
  expect(asked).toHaveLength(0);
  expect(await client.discover()).toEqual({ canRevoke: false });
});

test('a token is revoked as RFC 7009 has it', async () => {
  const asked: Request[] = [];
  const endpoints = { revocation_endpoint: 'https://login.example.com/revoke' };
  await clientAnswering(json(200, {}), endpoints, asked).revokeToken('rt', 'refresh_token');
  expect(asked[0]!.url).toBe('https://login.example.com/revoke');
  expect(await asked[0]!.text()).toBe('token_type_hint=refresh_token&token=rt');
});

test.each([
  ['plain-client_1.0*x', 's3cret', 'plain-client_1.0*x:s3cret'],
  ['a:b', 'c d', 'a%3Ab:c%20d'],
  ["x!y'z", '(~)+/=%', 'x%21y%27z:%28%7E%29%2B%2F%3D%25'],
  ['ü', '€', '%C3%BC:%E2%82%AC'],
])('HTTP Basic for %s encodes only what must be', (id, secret, expected) => {
  const headers = new Headers();
  clientSecretBasic(id, new Secret(secret))(
    { issuer: 'x' },
    { client_id: id },
    new URLSearchParams(),
    headers,
  );
  const [scheme, credentials] = headers.get('authorization')!.split(' ');
  expect(scheme).toBe('Basic');
  expect(Buffer.from(credentials!, 'base64').toString()).toBe(expected);
});

test('while a client secret is replaced, the one the provider takes is found once and remembered', async () => {
  const asked: Request[] = [];
  let right = 'new';
  const answer = () => {
    const credentials = Buffer.from(
      asked.at(-1)!.headers.get('authorization')!.slice(6),
      'base64',
    ).toString();
    return credentials === `id:${right}`
      ? json(200, { access_token: 'at2', token_type: 'bearer' })()
      : json(401, { error: 'invalid_client' }, { 'www-authenticate': 'Basic' })();
  };
  const client = clientAnswering(answer, {}, asked, ['old', 'new']);
  await expect(client.refreshTokenGrant(tokens)).resolves.toMatchObject({ accessToken: 'at2' });
  expect(asked).toHaveLength(2);
  await client.refreshTokenGrant(tokens);
  expect(asked).toHaveLength(3);
  await Promise.all([1, 2, 3].map(() => client.refreshTokenGrant(tokens)));
  expect(asked).toHaveLength(6);
  right = 'neither';
  await expect(client.refreshTokenGrant(tokens)).rejects.toMatchObject({ kind: 'client_misconfigured' });
  expect(asked).toHaveLength(8);
  right = 'new';
  await client.refreshTokenGrant(tokens);
  expect(asked).toHaveLength(9); // the one that was right before was tried first
});

test('an app token is asked for by scope, if any, and needs no ID token', async () => {
  const asked: Request[] = [];
  const answer = json(200, {
    access_token: 'at',
    token_type: 'Bearer',
    expires_in: '60',
    id_token: 'of no use',
  });
  const client = clientAnswering(answer, {}, asked);
  expect(await client.clientCredentialsGrant(['a', 'b'])).toEqual({
    accessToken: 'at',
    tokenType: 'bearer',
    scope: ['a', 'b'],
    issuedAt: 1000,
    expiresAt: 61_000,
  });
  await client.clientCredentialsGrant([]);
  expect(new URLSearchParams(await asked[0]!.text()).get('scope')).toBe('a b');
  expect(await asked[1]!.text()).toBe('grant_type=client_credentials');
  await expect(
    clientAnswering(json(401, { error: 'invalid_client' })).clientCredentialsGrant([]),
  ).rejects.toMatchObject({ kind: 'client_misconfigured', code: 'invalid_client' });
});

test('what asks for more than five minutes gets five', async () => {
  const answer = () => new Response('', { status: 503, headers: { 'retry-after': '86400' } });
  await expect(clientAnswering(answer).refreshTokenGrant(tokens)).rejects.toMatchObject({
    retryAfterSeconds: 300,
  });
});

test('an ID token in a refresh answer that would fail a check does not cost the refresh token beside it', async () => {
  const issuer = 'https://login.example.com';
  const answers: Record<string, unknown> = {
    [`${issuer}/.well-known/openid-configuration`]: {
      issuer,
      authorization_endpoint: `${issuer}/a`,
      token_endpoint: `${issuer}/t`,
    },
    [`${issuer}/t`]: {
      access_token: 'at2',
      token_type: 'bearer',
      refresh_token: 'rt2',
      id_token: 'of.no.use',
    },
  };
  const client = createOAuthClient(
    {
      issuer: new URL(issuer),
      endpoints: {
        authorization_endpoint: undefined,
        token_endpoint: undefined,
        revocation_endpoint: undefined,
        userinfo_endpoint: undefined,
        end_session_endpoint: undefined,
        jwks_uri: undefined,
      },
      clientId: 'id',
      clientSecrets: [new Secret('secret')],
      clientAuth: 'client_secret_basic',
      redirectUri: new URL('https://app.example.com/auth/callback'),
      scopes: ['openid'],
      ...nothingSpecial,
    },
    'https://app.example.com',
    {
      now: () => 1000,
      log: pino({ level: 'silent' }),
      fetch: async (url) => Response.json(answers[String(url)]),
    },
  );
  const renewed = await client.refreshTokenGrant({ ...tokens, idToken: 'of the login' });
  expect(renewed).toMatchObject({ refreshToken: 'rt2', idToken: 'of the login' });
});
