import request from 'supertest';
import { Browser } from '../support/browser.ts';
import { type FakeProvider, type ProviderShape, startFakeProvider } from '../support/fake-provider.ts';
import { type Latchkey, startLatchkey } from '../support/latchkey.ts';
import {
  github,
  githubApp,
  google,
  googleWithOwnUserinfo,
  secondBrainDatabase,
  spotify,
  spotifyTooManyRequests,
} from '../support/provider-variants.ts';
import { writeRoutesFile } from '../support/routes-file.ts';

type Env = Readonly<Record<string, string | undefined>>;

let provider: FakeProvider;
let latchkey: Latchkey;
let browser: Browser;
let offsetMs = 0;

async function start(
  shape: ProviderShape,
  env: (url: string) => Env,
  rejectedSecret?: string,
): Promise<void> {
  provider = await startFakeProvider(shape);
  const { clientId, clientSecret } = provider.client;
  latchkey = await startLatchkey({
    deps: { now: () => Date.now() + offsetMs, elapsed: () => performance.now() + offsetMs },
    ...{ apiUrl: provider.url, clientId, clientSecret: rejectedSecret ?? clientSecret },
    env: { ...env(provider.url), ...(rejectedSecret && { OAUTH2_CLIENT_SECRET_NEXT: clientSecret }) },
  });
  browser = new Browser(latchkey.origin);
}

afterEach(async () => {
  await latchkey.close();
  await provider.close();
});

// The presets unchanged, except for their URLs, which are those of the fake provider.
const spotifyEnv = (url: string): Env => ({
  OAUTH2_PROVIDER: 'spotify',
  OAUTH2_AUTHORIZATION_URL: `${url}/authorize`,
  OAUTH2_TOKEN_URL: `${url}/api/token`,
  OAUTH2_USERINFO_URL: `${url}/v1/me`,
});
const githubEnv = (url: string): Env => ({
  OAUTH2_PROVIDER: 'github',
  OAUTH2_AUTHORIZATION_URL: `${url}/login/oauth/authorize`,
  OAUTH2_TOKEN_URL: `${url}/login/oauth/access_token`,
  OAUTH2_USERINFO_URL: `${url}/user`,
});
const googleEnv = (url: string): Env => ({ OAUTH2_PROVIDER: 'google', OAUTH2_ISSUER: url });
const secondBrainEnv = (): Env => ({ OAUTH2_PROVIDER: 'second-brain-database' });

const session = async () => (await browser.fetch('/auth/session')).json() as Record<string, unknown>;
/** Each one is five seconds after the last: Latchkey does not refresh more often on request. */
function refresh() {
  offsetMs += 5_000;
  return browser.fetch('/auth/refresh', { method: 'POST', headers: { accept: 'application/json' } });
}

test.each<[string, ProviderShape, (url: string) => Env, unknown, string[]]>([
  [
    'Spotify',
    spotify,
    spotifyEnv,
    {
      sub: 'jamie',
      name: 'Jamie Listener',
      email: 'jamie@example.test',
      picture: 'https://i.scdn.co/image/jamie',
    },
    ['user-read-private', 'user-read-email'],
  ],
  [
    'GitHub, which returns null names and numeric ids',
    github,
    githubEnv,
    { sub: '583231', name: 'octo', picture: 'https://avatars.githubusercontent.com/u/583231' },
    ['read:user', 'user:email'],
  ],
  [
    'Google',
    google,
    googleEnv,
    {
      sub: '110169484474386276334',
      name: 'Grace Google',
      email: 'grace@example.test',
      picture: 'https://lh3.googleusercontent.com/a/grace',
    },
    [
      'openid',
      'https://www.googleapis.com/auth/userinfo.email',
      'https://www.googleapis.com/auth/userinfo.profile',
    ],
  ],
  [
    'Second Brain Database, which has no userinfo',
    secondBrainDatabase,
    secondBrainEnv,
    {},
    ['read:profile', 'read:data', 'write:data'],
  ],
])('the preset alone is enough to sign in with %s', async (_what, shape, env, user, scope) => {
  await start(shape, env);
  const page = await browser.go('/auth/login');
  expect(page.url).toBe(`${latchkey.origin}/profile`);
  expect(page.status).toBe(200);
  expect(await session()).toMatchObject({ authenticated: true, user, scope, token_type: 'bearer' });
});

test.each<[string, ProviderShape, (url: string) => Env, object]>([
  ['/v1/me of Spotify', spotify, spotifyEnv, { display_name: 'Jamie Listener', product: 'premium' }],
  ['/user of GitHub', github, githubEnv, { login: 'octo', id: 583_231 }],
  ['/oauth2/v3/userinfo of Google', google, googleEnv, { sub: '110169484474386276334' }],
  ['/api/user/profile of Second Brain Database', secondBrainDatabase, secondBrainEnv, { username: 'mira' }],
])("/api/profile calls %s with the user's token", async (_what, shape, env, profile) => {
  await start(shape, env);
  expect((await browser.fetch('/api/profile')).status).toBe(401);
  await browser.go('/auth/login');
  const response = await browser.fetch('/api/profile');
  expect(response.json()).toMatchObject(profile);
  provider.expireAccessTokens();
  const { status } = await browser.fetch('/api/profile');
  expect(status).toBe(shape === github ? 401 : 200); // GitHub issues no refresh token
});

