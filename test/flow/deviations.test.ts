import { type DeviationName, deviationNames } from '../../src/config/presets.ts';
import { Browser } from '../support/browser.ts';
import { type FakeProvider, type FakeResponse, startFakeProvider } from '../support/fake-provider.ts';
import { startLatchkey } from '../support/latchkey.ts';
import { forbiddingApi, standardProvider } from '../support/provider-shapes.ts';

let standIn: FakeProvider;
let browser: Browser;
const running: { close(): Promise<void> }[] = [];

async function start(env: Readonly<Record<string, string>> = {}, shape = standardProvider): Promise<void> {
  standIn = await startFakeProvider(shape);
  const latchkey = await startLatchkey({
    ...{ apiUrl: standIn.url, ...standIn.client },
    env: {
      OAUTH2_AUTHORIZATION_URL: `${standIn.url}/authorize`,
      OAUTH2_TOKEN_URL: `${standIn.url}/token`,
      OAUTH2_SCOPES: 'read write',
      ...env,
    },
  });
  browser = new Browser(latchkey.origin);
  running.push(latchkey, standIn);
}

async function stop(): Promise<void> {
  for (const each of running.splice(0)) await each.close();
}
afterEach(stop);

const session = async () => (await browser.fetch('/auth/session')).json() as Record<string, unknown>;
const refresh = () =>
  browser.fetch('/auth/refresh', { method: 'POST', headers: { accept: 'application/json' } });
const json = (status: number, body: unknown, headers = {}): FakeResponse => ({ status, body, headers });

/** The answer with `members` in its body; `undefined` takes one out. */
const having =
  (members: Record<string, unknown>) =>
  (answer: FakeResponse): FakeResponse => ({ ...answer, body: { ...(answer.body as object), ...members } });

/** How a login and then a refresh end at a token endpoint that answers the one or the other in its own way. */
async function outcome(when: 'login' | 'refresh', change: (answer: FakeResponse) => FakeResponse) {
  if (when === 'login') standIn.alterTokenResponses(change);
  const login = await browser.go('/auth/login');
  standIn.alterTokenResponses(change);
  const { status } = when === 'login' ? login : await refresh();
  return { status, ...(await session()) };
}

const ends = { status: 401, authenticated: false };
const putOff = { status: 503, authenticated: true };
const failed = { status: 400, authenticated: false };

interface Row {
  readonly deviation: DeviationName;
  readonly what: string;
  readonly when: 'login' | 'refresh';
  readonly answer: (answer: FakeResponse) => FakeResponse;
  readonly undeclared: object;
  readonly declared: object;
}

const rows: readonly Row[] = [
  {
    deviation: 'token-type-missing',
    what: 'a token response without token_type',
    when: 'login',
    answer: having({ token_type: undefined }),
    undeclared: failed,
    declared: { status: 200, authenticated: true, token_type: 'bearer' },
  },
  {
    deviation: 'token-type-missing',
    what: 'a token_type that is empty',
    when: 'login',
    answer: having({ token_type: '' }),
    undeclared: failed,
    declared: { status: 200, authenticated: true, token_type: 'bearer' },
  },
  {
    deviation: 'scope-with-commas',
    what: 'a scope with commas',
    when: 'login',
    answer: having({ scope: 'read,write, more' }),
    undeclared: { status: 200, scope: ['read,write,', 'more'] },
    declared: { status: 200, scope: ['read', 'write', 'more'] },
  },
  {
    deviation: 'error-in-200',
    what: 'invalid_grant inside 200',
    when: 'refresh',
    answer: () => json(200, { error: 'invalid_grant' }),
    undeclared: putOff,
    declared: ends,
  },
  {
    deviation: 'error-in-200',
    what: 'ok: false inside 200',
    when: 'refresh',
    answer: () => json(200, { ok: false, error: 'invalid_grant' }),
    undeclared: putOff,
    declared: ends,
  },
  {
    deviation: 'own-error-codes',
    what: 'bad_refresh_token in place of invalid_grant',
    when: 'refresh',
    answer: () => json(400, { error: 'bad_refresh_token' }),
    undeclared: putOff,
    declared: ends,
  },
  {
    deviation: 'own-error-codes',
    what: 'invalid_refresh_token in place of invalid_grant',
    when: 'refresh',
    answer: () => json(400, { error: 'invalid_refresh_token' }),
    undeclared: putOff,
    declared: ends,
  },
  {
    deviation: 'own-error-codes',
    what: 'incorrect_client_credentials in place of invalid_client',
    when: 'login',
    answer: () => json(400, { error: 'incorrect_client_credentials' }),
    undeclared: failed,
    declared: { status: 503, authenticated: false },
  },
];

