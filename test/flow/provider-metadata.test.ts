import { Browser } from '../support/browser.ts';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.ts';
import { type Latchkey, type LatchkeyOptions, listenOnFreePort, startLatchkey } from '../support/latchkey.ts';
import { createOpenidProvider, type OpenidProviderOptions, signJwt } from '../support/openid-provider.ts';

const discoveryPath = /^\/\.well-known\/openid-configuration$/;

let options: OpenidProviderOptions;
let provider: FakeProvider;
let latchkey: Latchkey;
let browser: Browser;
let offsetMs = 0;

beforeEach(async () => {
  const openid = createOpenidProvider();
  options = openid.options;
  offsetMs = 0;
  provider = await startFakeProvider(openid.shape);
});
afterEach(async () => {
  await latchkey.close();
  await provider.close();
});

async function start(overrides: Partial<LatchkeyOptions> = {}): Promise<void> {
  latchkey = await startLatchkey({
    ...{ issuer: provider.url, apiUrl: provider.url, ...provider.client },
    ...overrides,
    env: { OAUTH2_SCOPES: 'openid read:data', ...overrides.env },
    deps: {
      now: () => Date.now() + offsetMs,
      elapsed: () => performance.now() + offsetMs,
      ...overrides.deps,
    },
  });
  browser = new Browser(latchkey.origin);
}

const log = () => latchkey.logLines.join('');
const isSignedIn = async () => (await browser.go('/auth/login')).url === `${latchkey.origin}/profile`;
const endpoints = () => ({
  OAUTH2_AUTHORIZATION_URL: `${provider.url}/authorize`,
  OAUTH2_TOKEN_URL: `${provider.url}/token`,
  OAUTH2_JWKS_URL: `${provider.url}/keys`,
});

describe('discovery is optional when the endpoints are configured', () => {
  test.each(['reset', { status: 500 }, { status: 404 }] as const)(
    'users sign in although the issuer answers discovery with %j',
    async (response) => {
      provider.faults.set({ path: /well-known/, response });
      await start({ env: endpoints() });
      expect(await isSignedIn()).toBe(true);
      expect(log()).toContain('using only the configured endpoints');
    },
  );

  test('what was not configured works once discovery succeeds, which is tried once a minute', async () => {
    provider.faults.set({ path: discoveryPath, response: { status: 503 } });
    await start({ env: endpoints() });
    expect(await isSignedIn()).toBe(true);
    const attempts = provider.faults.count(discoveryPath);
    await isSignedIn();
    expect(provider.faults.count(discoveryPath)).toBe(attempts);
    provider.faults.set(undefined);
    offsetMs += 61_000;
    await isSignedIn(); // starts discovery in the background
    while (provider.faults.count(discoveryPath) === attempts)
      await new Promise((done) => setTimeout(done, 10));
    await browser.go('/auth/logout', { method: 'POST', from: latchkey.origin });
    await latchkey.drain();
    expect(provider.revoked).toHaveLength(2);
  });

  test('without configured endpoints, a failed discovery is 503, and the log has every attempt with its status', async () => {
    provider.faults.set({
      path: discoveryPath,
      response: { status: 301, headers: { location: 'https://elsewhere.example/metadata' } },
    });
    await start();
    expect((await browser.go('/auth/login')).status).toBe(503);
    expect(log()).toMatch(
      /openid-configuration returned HTTP 301 to https:\/\/elsewhere\.example\/metadata; .*oauth-authorization-server returned HTTP 40\d/,
    );
  });

  test('metadata of another issuer is refused, and the log has both issuers', async () => {
    options.metadata = { issuer: 'https://other.example' };
    await start();
    const page = await browser.go('/auth/login');
    expect([page.status, /not set up correctly/.test(page.text)]).toEqual([503, true]);
    expect(log()).toContain(`issuer: expected \\"${provider.url}/\\", received \\"https://other.example\\"`);
  });
});

describe('addresses are compared as URLs', () => {
  test.each([
    ['upper-case letters', (url: string) => `${url.replace('http', 'HTTP')}/token`],
    ['dot segments', (url: string) => `${url}/x/../token`],
    ['a space at the end', (url: string) => `${url}/token `],
  ])('a token endpoint with %s in its address gets the configured parameters', async (_what, spell) => {
    options.metadata = { token_endpoint: spell(provider.url) };
    options.response = { scope: null };
    await start({ env: { OAUTH2_TOKEN_PARAMS: 'audience=api' } });
    expect(await isSignedIn()).toBe(true);
    expect(provider.tokenRequests[0]?.get('audience')).toBe('api');
  });
});