test('Spotify returns no new refresh token, and Latchkey reuses the existing one until Spotify rejects it', async () => {
  await start(spotify, spotifyEnv);
  await browser.go('/auth/login');
  expect((await refresh()).status).toBe(200);
  expect((await refresh()).status).toBe(200);
  const refreshTokens = provider.tokenRequests.map((form) => form.get('refresh_token')).slice(1);
  expect(refreshTokens[0]).toHaveLength(48);
  expect(refreshTokens[1]).toBe(refreshTokens[0]);
  provider.revokeAllTokens();
  expect((await refresh()).status).toBe(401);
  expect(await session()).toEqual({ authenticated: false });
});

const artist = '0TnOYISbd1XYRBk9myaseg';
const appGrants = () =>
  provider.tokenRequests.filter((form) => form.get('grant_type') === 'client_credentials').length;

test('the search and artist routes of Spotify need no session and share one app token', async () => {
  await start(spotify, spotifyEnv);
  const search = await browser.fetch('/api/search?q=x&type=track&limit=1');
  expect(search.status).toBe(200);
  expect(search.json()).toMatchObject({ tracks: { items: [{ type: 'track', name: 'x 0' }], limit: 1 } });
  const artistResponse = await browser.fetch(`/api/artists/${artist}`);
  expect(artistResponse.json()).toMatchObject({ type: 'artist', id: artist });
  expect((await browser.fetch('/api/search?q=x')).json()).toEqual({
    error: { status: 400, message: 'Missing parameter type' },
  });
  expect((await browser.fetch('/api/profile')).json()).toMatchObject({ error: 'login_required' });
  expect((await browser.fetch('/api/search', { method: 'POST' })).status).toBe(405);
  expect(appGrants()).toBe(1);
});

test('when Spotify ends an app token early, 50 parallel calls succeed after one token request', async () => {
  await start(spotify, spotifyEnv);
  await browser.fetch(`/api/artists/${artist}`);
  provider.expireAccessTokens();
  const calls = Array.from({ length: 50 }, () => browser.fetch(`/api/artists/${artist}`));
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(50).fill(200));
  expect(appGrants()).toBe(2);
});

test('a 429 from Spotify is passed through with its Retry-After', async () => {
  await start(spotify, spotifyEnv);
  provider.faults.set({ path: /^\/v1\/search$/, response: spotifyTooManyRequests });
  const rejected = await browser.fetch('/api/search?q=x&type=track');
  expect([rejected.status, rejected.headers['retry-after']]).toEqual([429, '7']);
  expect(provider.faults.count(/search/)).toBe(1);
});

test('with client credentials that Spotify rejects, callers get 502 and the log names the variables to check', async () => {
  await start(spotify, (url) => ({ ...spotifyEnv(url), OAUTH2_CLIENT_SECRET: 'wrong' }));
  for (let call = 0; call < 3; call += 1) {
    const rejected = await browser.fetch(`/api/artists/${artist}`);
    expect(rejected.status).toBe(502);
    expect(rejected.json()).toMatchObject({ error: 'app_token_refused' });
  }
  expect(provider.tokenRequests).toHaveLength(1);
  const errors = latchkey.logLines.filter(
    (line) => line.includes('"level":"error"') && line.includes('check OAUTH2_APP_CLIENT_ID'),
  );
  expect(errors).toHaveLength(1);
});

test('Spotify accepts only HTTP Basic, so a login with client_secret_post fails', async () => {
  await start(spotify, (url) => ({ ...spotifyEnv(url), OAUTH2_CLIENT_AUTH: 'client_secret_post' }));
  const page = await browser.go('/auth/login');
  expect(page.status).toBe(503);
  expect(latchkey.logLines.join('')).toContain('invalid_client');
});

test.each([
  ['responds with 429', spotifyTooManyRequests],
  [
    'responds with 401',
    { status: 401, body: '{"error":{"status":401,"message":"The access token expired"}}' },
  ],
  [
    'responds with an HTML page',
    { status: 200, headers: { 'content-type': 'text/html' }, body: '<h1>Hello</h1>' },
  ],
  ['resets the connection', 'reset' as const],
  [
    'responds with a JSON array',
    { status: 200, headers: { 'content-type': 'application/json' }, body: '[]' },
  ],
])('a login succeeds without a name when the userinfo endpoint %s', async (_what, response) => {
  await start(spotify, spotifyEnv);
  provider.faults.set({ path: /^\/v1\/me$/, response: response });
  expect((await browser.go('/auth/login')).url).toBe(`${latchkey.origin}/profile`);
  expect(await session()).toMatchObject({ authenticated: true, user: {} });
});

test('a GitHub token has no expiry, and a refresh fails with no_refresh_token', async () => {
  await start(github, githubEnv);
  await browser.go('/auth/login');
  expect(await session()).toMatchObject({ access_token_expires_at: null });
  expect((await refresh()).json()).toMatchObject({ error: 'no_refresh_token' });
});

