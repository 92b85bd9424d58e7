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

const defaults = {
  authorizationParameters: [],
  tokenParameters: [],
  userinfoClaims: undefined,
  deviations: [],
  clockToleranceSeconds: 30,
};

function createClient(
  respond: () => Response | Promise<Response>,
  endpoints = {},
  requests: Request[] = [],
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
      ...defaults,
    },
    'https://app.example.com',
    {
      now: () => 1000,
      log: pino({ level: 'silent' }),
      fetch: async (url, init) => {
        requests.push(new Request(url, init));
        return respond();
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
  ['invalid_grant and status 400', json(400, { error: 'invalid_grant' }), 'invalid_grant', undefined],
  ['invalid_grant and status 401', json(401, { error: 'invalid_grant' }), 'invalid_grant', undefined],
  ['invalid_grant and status 403', json(403, { error: 'invalid_grant' }), 'invalid_grant', undefined],
  [
    'invalid_grant and WWW-Authenticate',
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
  ['an unregistered error code', json(422, { error: 'token_family_gone' }), 'rejected_other', undefined],
  ['400 and an empty body', () => new Response('', { status: 400 }), 'rejected_other', undefined],
  [
    '400 and an empty body of type JSON',
    () => new Response('', { status: 400, headers: { 'content-type': 'application/json' } }),
    'rejected_other',
    undefined,
  ],
  [
    '403 and HTML, as from a firewall',
    () => new Response('<h1>no</h1>', { status: 403 }),
    'outcome_unknown',
    undefined,
  ],
  [
    '401 and HTML, as from a proxy',
    () => new Response('<h1>no</h1>', { status: 401 }),
    'outcome_unknown',
    undefined,
  ],
  ['400 and plain text', () => new Response('Bad Request', { status: 400 }), 'outcome_unknown', undefined],
  ['401 and an empty body', () => new Response(null, { status: 401 }), 'rejected_other', undefined],
  ['more than 1 MiB', () => new Response('a'.repeat(1_048_577)), 'outcome_unknown', undefined],
  ['404 and HTML', () => new Response('<h1>?</h1>', { status: 404 }), 'outcome_unknown', undefined],
  ['429', json(429, { error: 'slow_down' }, { 'retry-after': '30' }), 'unavailable', 30],
  ['429 and invalid_grant', json(429, { error: 'invalid_grant' }), 'unavailable', undefined],
  ['503', () => new Response('', { status: 503, headers: { 'retry-after': '5' } }), 'unavailable', 5],
  ['500 and invalid_grant', json(500, { error: 'invalid_grant' }), 'outcome_unknown', undefined],
  ['502', () => new Response('', { status: 502 }), 'outcome_unknown', undefined],
  [
    'a refused connection',
    () =>
      Promise.reject(
        new TypeError('fetch failed', { cause: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }) }),
      ),
    'unavailable',
    undefined,
  ],
  [
    'a reset connection',
    () =>
      Promise.reject(
        new TypeError('fetch failed', { cause: Object.assign(new Error('x'), { code: 'ECONNRESET' }) }),
      ),
    'outcome_unknown',
    undefined,
  ],
  [
    '200 and HTML',
    () => new Response('<h1>hi</h1>', { headers: { 'content-type': 'text/html' } }),
    'outcome_unknown',
    undefined,
  ],
  [
    '200 and truncated JSON',
    () => new Response('{"access_tok', { headers: { 'content-type': 'application/json' } }),
    'outcome_unknown',
    undefined,
  ],
  ['200 and no token', json(200, { hello: 'world' }), 'invalid_response', undefined],
  ['a failed fetch', () => Promise.reject(new TypeError('fetch failed')), 'outcome_unknown', undefined],
  ['a timeout', () => Promise.reject(new DOMException('x', 'TimeoutError')), 'outcome_unknown', undefined],
])('the client classifies a refresh that fails with %s', async (_what, respond, kind, retryAfterSeconds) => {
  const error = await createClient(respond)
    .refreshTokenGrant(tokens)
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(OAuthError);
  expect(error).toMatchObject({ kind, retryAfterSeconds });
});

