import { setTimeout as delay } from 'node:timers/promises';
import { Browser } from '../support/browser.ts';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.ts';
import { type Latchkey, startLatchkey } from '../support/latchkey.ts';
import {
  createOpenidProvider,
  createSigningKey,
  hashLeft,
  type IssueIdToken,
  type OpenidProviderOptions,
  signJwt,
  signWithPublicKey,
} from '../support/openid-provider.ts';

let options: OpenidProviderOptions;
let provider: FakeProvider;
let latchkey: Latchkey;
let browser: Browser;
let offsetMs = 0;

async function start(env: Readonly<Record<string, string>> = {}): Promise<void> {
  const openid = createOpenidProvider();
  options = openid.options;
  provider = await startFakeProvider(openid.shape);
  latchkey = await startLatchkey({
    ...{ issuer: provider.url, apiUrl: provider.url, ...provider.client },
    env: { OAUTH2_SCOPES: 'openid profile read:data', ...env },
    deps: { now: () => Date.now() + offsetMs, elapsed: () => performance.now() + offsetMs },
  });
  browser = new Browser(latchkey.origin);
}
beforeEach(() => {
  offsetMs = 0;
});

afterEach(async () => {
  await latchkey.close();
  await provider.close();
});

const signIn = (path = '/auth/login') => browser.go(path);
const refresh = () =>
  browser.fetch('/auth/refresh', { method: 'POST', headers: { accept: 'application/json' } });
const callApi = async () => (await browser.fetch('/api/profile')).status;
const user = async () =>
  ((await browser.fetch('/auth/session')).json() as { user?: { sub: string } }).user?.sub;
const log = () => latchkey.logLines.join('');

const seconds = () => Math.floor(Date.now() / 1000);
const stranger = createSigningKey('first');
const elliptic = createSigningKey('first', 'ES256');

/** An ID token with these claims; `undefined` removes one. */
const withClaims =
  (change: (claims: Record<string, unknown>) => object): IssueIdToken =>
  ({ header, claims }) =>
    signJwt(header, { ...claims, ...change(claims) }, options.keys[0]!);