test.each(rows)('$what is read only when $deviation is declared', async (row) => {
  await start();
  expect(await outcome(row.when, row.answer)).toMatchObject(row.undeclared);
  await stop();
  await start({ OAUTH2_DEVIATIONS: row.deviation });
  expect(await outcome(row.when, row.answer)).toMatchObject(row.declared);
});

test.each([
  ['passes as it is', {}, 403, 1],
  ['renews the token when expired-is-403 is declared', { OAUTH2_DEVIATIONS: 'expired-is-403' }, 200, 2],
])('an API that answers 403 to a token that has ended %s', async (_what, env, status, grants) => {
  await start(env, forbiddingApi);
  await browser.go('/auth/login');
  standIn.expireAccessTokens();
  expect((await browser.fetch('/api/profile')).status).toBe(status);
  expect(standIn.tokenRequests).toHaveLength(grants);
});

test('every deviation of the token endpoint has a row here', () => {
  const tested = new Set(rows.map(({ deviation }) => deviation));
  expect(deviationNames.filter((name) => !tested.has(name))).toEqual(['expired-is-403']);
});

describe('with every deviation declared', () => {
  const OAUTH2_DEVIATIONS = deviationNames.join(' ');

  test('a server that deviates in nothing is read as before', async () => {
    await start({ OAUTH2_DEVIATIONS });
    expect(await outcome('refresh', (answer) => answer)).toMatchObject({
      ...{ status: 200, authenticated: true, scope: ['read', 'write'] },
    });
  });

  test.each(['internal_error', 'temporarily_unavailable', 'ratelimited'])(
    'a provider whose 200 says %s logs nobody out, even when the token has ended',
    async (error) => {
      await start({ OAUTH2_DEVIATIONS });
      standIn.alterTokenResponses(having({ expires_in: 0 }));
      await browser.go('/auth/login');
      standIn.alterTokenResponses(() => json(200, { ok: false, error }));
      expect((await refresh()).status).toBe(503);
      expect(await session()).toMatchObject({ authenticated: true });
    },
  );

  test.each(['constructor', '__proto__', 'toString'])('an error called %s is none of ours', async (error) => {
    await start({ OAUTH2_DEVIATIONS });
    expect(await outcome('refresh', () => json(400, { error }))).toMatchObject(putOff);
  });
});

test.each<[string, 'login' | 'refresh', (answer: FakeResponse) => FakeResponse, object]>([
  ['expires_in as a string', 'login', having({ expires_in: '60' }), { status: 200, authenticated: true }],
  [
    'no expires_in',
    'login',
    having({ expires_in: undefined }),
    { status: 200, authenticated: true, access_token_expires_at: null },
  ],
  ['no scope, as granted is asked', 'login', having({ scope: undefined }), { scope: ['read', 'write'] }],
  [
    'null for what is not there',
    'login',
    having({ scope: null, id_token: null }),
    { scope: ['read', 'write'] },
  ],
  ['no refresh token', 'refresh', having({ refresh_token: undefined }), { status: 200, authenticated: true }],
  ['invalid_grant in a 400', 'refresh', () => json(400, { error: 'invalid_grant' }), ends],
  ['invalid_grant in a 401', 'refresh', () => json(401, { error: 'invalid_grant' }), ends],
  ['invalid_grant in a 403', 'refresh', () => json(403, { error: 'invalid_grant' }), ends],
  [
    'invalid_grant beside a WWW-Authenticate header',
    'refresh',
    () => json(401, { error: 'invalid_grant' }, { 'www-authenticate': 'Bearer error="invalid_token"' }),
    ends,
  ],
  ['a refusal with an empty body while the token lives', 'refresh', () => ({ status: 400 }), putOff],
])('%s needs no declaration', async (_what, when, answer, expected) => {
  await start();
  expect(await outcome(when, answer)).toMatchObject(expected);
});

