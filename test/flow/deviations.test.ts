import { type DeviationName, deviationNames } from '../../src/config/presets.ts';
import { Browser } from '../support/browser.ts';
import { type FakeProvider, type FakeResponse, startFakeProvider } from '../support/fake-provider.ts';
import { startLatchkey } from '../support/latchkey.ts';
import { forbiddingApi, standardProvider } from '../support/provider-variants.ts';

let provider: FakeProvider;
let browser: Browser;
let offsetMs = 0;
const running: { close(): Promise<void> }[] = [];

async function start(env: Readonly<Record<string, string>> = {}, shape = standardProvider): Promise<void> {
  provider = await startFakeProvider(shape);
  const latchkey = await startLatchkey({
    deps: { now: () => Date.now() + offsetMs, elapsed: () => performance.now() + offsetMs },
    ...{ apiUrl: provider.url, ...provider.client },
    env: {
      OAUTH2_AUTHORIZATION_URL: `${provider.url}/authorize`,
      OAUTH2_TOKEN_URL: `${provider.url}/token`,
      OAUTH2_SCOPES: 'read write',
      ...env,
    },
  });
  browser = new Browser(latchkey.origin);
  running.push(latchkey, provider);
}

async function stop(): Promise<void> {
  for (const each of running.splice(0)) await each.close();
}
afterEach(stop);

const session = async () => (await browser.fetch('/auth/session')).json() as Record<string, unknown>;
/** Each one is five seconds after the last: Latchkey does not refresh more often on request. */
function refresh() {
  offsetMs += 5_000;
  return browser.fetch('/auth/refresh', { method: 'POST', headers: { accept: 'application/json' } });
}
const json = (status: number, body: unknown, headers = {}): FakeResponse => ({ status, body, headers });

/** Adds `members` to the body of a response; `undefined` removes one. */
const withMembers =
  (members: Record<string, unknown>) =>
  (response: FakeResponse): FakeResponse => ({
    ...response,
    body: { ...(response.body as object), ...members },
  });

/** The status of a login or of a later refresh whose token response is changed by `change`, and the session after it. */
async function outcome(when: 'login' | 'refresh', change: (response: FakeResponse) => FakeResponse) {
  if (when === 'login') provider.alterTokenResponses(change);
  const login = await browser.go('/auth/login');
  provider.alterTokenResponses(change);
  const { status } = when === 'login' ? login : await refresh();
  return { status, ...(await session()) };
}

const sessionEnds = { status: 401, authenticated: false };
const refreshFailed = { status: 503, authenticated: true };
const loginFailed = { status: 400, authenticated: false };

interface Row {
  readonly deviation: DeviationName;
  readonly what: string;
  readonly when: 'login' | 'refresh';
  readonly change: (response: FakeResponse) => FakeResponse;
  readonly undeclared: object;
  readonly declared: object;
}

const rows: readonly Row[] = [
  {
    deviation: 'token-type-missing',
    what: 'a token response without token_type',
    when: 'login',
    change: withMembers({ token_type: undefined }),
    undeclared: loginFailed,
    declared: { status: 200, authenticated: true, token_type: 'bearer' },
  },
  {
    deviation: 'token-type-missing',
    what: 'an empty token_type',
    when: 'login',
    change: withMembers({ token_type: '' }),
    undeclared: loginFailed,
    declared: { status: 200, authenticated: true, token_type: 'bearer' },
  },
  {
    deviation: 'scope-with-commas',
    what: 'a scope with commas',
    when: 'login',
    change: withMembers({ scope: 'read,write, more' }),
    undeclared: { status: 200, scope: ['read,write,', 'more'] },
    declared: { status: 200, scope: ['read', 'write', 'more'] },
  },
  {
    deviation: 'error-in-200',
    what: 'invalid_grant in a 200 response',
    when: 'refresh',
    change: () => json(200, { error: 'invalid_grant' }),
    undeclared: refreshFailed,
    declared: sessionEnds,
  },
  {
    deviation: 'error-in-200',
    what: 'ok: false in a 200 response',
    when: 'refresh',
    change: () => json(200, { ok: false, error: 'invalid_grant' }),
    undeclared: refreshFailed,
    declared: sessionEnds,
  },
  {
    deviation: 'own-error-codes',
    what: 'bad_refresh_token instead of invalid_grant',
    when: 'refresh',
    change: () => json(400, { error: 'bad_refresh_token' }),
    undeclared: refreshFailed,
    declared: sessionEnds,
  },
  {
    deviation: 'own-error-codes',
    what: 'invalid_refresh_token instead of invalid_grant',
    when: 'refresh',
    change: () => json(400, { error: 'invalid_refresh_token' }),
    undeclared: refreshFailed,
    declared: sessionEnds,
  },
  {
    deviation: 'own-error-codes',
    what: 'incorrect_client_credentials instead of invalid_client',
    when: 'login',
    change: () => json(400, { error: 'incorrect_client_credentials' }),
    undeclared: loginFailed,
    declared: { status: 503, authenticated: false },
  },
];