/** What is wrong with the ID token, how it is made, and what the log says about it. */
const forgeries: readonly [what: string, issue: IssueIdToken, evidence: RegExp][] = [
  [
    'another iss',
    withClaims(() => ({ iss: 'https://evil.example' })),
    /claim iss: expected .*127.* received .*evil/,
  ],
  ['an iss with a slash at the end', withClaims(({ iss }) => ({ iss: `${iss}/` })), /claim iss/],
  ['no iss', withClaims(() => ({ iss: undefined })), /iss/],
  [
    'another aud',
    withClaims(() => ({ aud: 'another-client' })),
    /claim aud: expected .* received \\"another-client/,
  ],
  ['a list of other audiences', withClaims(() => ({ aud: ['a', 'b'] })), /claim aud/],
  ['several audiences and no azp', withClaims(({ aud }) => ({ aud: [aud, 'b'] })), /claim azp/],
  ['the azp of another client beside one aud', withClaims(() => ({ azp: 'another-client' })), /claim azp/],
  ['an exp in the past', withClaims(() => ({ exp: seconds() - 120 })), /exp.*do the clocks/],
  ['an exp that is a text', withClaims(() => ({ exp: String(seconds() + 300) })), /exp/],
  ['no exp', withClaims(() => ({ exp: undefined })), /exp/],
  ['an iat in the future', withClaims(() => ({ iat: seconds() + 3600 })), /claim iat.*do the clocks/],
  ['an iat ten years ago', withClaims(() => ({ iat: seconds() - 315_360_000 })), /claim iat/],
  ['no iat', withClaims(() => ({ iat: undefined })), /iat/],
  ['an nbf in the future', withClaims(() => ({ nbf: seconds() + 60 })), /nbf.*do the clocks/],
  ['another nonce', withClaims(() => ({ nonce: 'of another login' })), /claim nonce/],
  ['no nonce', withClaims(() => ({ nonce: undefined })), /claim nonce/],
  ['the at_hash of another token', withClaims(() => ({ at_hash: hashLeft('other') })), /at_hash/],
  ['an empty sub', withClaims(() => ({ sub: '' })), /claim sub/],
  ['a sub that is a number', withClaims(() => ({ sub: 7 })), /claim sub/],
  ['a sub of 256 characters', withClaims(() => ({ sub: 'a'.repeat(256) })), /claim sub/],
  ['no sub', withClaims(() => ({ sub: undefined })), /sub/],
  ['the signature of a stranger', ({ header, claims }) => signJwt(header, claims, stranger), /SIGNATURE/],
  [
    'a key that is embedded in the token',
    ({ header, claims }) =>
      signJwt({ ...header, jwk: stranger.publicKey.export({ format: 'jwk' }) }, claims, stranger),
    /SIGNATURE/,
  ],
  [
    'a key at an address in the token',
    ({ header, claims }) => signJwt({ ...header, jku: 'https://evil.example/keys' }, claims, stranger),
    /SIGNATURE/,
  ],
  [
    'an unknown kid',
    ({ header, claims }) => signJwt({ ...header, kid: 'x' }, claims, stranger),
    /NO_MATCHING_KEY/,
  ],
  [
    'alg none',
    ({ claims }) =>
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`,
    /ALG/,
  ],
  [
    'the public key as a shared key',
    ({ header, claims }) => signWithPublicKey(header, claims, options.keys[0]!),
    /ALG/,
  ],
  [
    'an algorithm that the provider does not support',
    ({ header, claims }) => signJwt({ ...header, alg: 'RS384' }, claims, options.keys[0]!),
    /NO_MATCHING_KEY/,
  ],
  [
    'an algorithm of another kind of key',
    ({ header, claims }) => signJwt({ ...header, alg: 'ES256' }, claims, elliptic),
    /NO_MATCHING_KEY/,
  ],
  [
    'a critical header',
    ({ header, claims }) => signJwt({ ...header, crit: ['x'], x: 1 }, claims, options.keys[0]!),
    /NOT_SUPPORTED/,
  ],
  [
    'a payload that was changed',
    ({ header, claims }) => {
      const [head, , signature] = signJwt(header, claims, options.keys[0]!).split('.');
      const payload = Buffer.from(JSON.stringify({ ...claims, sub: 'mallory' })).toString('base64url');
      return `${head}.${payload}.${signature}`;
    },
    /SIGNATURE/,
  ],
  [
    'a garbled signature',
    ({ header, claims }) => `${signJwt(header, claims, options.keys[0]!).slice(0, -8)}AAAAAAAA`,
    /SIGNATURE/,
  ],
  [
    'two parts',
    ({ header, claims }) => signJwt(header, claims, options.keys[0]!).split('.').slice(0, 2).join('.'),
    /ERR_J/,
  ],
  ['five parts', () => 'a.b.c.d.e', /ERR_J/],
];

describe('at login', () => {
  test.each(forgeries)(
    'an ID token with %s is refused, and the session that was there continues',
    async (_what, issue, evidence) => {
      await start();
      await signIn();
      expect(await user()).toBe('alice');
      const cookie = await browser.sessionCookie();
      options.issue = issue;
      const page = await signIn('/auth/login?prompt=login');
      expect([page.status, /Sign-in failed/.test(page.text)]).toEqual([400, true]);
      expect(log()).toMatch(evidence);
      expect(await browser.sessionCookie()).toBe(cookie);
      expect([await user(), await callApi()]).toEqual(['alice', 200]);
    },
  );

  test('a response without an ID token is refused, although the scope has openid', async () => {
    await start();
    options.issue = () => undefined;
    expect((await signIn()).status).toBe(400);
    expect(log()).toContain('the token response has no id_token');
  });

  test.each(['DPoP', 'mac'])('a token of the type %s is refused', async (type) => {
    await start();
    options.response = { token_type: type };
    expect((await signIn()).status).toBe(400);
    expect(log()).toContain(`member token_type: expected \\"Bearer\\", received \\"${type}\\"`);
  });
});

describe('at refresh', () => {
  test.each(forgeries.filter(([what]) => what !== 'no nonce'))(
    'an ID token with %s ends the session when its access token expires, and the new tokens are revoked',
    async (_what, issue, evidence) => {
      await start();
      await signIn();
      options.issue = issue;
      await refresh();
      expect(log()).toMatch(evidence);
      expect(log()).toContain('failed a check; its tokens are revoked');
      while (provider.revoked.length < 2) await delay(10);
      const tokenRequests = provider.tokenRequests.length;
      expect([await callApi(), await user()]).toEqual([200, 'alice']); // with the old access token
      await refresh();
      expect(provider.tokenRequests).toHaveLength(tokenRequests); // the refresh token is spent, so it is not sent again
      provider.expireAccessTokens();
      expect(await callApi()).toBe(401);
    },
  );

  test('the ID token of another user ends the session when its access token expires', async () => {
    await start();
    await signIn();
    options.subject = 'mallory';
    await refresh();
    expect(log()).toMatch(/claim sub: expected \\"alice\\", received \\"mallory\\"/);
    expect([await callApi(), await user()]).toEqual([200, 'alice']);
  });

  test.each([
    ['no ID token', () => undefined],
    ['no nonce', withClaims(() => ({ nonce: undefined }))],
    ['a correct ID token', withClaims(() => ({}))],
    ['an empty nonce', withClaims(() => ({ nonce: '' }))],
    ['members that are null', withClaims(() => ({ nonce: null, azp: null, at_hash: null }))],
    ['the nonce of the login', withClaims(() => ({ nonce: provider.authorizations[0]!.get('nonce') }))],
  ] as [string, IssueIdToken][])('a response with %s refreshes the tokens', async (_what, issue) => {
    await start();
    await signIn();
    options.issue = issue;
    const response = await refresh();
    expect([response.status, await callApi(), await user()]).toEqual([200, 200, 'alice']);
    expect((await refresh()).status).toBe(200); // with the rotated refresh token
    expect(provider.revoked).toEqual([]);
  });

  test('a token of the type DPoP is not used: the old one stays until it expires', async () => {
    await start();
    await signIn();
    options.response = { token_type: 'DPoP' };
    await refresh();
    expect(await callApi()).toBe(200);
    expect(provider.apiRequests.at(-1)?.headers.authorization).toMatch(/^Bearer /);
    while (provider.revoked.length < 2) await delay(10);
  });
});

describe('the keys of the provider', () => {
  test('a provider that changes its key while 50 users sign in and refresh loses no login and no session', async () => {
    await start();
    const browsers = Array.from({ length: 50 }, () => new Browser(latchkey.origin));
    const results = await Promise.all(
      browsers.map(async (each, index) => {
        if (index === 25) options.keys = [createSigningKey('second'), ...options.keys];
        const page = await each.go('/auth/login');
        const refreshed = await each.fetch('/auth/refresh', {
          method: 'POST',
          headers: { accept: 'application/json' },
        });
        return [page.status, refreshed.status];
      }),
    );
    expect(results).toEqual(browsers.map(() => [200, 200]));
    expect(provider.faults.count(/^\/keys$/)).toBeLessThanOrEqual(3);
  });

  test('a login is 503 while the keys cannot be fetched, and a reload completes it with the same code', async () => {
    await start();
    provider.faults.set({ path: /^\/keys$/, response: { status: 500 } });
    const page = await signIn();
    expect([page.status, page.headers['retry-after']]).toEqual([503, '5']);
    expect(log()).toMatch(/the provider's keys cannot be fetched from http:\/\/127.*\/keys/);
    provider.faults.set(undefined);
    offsetMs += 5_000; // the Retry-After of the page
    expect((await browser.go(page.url)).url).toBe(`${latchkey.origin}/profile`);
    expect(provider.authorizations).toHaveLength(1);
  });

  test('a refresh succeeds while the keys cannot be fetched, and keeps the user', async () => {
    await start();
    await signIn();
    options.keys = [createSigningKey('second')]; // not in the cache
    options.subject = 'mallory';
    provider.faults.set({ path: /^\/keys$/, response: 'reset' });
    expect([(await refresh()).status, await callApi(), await user()]).toEqual([200, 200, 'alice']);
    expect(log()).toContain('cannot verify the ID token of a refresh response');
    expect(provider.revoked).toEqual([]);
  });

  test('tokens with unknown keys cause two requests for keys, not one each', async () => {
    await start();
    await signIn();
    const before = provider.faults.count(/^\/keys$/);
    options.issue = ({ header, claims }) =>
      signJwt({ ...header, kid: String(Math.random()) }, claims, stranger);
    const pages: number[] = [];
    for (let login = 0; login < 6; login += 1) pages.push((await signIn('/auth/login?prompt=login')).status);
    expect(pages).toEqual([400, 400, 503, 503, 503, 503]);
    expect(provider.faults.count(/^\/keys$/) - before).toBe(2);
  });

  test('OAUTH2_JWKS_URL replaces the published address of the keys', async () => {
    await start({ OAUTH2_JWKS_URL: 'http://127.0.0.1:9/keys' });
    expect((await signIn()).status).toBe(503);
    expect(log()).toContain('keys cannot be fetched from http://127.0.0.1:9/keys: ');
  });

  test('without any address of keys, the page and the log say that the setup is wrong, before the user signs in', async () => {
    await start();
    await latchkey.close();
    options.metadata = { jwks_uri: undefined };
    latchkey = await startLatchkey({
      ...{ issuer: provider.url, apiUrl: provider.url, ...provider.client },
      env: { OAUTH2_SCOPES: 'openid' },
    });
    browser = new Browser(latchkey.origin);
    const page = await signIn();
    expect([page.status, /not set up correctly/.test(page.text)]).toEqual([503, true]);
    expect(log()).toContain('set OAUTH2_JWKS_URL');
    expect(provider.authorizations).toEqual([]);
  });

  test('a token without kid is verified with each of several keys', async () => {
    await start();
    options.keys = [createSigningKey('a'), createSigningKey('b')];
    options.issue = ({ header, claims }) => signJwt({ alg: header.alg }, claims, options.keys[1]!);
    expect((await signIn()).url).toBe(`${latchkey.origin}/profile`);
    options.issue = ({ header, claims }) => signJwt({ alg: header.alg }, claims, stranger);
    expect((await signIn('/auth/login?prompt=login')).status).toBe(400);
  });

  test('a provider that begins to sign with another algorithm loses no login and no session', async () => {
    await start();
    await signIn();
    options.keys = [createSigningKey('second', 'ES256'), ...options.keys];
    options.issue = ({ header, claims }) => signJwt(header, claims, options.keys[0]!);
    expect((await refresh()).status).toBe(200);
    expect(provider.revoked).toEqual([]);
    expect((await signIn('/auth/login?prompt=login')).url).toBe(`${latchkey.origin}/profile`);
  });

  test('a key address that changes in the metadata is found when a token has an unknown key', async () => {
    await start();
    await signIn();
    offsetMs += 61_000;
    const oldKeys = options.keys;
    options.keys = [createSigningKey('second')];
    options.metadata = { jwks_uri: `${provider.url}/keys?new` };
    provider.faults.set({
      path: /^\/keys$/,
      response: {
        status: 200,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          keys: oldKeys.map(({ publicKey, kid }) => ({ ...publicKey.export({ format: 'jwk' }), kid })),
        }),
      },
    });
    expect((await signIn('/auth/login?prompt=login')).status).toBe(400); // starts discovery in the background
    provider.faults.set(undefined);
    while (provider.faults.count(/openid-configuration/) < 2) await delay(10);
    expect((await signIn('/auth/login?prompt=login')).url).toBe(`${latchkey.origin}/profile`);
  });

  test('refreshes do not end sessions while a key was replaced under its kid and the keys cannot be fetched', async () => {
    await start();
    await signIn();
    const others = [1, 2, 3, 4].map(() => new Browser(latchkey.origin));
    for (const each of others) await each.go('/auth/login');
    options.keys = [createSigningKey('first')];
    provider.faults.set({ path: /^\/keys$/, response: 'reset' });
    for (const each of [browser, ...others]) {
      const response = await each.fetch('/auth/refresh', {
        method: 'POST',
        headers: { accept: 'application/json' },
      });
      expect(response.status).toBe(200);
    }
    expect(provider.revoked).toEqual([]);
    provider.faults.set(undefined);
    offsetMs += 5_000;
    for (const each of [browser, ...others])
      expect(
        (await each.fetch('/auth/refresh', { method: 'POST', headers: { accept: 'application/json' } }))
          .status,
      ).toBe(200);
    expect(provider.revoked).toEqual([]);
  });

  test('a provider that replaces a key under the same kid loses no login', async () => {
    await start();
    await signIn();
    options.keys = [createSigningKey('first')];
    expect((await signIn('/auth/login?prompt=login')).url).toBe(`${latchkey.origin}/profile`);
  });

  test('an ID token with ES256 is accepted', async () => {
    await start();
    options.keys = [createSigningKey('ec', 'ES256')];
    options.issue = ({ header, claims }) =>
      signJwt(header, { ...claims, at_hash: undefined }, options.keys[0]!);
    expect((await signIn()).url).toBe(`${latchkey.origin}/profile`);
  });
});

test('the session keeps the identity of the login: issuer, subject, sid, acr and the time of authentication', async () => {
  await start();
  const authTime = seconds() - 5;
  options.issue = withClaims(() => ({ sid: 'at-the-provider', acr: 'urn:mfa', auth_time: authTime }));
  await signIn();
  const id = decodeURIComponent((await browser.sessionCookie())!)
    .slice(2)
    .split('.')[0]!;
  expect((await latchkey.deps.tokenStore.get(id))?.identity).toMatchObject({
    ...{ issuer: provider.url, subject: 'alice', sid: 'at-the-provider', acr: 'urn:mfa', authTime },
  });
});

describe('what the operator declares', () => {
  test('nonce-missing accepts an ID token without a nonce, and still refuses a wrong one', async () => {
    await start({ OAUTH2_DEVIATIONS: 'nonce-missing' });
    options.issue = withClaims(() => ({ nonce: 'wrong' }));
    expect((await signIn()).status).toBe(400);
    options.issue = withClaims(() => ({ nonce: undefined }));
    expect((await signIn()).url).toBe(`${latchkey.origin}/profile`);
  });

  test('OAUTH2_CLOCK_TOLERANCE_SECONDS says how far the clocks may differ', async () => {
    await start({ OAUTH2_CLOCK_TOLERANCE_SECONDS: '120' });
    options.issue = withClaims(() => ({ nbf: seconds() + 60, iat: seconds() + 60 }));
    expect((await signIn()).url).toBe(`${latchkey.origin}/profile`);
  });

  test('the issuer of Microsoft Entra ID is compared with the tenant of the token', async () => {
    await start();
    await latchkey.close();
    const tenant = '9122040d-6c67-4c5b-b112-36a304b66dad';
    options.metadata = { issuer: `${provider.url}/{tenantid}/v2.0` };
    // The protocol library knows Entra by its host, so the stub appears under that name.
    const entra = 'https://login.microsoftonline.com/common/v2.0';
    latchkey = await startLatchkey({
      ...{ issuer: entra, apiUrl: provider.url, ...provider.client },
      env: {
        OAUTH2_SCOPES: 'openid',
        OAUTH2_AUTHORIZATION_URL: `${provider.url}/authorize`,
        OAUTH2_TOKEN_URL: `${provider.url}/token`,
        OAUTH2_REVOCATION_URL: `${provider.url}/revoke`,
        OAUTH2_JWKS_URL: `${provider.url}/keys`,
      },
      deps: {
        fetch: (url, init) => fetch(String(url).replace(entra, provider.url), init),
      },
    });
    browser = new Browser(latchkey.origin);
    options.issue = withClaims(({ iss }) => ({ iss: `${iss}/${tenant}/v2.0`, tid: tenant }));
    expect((await signIn()).url).toBe(`${latchkey.origin}/profile`);
    options.issue = withClaims(({ iss }) => ({ iss: `${iss}/other/v2.0`, tid: tenant }));
    expect((await signIn('/auth/login?prompt=login')).status).toBe(400);
  });
});

describe('acr and auth_time', () => {
  const floor = { OAUTH2_AUTHORIZATION_PARAMS: 'acr_values=urn:mfa&max_age=60' };
  const authenticated = (acr: string | undefined, secondsAgo: number) =>
    withClaims(() => ({ acr, auth_time: seconds() - secondsAgo }));

  test.each([
    ['what was required', 'urn:mfa', 30, 200],
    ['another acr', 'urn:password', 0, 400],
    ['no acr', undefined, 0, 400],
    ['an authentication two hours ago', 'urn:mfa', 7200, 400],
  ] as const)(
    'an ID token with %s is compared with the configured acr_values and max_age',
    async (_what, acr, ago, status) => {
      await start(floor);
      options.issue = authenticated(acr, ago);
      expect((await signIn()).status).toBe(status);
    },
  );

  test('a link cannot lower what the operator requires', async () => {
    await start(floor);
    const page = await browser.step('/auth/login?acr_values=urn:password&max_age=999999');
    const sent = new URL(page.headers.location!).searchParams;
    expect([sent.get('acr_values'), sent.get('max_age')]).toEqual(['urn:mfa', '60']);
    options.issue = authenticated('urn:password', 0);
    expect((await signIn('/auth/login?acr_values=urn:password&max_age=999999')).status).toBe(400);
    options.issue = authenticated('urn:mfa', 100);
    expect((await signIn('/auth/login?max_age=999999')).status).toBe(400);
  });

  test('max_age counts from the request: a second factor that takes long costs no login', async () => {
    await start();
    const begun = await browser.step('/auth/login?max_age=0');
    const authTime = seconds();
    const callback = await browser.step(begun.headers.location!, { from: latchkey.origin });
    await delay(2_100); // real time, because the ID token has the provider's
    options.issue = withClaims(() => ({ auth_time: authTime }));
    expect((await browser.go(callback.headers.location!, { from: provider.url })).url).toBe(
      `${latchkey.origin}/profile`,
    );
  });
});

describe('what a provider sends is bounded', () => {
  test.each([9e15, '9223372036854775', 1e13, -1, '-1'])(
    'the pages work when expires_in is %j',
    async (lifetime) => {
      await start();
      options.response = { expires_in: lifetime };
      expect((await signIn()).status).toBe(200);
      expect((await browser.fetch('/auth/session')).json()).toMatchObject({
        expires_in: null,
        is_expired: false,
      });
      expect((await refresh()).status).toBe(200);
      expect((await browser.go('/profile')).status).toBe(200);
    },
  );

  test('a login that grants only an expired token fails, and says so', async () => {
    await start();
    options.response = { expires_in: 0, refresh_token: undefined };
    expect((await signIn()).status).toBe(400);
    expect(log()).toContain('has already expired (expires_in 0), and there is no refresh token');
  });

  test('a token response of more than 1 MiB is refused', async () => {
    await start();
    options.response = { padding: 'a'.repeat(1_100_000) };
    expect((await signIn()).status).toBe(503);
    expect(log()).toContain('/token is larger than 1 MiB');
  });
});