test('a GitHub App rotates refresh tokens, and a rejected one ends the session although GitHub responds with 200', async () => {
  await start(githubApp, githubEnv);
  await browser.go('/auth/login');
  expect((await refresh()).status).toBe(200);
  expect((await refresh()).status).toBe(200);
  const refreshTokens = provider.tokenRequests.map((form) => form.get('refresh_token')).slice(1);
  expect(refreshTokens[1]).not.toBe(refreshTokens[0]);
  provider.revokeAllTokens();
  expect((await refresh()).json()).toMatchObject({ error: 'login_required' });
  expect(await session()).toEqual({ authenticated: false });
});

test('when GitHub rejects the client secret in a 200 response, Latchkey tries the second secret', async () => {
  await start(github, githubEnv, 'the-old-secret-of-the-client');
  expect((await browser.go('/auth/login')).status).toBe(200);
  expect(await session()).toMatchObject({ authenticated: true });
});

test('when GitHub rejects the code in a 200 response, the login fails with 400 instead of 503', async () => {
  await start(github, githubEnv);
  provider.alterTokenResponses(() => github.tokenErrors.code);
  expect((await browser.go('/auth/login')).status).toBe(400);
  expect(latchkey.logLines.join('')).toContain('invalid_grant');
  expect(await session()).toEqual({ authenticated: false });
});

test('Latchkey requests a refresh token from Google and keeps it when a refresh returns none', async () => {
  await start(google, googleEnv);
  await browser.go('/auth/login');
  const [authorization] = provider.authorizations;
  expect(authorization?.get('access_type')).toBe('offline');
  expect(authorization?.get('prompt')).toBe('consent');
  expect(authorization?.get('nonce')).toBeTruthy();
  expect((await refresh()).status).toBe(200);
  expect((await refresh()).status).toBe(200);
  expect(await session()).toMatchObject({ authenticated: true });
});

test.each([
  [
    'supplies the name when its id matches the ID token',
    '110169484474386276334',
    { name: 'Grace Elsewhere' },
  ],
  ['is ignored when its id differs from the ID token', '666', { name: undefined }],
])('userinfo %s', async (_what, id, user) => {
  const sub = '110169484474386276334';
  await start(googleWithOwnUserinfo(id), (url) => ({
    ...googleEnv(url),
    OAUTH2_USERINFO_URL: `${url}/v1/userinfo`,
    OAUTH2_USERINFO_CLAIMS: 'sub=id name=full_name',
  }));
  await browser.go('/auth/login');
  expect((await session()).user).toEqual({ sub, ...user });
});

test('the Second Brain Database preset uses the origin of the API, and sign-out revokes both tokens there', async () => {
  await start(secondBrainDatabase, secondBrainEnv);
  await browser.go('/auth/login');
  expect((await browser.fetch('/api/profile')).json()).toEqual({
    username: 'mira',
    email: 'mira@example.test',
  });
  await browser.fetch('/auth/logout', { method: 'POST' });
  await latchkey.drain();
  expect(provider.revoked).toHaveLength(2);
});

test('a user-or-app route serves a GET without a session, and rejects a POST with the cookie of an ended session', async () => {
  const row = { path: '/artists/:id', target: '/v1/artists/:id', methods: { GET: {}, POST: {} } };
  await start(spotify, (url) => ({
    ...spotifyEnv(url),
    API_ROUTES_FILE: writeRoutesFile([{ ...row, token: 'user-or-app' }]),
  }));
  const path = `/api/artists/${artist}`;
  expect((await browser.fetch(path)).status).toBe(200);
  await browser.go('/auth/login');
  expect((await browser.fetch(path)).status).toBe(200);
  const artistTokens = () =>
    new Set(
      provider.apiRequests
        .filter(({ path }) => path.includes('artists'))
        .map(({ headers }) => headers.authorization),
    );
  expect(artistTokens().size).toBe(2); // the app token, then the user's token
  const cookie = await browser.jar.getCookieString(latchkey.origin);
  await browser.fetch('/auth/logout', { method: 'POST' });
  const before = provider.apiRequests.length;
  await request(latchkey.origin).post(path).set({ cookie }).expect(401); // the user meant to act as themselves
  expect(provider.apiRequests).toHaveLength(before);
  await request(latchkey.origin).get(path).set({ cookie }).expect(200);
});

test('when the API rejects every app token, a large upload gets token_renewed once and then app_token_refused', async () => {
  const row = { path: '/upload', target: '/v1/upload', methods: { POST: {} }, token: 'app' };
  await start(spotify, (url) => ({ ...spotifyEnv(url), API_ROUTES_FILE: writeRoutesFile([row]) }));
  provider.faults.set({ path: /^\/v1\/upload$/, response: { status: 401 } });
  const send = async () =>
    (await browser.fetch('/api/upload', { method: 'POST', body: 'x'.repeat(70_000) })).json();
  expect(await send()).toMatchObject({ error: 'token_renewed', retryable: true });
  expect(await send()).toMatchObject({ error: 'app_token_refused' });
});