test.each(rows)('$what is understood only when $deviation is declared', async (row) => {
  await start();
  expect(await outcome(row.when, row.change)).toMatchObject(row.undeclared);
  await stop();
  await start({ OAUTH2_DEVIATIONS: row.deviation });
  expect(await outcome(row.when, row.change)).toMatchObject(row.declared);
});

test.each([
  ['is passed through', {}, 403, 1],
  ['causes a refresh when expired-is-403 is declared', { OAUTH2_DEVIATIONS: 'expired-is-403' }, 200, 2],
])('a 403 from the API for an expired token %s', async (_what, env, status, tokenRequests) => {
  await start(env, forbiddingApi);
  await browser.go('/auth/login');
  provider.expireAccessTokens();
  expect((await browser.fetch('/api/profile')).status).toBe(status);
  expect(provider.tokenRequests).toHaveLength(tokenRequests);
});

test('these tests cover every deviation of the token endpoint', () => {
  const tested = new Set(rows.map(({ deviation }) => deviation));
  expect(deviationNames.filter((name) => !tested.has(name))).toEqual([
    'expired-is-403', // concerns APIs
    'nonce-missing', // concerns ID tokens: test/hostile/id-tokens.test.ts
    'email-verified-missing', // concerns claims: test/unit/claim-rules.test.ts
    'logout-exp-missing', // concerns logout tokens: test/hostile/logout-tokens.test.ts
  ]);
});

describe('with every deviation declared', () => {
  const OAUTH2_DEVIATIONS = deviationNames.join(' ');

  test('a provider that follows the standards works unchanged', async () => {
    await start({ OAUTH2_DEVIATIONS });
    expect(await outcome('refresh', (response) => response)).toMatchObject({
      ...{ status: 200, authenticated: true, scope: ['read', 'write'] },
    });
  });

  test.each(['internal_error', 'temporarily_unavailable', 'ratelimited'])(
    '%s in a 200 response keeps the session, even after the access token has expired',
    async (error) => {
      await start({ OAUTH2_DEVIATIONS });
      provider.alterTokenResponses(withMembers({ expires_in: 0 }));
      await browser.go('/auth/login');
      provider.alterTokenResponses(() => json(200, { ok: false, error }));
      expect((await refresh()).status).toBe(503);
      expect(await session()).toMatchObject({ authenticated: true });
    },
  );

  test.each(['constructor', '__proto__', 'toString'])(
    'the object member %s is not mistaken for an error code',
    async (error) => {
      await start({ OAUTH2_DEVIATIONS });
      expect(await outcome('refresh', () => json(400, { error }))).toMatchObject(refreshFailed);
    },
  );
});

test.each<[string, 'login' | 'refresh', (response: FakeResponse) => FakeResponse, object]>([
  [
    'expires_in as a string',
    'login',
    withMembers({ expires_in: '60' }),
    { status: 200, authenticated: true },
  ],
  [
    'a token response without expires_in',
    'login',
    withMembers({ expires_in: undefined }),
    { status: 200, authenticated: true, access_token_expires_at: null },
  ],
  [
    'a token response without scope (granted as requested)',
    'login',
    withMembers({ scope: undefined }),
    { scope: ['read', 'write'] },
  ],
  [
    'a token response with null for absent members',
    'login',
    withMembers({ scope: null, id_token: null }),
    { scope: ['read', 'write'] },
  ],
  [
    'a refresh response without a refresh token',
    'refresh',
    withMembers({ refresh_token: undefined }),
    { status: 200, authenticated: true },
  ],
  ['invalid_grant with status 400', 'refresh', () => json(400, { error: 'invalid_grant' }), sessionEnds],
  ['invalid_grant with status 401', 'refresh', () => json(401, { error: 'invalid_grant' }), sessionEnds],
  ['invalid_grant with status 403', 'refresh', () => json(403, { error: 'invalid_grant' }), sessionEnds],
  [
    'invalid_grant with a WWW-Authenticate header',
    'refresh',
    () => json(401, { error: 'invalid_grant' }, { 'www-authenticate': 'Bearer error="invalid_token"' }),
    sessionEnds,
  ],
  [
    'an empty error response while the access token is valid',
    'refresh',
    () => ({ status: 400 }),
    refreshFailed,
  ],
])('%s is understood without a declaration', async (_what, when, change, expected) => {
  await start();
  expect(await outcome(when, change)).toMatchObject(expected);
});