test('Retry-After can be an HTTP date', async () => {
  const date = new Date(Date.now() + 90_000).toUTCString();
  const respond = () => new Response('', { status: 503, headers: { 'retry-after': date } });
  const error = await createClient(respond).refreshTokenGrant(tokens).catch(toOAuthError);
  expect((error as OAuthError).retryAfterSeconds).toBeGreaterThan(85);
  expect((error as OAuthError).retryAfterSeconds).toBeLessThan(95);
});

test('an error message contains the error_description of the provider with tokens redacted', async () => {
  const respond = json(400, {
    error: 'invalid_grant',
    error_description: `token eyJhbGciOiJIUzI1NiJ9.abc.def-123 is spent`,
  });
  const error = await createClient(respond).refreshTokenGrant(tokens).catch(toOAuthError);
  expect((error as OAuthError).message).toBe('invalid_grant: token [redacted] is spent');
});

test('a refresh accepts common deviations: a lifetime as a string, null members, an invalid ID token', async () => {
  const respond = json(200, {
    access_token: 'at2',
    token_type: 'BEARER',
    expires_in: '60',
    refresh_token: null,
    scope: null,
    id_token: 'not one',
  });
  await expect(createClient(respond).refreshTokenGrant(tokens)).resolves.toEqual({
    accessToken: 'at2',
    tokenType: 'bearer',
    scope: [],
    issuedAt: 1000,
    expiresAt: 61_000,
    refreshToken: 'rt',
  });
});

test('without a revocation endpoint, revokeToken sends nothing and discover reports canRevoke: false', async () => {
  const requests: Request[] = [];
  const client = createClient(json(200, {}), {}, requests);
  await client.revokeToken('at', 'access_token');
  expect(requests).toHaveLength(0);
  expect(await client.discover()).toEqual({ canRevoke: false, canVerify: true });
});

test('revokeToken sends the token and its type hint (RFC 7009)', async () => {
  const requests: Request[] = [];
  const endpoints = { revocation_endpoint: 'https://login.example.com/revoke' };
  await createClient(json(200, {}), endpoints, requests).revokeToken('rt', 'refresh_token');
  expect(requests[0]!.url).toBe('https://login.example.com/revoke');
  expect(await requests[0]!.text()).toBe('token_type_hint=refresh_token&token=rt');
});