test('a refusal with an empty body ends the login once the token has ended', async () => {
  await start();
  standIn.alterTokenResponses(having({ expires_in: 0 }));
  await browser.go('/auth/login');
  standIn.alterTokenResponses(() => ({ status: 403 }));
  expect((await refresh()).status).toBe(401);
  expect(await session()).toEqual({ authenticated: false });
});

test('after a refresh without a refresh token the one that is held is spent again', async () => {
  await start();
  await outcome('refresh', having({ refresh_token: undefined }));
  await refresh();
  const [, first, second] = standIn.tokenRequests.map((form) => form.get('refresh_token'));
  expect(first).toBe(second);
});

test('a lifetime told as a string is kept to the second', async () => {
  await start();
  await outcome('login', having({ expires_in: '60' }));
  const { access_token_expires_at } = await session();
  const left = Date.parse(String(access_token_expires_at)) - Date.now();
  expect(left).toBeGreaterThan(50_000);
  expect(left).toBeLessThanOrEqual(60_000);
});

test('extra parameters reach the authorization request and every token request, once each', async () => {
  await start({
    OAUTH2_AUTHORIZATION_PARAMS:
      'audience=https%3A%2F%2Fapi.example.com&resource=urn:a&resource=urn:b&prompt=consent',
    OAUTH2_TOKEN_PARAMS: 'resource=urn:a&resource=urn:b&audience=my-api',
  });
  await browser.go('/auth/login');
  await refresh();
  const [asked] = standIn.authorizations;
  expect(asked?.get('audience')).toBe('https://api.example.com');
  expect(asked?.getAll('resource')).toEqual(['urn:a', 'urn:b']);
  expect(asked?.getAll('prompt')).toEqual(['consent']);
  expect(asked?.getAll('scope')).toEqual(['read write']);
  expect(standIn.tokenRequests.map((form) => form.get('grant_type'))).toEqual([
    'authorization_code',
    'refresh_token',
  ]);
  for (const form of standIn.tokenRequests) {
    expect(form.getAll('resource')).toEqual(['urn:a', 'urn:b']);
    expect(form.getAll('audience')).toEqual(['my-api']);
  }
});

test('a provider that gives the refused token again is asked once, and the API has the last word', async () => {
  await start();
  standIn.alterTokenResponses(having({ access_token: 'always-the-same' }));
  await browser.go('/auth/login?return_to=/');
  const answers: unknown[] = [];
  for (let call = 0; call < 5; call += 1) {
    const { status, text } = await browser.fetch('/api/profile');
    answers.push([status, text]);
  }
  expect(answers).toEqual(Array(5).fill([401, '']));
  expect(standIn.tokenRequests.map((form) => form.get('grant_type'))).toEqual([
    'authorization_code',
    'refresh_token',
  ]);
  expect(await session()).toMatchObject({ authenticated: true });
});

test('a token of no known lifetime that neither API nor provider take is 401, not 503 for ever', async () => {
  await start();
  await outcome('login', having({ expires_in: undefined }));
  standIn.expireAccessTokens();
  standIn.alterTokenResponses(() => ({ status: 400, body: '' }));
  expect((await browser.fetch('/api/profile')).json()).toMatchObject({ error: 'login_required' });
  expect(await session()).toMatchObject({ authenticated: false });
});

test('an API that refuses the token of a new login is heard, and sends nobody to sign in in a circle', async () => {
  await start({ OAUTH2_DEVIATIONS: 'expired-is-403' }, forbiddingApi);
  await outcome('login', having({ refresh_token: undefined, access_token: 'of-another-audience' }));
  const { status, text } = await browser.fetch('/api/profile');
  expect([status, text]).toEqual([403, '{"message":"Forbidden"}']);
});