test('an empty error response ends the session once the access token has expired', async () => {
  await start();
  provider.alterTokenResponses(withMembers({ expires_in: 0 }));
  await browser.go('/auth/login');
  provider.alterTokenResponses(() => ({ status: 403 }));
  expect((await refresh()).status).toBe(401);
  expect(await session()).toEqual({ authenticated: false });
});

test('the existing refresh token is reused when a refresh returns none', async () => {
  await start();
  await outcome('refresh', withMembers({ refresh_token: undefined }));
  await refresh();
  const [, first, second] = provider.tokenRequests.map((form) => form.get('refresh_token'));
  expect(first).toBe(second);
});

test('expires_in as a string sets the expiry of the access token', async () => {
  await start();
  await outcome('login', withMembers({ expires_in: '60' }));
  const { access_token_expires_at } = await session();
  const remainingMs = Date.parse(String(access_token_expires_at)) - Date.now() - offsetMs;
  expect(remainingMs).toBeGreaterThan(50_000);
  expect(remainingMs).toBeLessThanOrEqual(60_000);
});

test('configured extra parameters are sent once in the authorization request and in every token request', async () => {
  await start({
    OAUTH2_AUTHORIZATION_PARAMS:
      'audience=https%3A%2F%2Fapi.example.com&resource=urn:a&resource=urn:b&prompt=consent',
    OAUTH2_TOKEN_PARAMS: 'resource=urn:a&resource=urn:b&audience=my-api',
  });
  await browser.go('/auth/login');
  await refresh();
  const [authorization] = provider.authorizations;
  expect(authorization?.get('audience')).toBe('https://api.example.com');
  expect(authorization?.getAll('resource')).toEqual(['urn:a', 'urn:b']);
  expect(authorization?.getAll('prompt')).toEqual(['consent']);
  expect(authorization?.getAll('scope')).toEqual(['read write']);
  expect(provider.tokenRequests.map((form) => form.get('grant_type'))).toEqual([
    'authorization_code',
    'refresh_token',
  ]);
  for (const form of provider.tokenRequests) {
    expect(form.getAll('resource')).toEqual(['urn:a', 'urn:b']);
    expect(form.getAll('audience')).toEqual(['my-api']);
  }
});

test("a provider that returns the rejected token again gets one refresh request, and the API's 401 is passed through", async () => {
  await start();
  provider.alterTokenResponses(withMembers({ access_token: 'always-the-same' }));
  await browser.go('/auth/login?return_to=/');
  const responses: unknown[] = [];
  for (let call = 0; call < 5; call += 1) {
    const { status, text } = await browser.fetch('/api/profile');
    responses.push([status, text]);
  }
  expect(responses).toEqual(Array(5).fill([401, '']));
  expect(provider.tokenRequests.map((form) => form.get('grant_type'))).toEqual([
    'authorization_code',
    'refresh_token',
  ]);
  expect(await session()).toMatchObject({ authenticated: true });
});

test('a token without expires_in that both the API and the provider reject yields 401, not 503 forever', async () => {
  await start();
  await outcome('login', withMembers({ expires_in: undefined }));
  provider.expireAccessTokens();
  provider.alterTokenResponses(() => ({ status: 400, body: '' }));
  expect((await browser.fetch('/api/profile')).json()).toMatchObject({ error: 'login_required' });
  expect(await session()).toMatchObject({ authenticated: false });
});

test('a 403 from the API for the token of a new login is passed through and causes no login loop', async () => {
  await start({ OAUTH2_DEVIATIONS: 'expired-is-403' }, forbiddingApi);
  await outcome('login', withMembers({ refresh_token: undefined, access_token: 'of-another-audience' }));
  const { status, text } = await browser.fetch('/api/profile');
  expect([status, text]).toEqual([403, '{"message":"Forbidden"}']);
});