describe('an issuer with a path', () => {
  test.each([
    ['without a slash, published with one', '', '/'],
    ['with a slash, published without one', '/', ''],
  ])(
    'configured %s works, and the ID token is compared with the published one',
    async (_what, own, published) => {
      const path = '/application/o/app';
      options.metadata = { issuer: `${provider.url}${path}${published}` };
      options.issue = ({ header, claims }) =>
        signJwt(header, { ...claims, iss: `${provider.url}${path}${published}` }, options.keys[0]!);
      await start({
        issuer: `${provider.url}${path}${own}`,
        deps: {
          fetch: (url, init) => fetch(String(url).replace(`${path}/.well-known`, '/.well-known'), init),
        },
      });
      expect(await isSignedIn()).toBe(true);
    },
  );
});

describe('endpoints that move', () => {
  test.each([404, 405, 410])(
    'after HTTP %i from the token endpoint, the metadata is fetched again',
    async (status) => {
      await start();
      offsetMs += 61_000;
      options.metadata = { token_endpoint: `${provider.url}/token?moved` };
      provider.faults.set({ path: /^\/token$/, response: { status } });
      expect((await browser.go('/auth/login')).status).toBe(503);
      provider.faults.set(undefined);
      expect(await isSignedIn()).toBe(true);
      expect(provider.faults.count(discoveryPath)).toBe(2);
    },
  );

  test('the metadata is not fetched more than once a minute, however often an endpoint returns 404', async () => {
    await start();
    offsetMs += 61_000;
    provider.faults.set({ path: /^\/token$/, response: { status: 404 } });
    for (let count = 0; count < 5; count += 1) await browser.go('/auth/login');
    expect(provider.faults.count(discoveryPath)).toBe(2);
  });
});

test('endpoints that are null in the metadata count as absent', async () => {
  options.metadata = { end_session_endpoint: null, revocation_endpoint: null, userinfo_endpoint: null };
  await start();
  expect(await isSignedIn()).toBe(true);
  const page = await browser.go('/auth/logout', { method: 'POST', from: latchkey.origin });
  expect([page.status, page.url]).toEqual([200, `${latchkey.origin}/auth/signed-out`]);
});

describe('metadata of an https issuer', () => {
  const issuer = 'https://login.example.com';
  const fakeFetch: typeof fetch = (url, init) => fetch(String(url).replace(issuer, provider.url), init);

  test.each(['token_endpoint', 'authorization_endpoint', 'jwks_uri'])(
    'cannot introduce an http address as %s',
    async (member) => {
      options.metadata = {
        ...Object.fromEntries(
          Object.entries({
            authorization_endpoint: 'authorize',
            token_endpoint: 'token',
            jwks_uri: 'keys',
          }).map(([name, path]) => [name, `${issuer}/${path}`]),
        ),
        issuer,
        [member]: 'http://evil.example/x',
      };
      await start({ issuer, deps: { fetch: fakeFetch } });
      const page = await browser.go('/auth/login', { until: (url) => url.startsWith(issuer) });
      expect(page.status).toBeGreaterThanOrEqual(400);
      expect(log()).toContain(`"member":"${member}"`);
      expect(log()).toContain('its URL is not https');
    },
  );

  test('one http address that the operator configured does not allow others', async () => {
    options.metadata = {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: 'http://evil.example/token',
      jwks_uri: `${issuer}/keys`,
    };
    await start({
      issuer,
      env: { OAUTH2_USERINFO_URL: `${provider.url}/userinfo` },
      deps: { fetch: fakeFetch },
    });
    const page = await browser.go('/auth/login', { until: (url) => url.startsWith(issuer) });
    expect([page.status, /not set up correctly/.test(page.text)]).toEqual([503, true]);
    expect(provider.tokenRequests).toEqual([]);
  });
});

test('a network error names the address and the cause', async () => {
  const { server, origin } = await listenOnFreePort();
  await new Promise((done) => server.close(done)); // nothing listens there now
  await start({ env: { ...endpoints(), OAUTH2_TOKEN_URL: `${origin}/token` } });
  const page = await browser.go('/auth/login');
  expect(page.status).toBe(503);
  expect(log()).toContain(`no response to POST ${origin}/token: connect ECONNREFUSED`);
});