test.each([
  ['plain-client_1.0*x', 's3cret', 'plain-client_1.0*x:s3cret'],
  ['a:b', 'c d', 'a%3Ab:c%20d'],
  ["x!y'z", '(~)+/=%', 'x%21y%27z:%28%7E%29%2B%2F%3D%25'],
  ['ü', '€', '%C3%BC:%E2%82%AC'],
])('HTTP Basic for the client id %s encodes only reserved characters', (id, secret, expected) => {
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

test('during a secret rotation, the client secret that the provider accepts is found once and remembered', async () => {
  const requests: Request[] = [];
  let validSecret = 'new';
  const respond = () => {
    const credentials = Buffer.from(
      requests.at(-1)!.headers.get('authorization')!.slice(6),
      'base64',
    ).toString();
    return credentials === `id:${validSecret}`
      ? json(200, { access_token: 'at2', token_type: 'bearer' })()
      : json(401, { error: 'invalid_client' }, { 'www-authenticate': 'Basic' })();
  };
  const client = createClient(respond, {}, requests, ['old', 'new']);
  await expect(client.refreshTokenGrant(tokens)).resolves.toMatchObject({ accessToken: 'at2' });
  expect(requests).toHaveLength(2);
  await client.refreshTokenGrant(tokens);
  expect(requests).toHaveLength(3);
  await Promise.all([1, 2, 3].map(() => client.refreshTokenGrant(tokens)));
  expect(requests).toHaveLength(6);
  validSecret = 'neither';
  await expect(client.refreshTokenGrant(tokens)).rejects.toMatchObject({ kind: 'client_misconfigured' });
  expect(requests).toHaveLength(8);
  validSecret = 'new';
  await client.refreshTokenGrant(tokens);
  expect(requests).toHaveLength(9); // the last accepted secret was tried first
});

test('clientCredentialsGrant sends the scopes, if any, and ignores an ID token', async () => {
  const requests: Request[] = [];
  const respond = json(200, {
    access_token: 'at',
    token_type: 'Bearer',
    expires_in: '60',
    id_token: 'not used',
  });
  const client = createClient(respond, {}, requests);
  expect(await client.clientCredentialsGrant(['a', 'b'])).toEqual({
    accessToken: 'at',
    tokenType: 'bearer',
    scope: ['a', 'b'],
    issuedAt: 1000,
    expiresAt: 61_000,
  });
  await client.clientCredentialsGrant([]);
  expect(new URLSearchParams(await requests[0]!.text()).get('scope')).toBe('a b');
  expect(await requests[1]!.text()).toBe('grant_type=client_credentials');
  await expect(
    createClient(json(401, { error: 'invalid_client' })).clientCredentialsGrant([]),
  ).rejects.toMatchObject({ kind: 'client_misconfigured', code: 'invalid_client' });
});

test('Retry-After is capped at five minutes', async () => {
  const respond = () => new Response('', { status: 503, headers: { 'retry-after': '86400' } });
  await expect(createClient(respond).refreshTokenGrant(tokens)).rejects.toMatchObject({
    retryAfterSeconds: 300,
  });
});

test.each([
  ...[
    'temporarily_unavailable',
    'interaction_required',
    'unsupported_response_type',
    'account_selection_required',
  ],
  ...[
    'unsupported_grant_type',
    'incorrect_client_credentials',
    'bad_verification_code',
    'authentication_expired',
  ],
  ...['invalid_refresh_token_family', 'AADSTS.something_went_wrong'],
])('the log shows the error code %s whole', async (code) => {
  const error = await createClient(json(400, { error: code, error_description: code }))
    .refreshTokenGrant(tokens)
    .catch(toOAuthError);
  expect((error as OAuthError).message).toBe(`${code}: ${code}`);
});

test('an error without a response names the address and the innermost cause', async () => {
  const cause = Object.assign(new Error('connect ECONNREFUSED 10.0.0.9:443'), { code: 'ECONNREFUSED' });
  const respond = () => Promise.reject(new TypeError('fetch failed', { cause }));
  const error = await createClient(respond).refreshTokenGrant(tokens).catch(toOAuthError);
  expect((error as OAuthError).message).toBe(
    'no response to POST https://login.example.com/token: connect ECONNREFUSED 10.0.0.9:443',
  );
});

test.each(['DPoP', 'mac', 'N_A', 7])(
  'a token response with token_type %j is refused, and its tokens can be revoked',
  async (type) => {
    const respond = json(200, { access_token: 'at2', refresh_token: 'rt2', token_type: type });
    const error = await createClient(respond).refreshTokenGrant(tokens).catch(toOAuthError);
    expect(error).toMatchObject({
      kind: 'invalid_response',
      options: { untrustedTokens: { accessToken: 'at2', refreshToken: 'rt2' } },
    });
    await expect(createClient(respond).clientCredentialsGrant([])).rejects.toMatchObject({
      kind: 'invalid_response',
      message: `member token_type: expected "Bearer", received ${JSON.stringify(type)}`,
    });
  },
);

test('an invalid ID token in a refresh response does not discard the new refresh token', async () => {
  const issuer = 'https://login.example.com';
  const responses: Record<string, unknown> = {
    [`${issuer}/.well-known/openid-configuration`]: {
      issuer,
      authorization_endpoint: `${issuer}/a`,
      token_endpoint: `${issuer}/t`,
    },
    [`${issuer}/t`]: {
      access_token: 'at2',
      token_type: 'bearer',
      refresh_token: 'rt2',
      id_token: 'not.an.id-token',
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
      ...defaults,
    },
    'https://app.example.com',
    {
      now: () => 1000,
      log: pino({ level: 'silent' }),
      fetch: async (url) => Response.json(responses[String(url)]),
    },
  );
  const refreshed = await client.refreshTokenGrant({ ...tokens, idToken: 'from the login' });
  expect(refreshed).toMatchObject({ refreshToken: 'rt2', idToken: 'from the login' });
});
