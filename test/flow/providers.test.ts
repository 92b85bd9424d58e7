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
} from '../support/provider-shapes.ts';
import { writeRoutesFile } from '../support/routes-file.ts';

type Env = Readonly<Record<string, string | undefined>>;

let standIn: FakeProvider;
let latchkey: Latchkey;
let browser: Browser;

async function start(shape: ProviderShape, env: (url: string) => Env, secretFirst = ''): Promise<void> {
  standIn = await startFakeProvider(shape);
  const { clientId, clientSecret } = standIn.client;
  latchkey = await startLatchkey({
    ...{ apiUrl: standIn.url, clientId, clientSecret: secretFirst + clientSecret },
    env: env(standIn.url),
  });
  browser = new Browser(latchkey.origin);
}

afterEach(async () => {
  await latchkey.close();
  await standIn.close();
});

// The presets as they are, but for their addresses, which are the stand-in's.
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
const refresh = () =>
  browser.fetch('/auth/refresh', { method: 'POST', headers: { accept: 'application/json' } });

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
    'GitHub, where names may be null and ids are numbers,',
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
    'Second Brain Database, which has no user information,',
    secondBrainDatabase,
    secondBrainEnv,
    {},
    ['read:profile', 'read:data', 'write:data'],
  ],
])('a person signs in at %s with nothing but the preset', async (_what, shape, env, user, scope) => {
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
])("/api/profile is %s with the person's token", async (_what, shape, env, profile) => {
  await start(shape, env);
  expect((await browser.fetch('/api/profile')).status).toBe(401);
  await browser.go('/auth/login');
  const answer = await browser.fetch('/api/profile');
  expect(answer.json()).toMatchObject(profile);
  standIn.expireAccessTokens();
  const { status } = await browser.fetch('/api/profile');
  expect(status).toBe(shape === github ? 401 : 200); // GitHub gives nothing to renew it with
});

test('Spotify gives no new refresh token at a refresh, and the one it gave serves again', async () => {
  await start(spotify, spotifyEnv);
  await browser.go('/auth/login');
  expect((await refresh()).status).toBe(200);
  expect((await refresh()).status).toBe(200);
  const spent = standIn.tokenRequests.map((form) => form.get('refresh_token')).slice(1);
  expect(spent[0]).toHaveLength(48);
  expect(spent[1]).toBe(spent[0]);
  standIn.revokeAllTokens();
  expect((await refresh()).status).toBe(401);
  expect(await session()).toEqual({ authenticated: false });
});

const artist = '0TnOYISbd1XYRBk9myaseg';
const appGrants = () =>
  standIn.tokenRequests.filter((form) => form.get('grant_type') === 'client_credentials').length;

test('Spotify answers searches and artists to anybody, by a token of the application that is asked for once', async () => {
  await start(spotify, spotifyEnv);
  const searched = await browser.fetch('/api/search?q=x&type=track&limit=1');
  expect(searched.status).toBe(200);
  expect(searched.json()).toMatchObject({ tracks: { items: [{ type: 'track', name: 'x 0' }], limit: 1 } });
  const found = await browser.fetch(`/api/artists/${artist}`);
  expect(found.json()).toMatchObject({ type: 'artist', id: artist });
  expect((await browser.fetch('/api/search?q=x')).json()).toEqual({
    error: { status: 400, message: 'Missing parameter type' },
  });
  expect((await browser.fetch('/api/profile')).json()).toMatchObject({ error: 'login_required' });
  expect((await browser.fetch('/api/search', { method: 'POST' })).status).toBe(405);
  expect(appGrants()).toBe(1);
});

test('Spotify ends the token of the application early, and nobody notices: 50 calls, one more grant', async () => {
  await start(spotify, spotifyEnv);
  await browser.fetch(`/api/artists/${artist}`);
  standIn.expireAccessTokens();
  const calls = Array.from({ length: 50 }, () => browser.fetch(`/api/artists/${artist}`));
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(50).fill(200));
  expect(appGrants()).toBe(2);
});

test('Spotify says 429, and when to come back is passed on', async () => {
  await start(spotify, spotifyEnv);
  standIn.faults.set({ path: /^\/v1\/search$/, response: spotifyTooManyRequests });
  const refused = await browser.fetch('/api/search?q=x&type=track');
  expect([refused.status, refused.headers['retry-after']]).toEqual([429, '7']);
  expect(standIn.faults.count(/search/)).toBe(1);
});

test('Spotify does not know the application: 502 for its callers, and the log says what to set', async () => {
  await start(spotify, (url) => ({ ...spotifyEnv(url), OAUTH2_CLIENT_SECRET: 'wrong' }));
  for (let call = 0; call < 3; call += 1) {
    const refused = await browser.fetch(`/api/artists/${artist}`);
    expect(refused.status).toBe(502);
    expect(refused.json()).toMatchObject({ error: 'app_token_refused' });
  }
  expect(standIn.tokenRequests).toHaveLength(1);
  const errors = latchkey.logLines.filter(
    (line) => line.includes('"level":50') && line.includes('check OAUTH2_APP_CLIENT_ID'),
  );
  expect(errors).toHaveLength(1);
});

test('Spotify is asked with Basic authentication, and an app that sends the secret otherwise is refused', async () => {
  await start(spotify, (url) => ({ ...spotifyEnv(url), OAUTH2_CLIENT_AUTH: 'client_secret_post' }));
  const page = await browser.go('/auth/login');
  expect(page.status).toBe(503);
  expect(latchkey.logLines.join('')).toContain('invalid_client');
});

test.each([
  ['asks for time', spotifyTooManyRequests],
  [
    'has lost the token',
    { status: 401, body: '{"error":{"status":401,"message":"The access token expired"}}' },
  ],
  ['answers with a page', { status: 200, headers: { 'content-type': 'text/html' }, body: '<h1>Hello</h1>' }],
  ['hangs up', 'reset' as const],
  ['answers with a list', { status: 200, headers: { 'content-type': 'application/json' }, body: '[]' }],
])('a login stands without a name when the place of user information %s', async (_what, answer) => {
  await start(spotify, spotifyEnv);
  standIn.faults.set({ path: /^\/v1\/me$/, response: answer });
  expect((await browser.go('/auth/login')).url).toBe(`${latchkey.origin}/profile`);
  expect(await session()).toMatchObject({ authenticated: true, user: {} });
});

test('GitHub gives a token without an end and nothing to renew it with', async () => {
  await start(github, githubEnv);
  await browser.go('/auth/login');
  expect(await session()).toMatchObject({ access_token_expires_at: null });
  expect((await refresh()).json()).toMatchObject({ error: 'no_refresh_token' });
});

test('a GitHub App rotates refresh tokens, and a spent one ends the login although GitHub answers 200', async () => {
  await start(githubApp, githubEnv);
  await browser.go('/auth/login');
  expect((await refresh()).status).toBe(200);
  expect((await refresh()).status).toBe(200);
  const spent = standIn.tokenRequests.map((form) => form.get('refresh_token')).slice(1);
  expect(spent[1]).not.toBe(spent[0]);
  standIn.revokeAllTokens();
  expect((await refresh()).json()).toMatchObject({ error: 'login_required' });
  expect(await session()).toEqual({ authenticated: false });
});

test('GitHub saying inside 200 that the secret is wrong makes the other of two secrets be tried', async () => {
  await start(github, githubEnv, 'the-old-one,');
  expect((await browser.go('/auth/login')).status).toBe(200);
  expect(await session()).toMatchObject({ authenticated: true });
});

test('GitHub refusing a code inside 200 is a login that failed, not one that is put off', async () => {
  await start(github, githubEnv);
  standIn.alterTokenResponses(() => github.tokenErrors.code);
  expect((await browser.go('/auth/login')).status).toBe(400);
  expect(latchkey.logLines.join('')).toContain('invalid_grant');
  expect(await session()).toEqual({ authenticated: false });
});

test('Google is asked for a refresh token, and keeps it through refreshes that bring none', async () => {
  await start(google, googleEnv);
  await browser.go('/auth/login');
  const [asked] = standIn.authorizations;
  expect(asked?.get('access_type')).toBe('offline');
  expect(asked?.get('prompt')).toBe('consent');
  expect(asked?.get('nonce')).toBeTruthy();
  expect((await refresh()).status).toBe(200);
  expect((await refresh()).status).toBe(200);
  expect(await session()).toMatchObject({ authenticated: true });
});

test.each([
  ['the person of the ID token, and gives their name', '110169484474386276334', { name: 'Grace Elsewhere' }],
  ['somebody else than the ID token, and is not used', '666', { name: undefined }],
])('user information is that of %s', async (_what, id, user) => {
  const sub = '110169484474386276334';
  await start(googleWithOwnUserinfo(id), (url) => ({
    ...googleEnv(url),
    OAUTH2_USERINFO_URL: `${url}/v1/userinfo`,
    OAUTH2_USERINFO_CLAIMS: 'sub=id name=full_name',
  }));
  await browser.go('/auth/login');
  expect((await session()).user).toEqual({ sub, ...user });
});

test('Second Brain Database lives wherever its API is, and both tokens are revoked there at sign-out', async () => {
  await start(secondBrainDatabase, secondBrainEnv);
  await browser.go('/auth/login');
  expect((await browser.fetch('/api/profile')).json()).toEqual({
    username: 'mira',
    email: 'mira@example.test',
  });
  await browser.fetch('/auth/logout', { method: 'POST' });
  await latchkey.drain();
  expect(standIn.revoked).toHaveLength(2);
});

test('a route of the person or the application reads for anybody, and changes nothing for a session that has ended', async () => {
  const row = { path: '/artists/:id', target: '/v1/artists/:id', methods: { GET: {}, POST: {} } };
  await start(spotify, (url) => ({
    ...spotifyEnv(url),
    API_ROUTES_FILE: writeRoutesFile([{ ...row, token: 'user-or-app' }]),
  }));
  const path = `/api/artists/${artist}`;
  expect((await browser.fetch(path)).status).toBe(200);
  await browser.go('/auth/login');
  expect((await browser.fetch(path)).status).toBe(200);
  const tokensOf = () =>
    new Set(
      standIn.apiRequests
        .filter(({ path }) => path.includes('artists'))
        .map(({ headers }) => headers.authorization),
    );
  expect(tokensOf().size).toBe(2); // the application's, and then the person's
  const cookie = await browser.jar.getCookieString(latchkey.origin);
  await browser.fetch('/auth/logout', { method: 'POST' });
  const before = standIn.apiRequests.length;
  const late = (method: string) => fetch(latchkey.origin + path, { method, headers: { cookie } });
  expect((await late('POST')).status).toBe(401); // it was meant to be the person's own doing
  expect(standIn.apiRequests).toHaveLength(before);
  expect((await late('GET')).status).toBe(200);
});

test('an API that refuses every token of the application asks nobody to send a large body for ever', async () => {
  const row = { path: '/upload', target: '/v1/upload', methods: { POST: {} }, token: 'app' };
  await start(spotify, (url) => ({ ...spotifyEnv(url), API_ROUTES_FILE: writeRoutesFile([row]) }));
  standIn.faults.set({ path: /^\/v1\/upload$/, response: { status: 401 } });
  const send = async () =>
    (await browser.fetch('/api/upload', { method: 'POST', body: 'x'.repeat(70_000) })).json();
  expect(await send()).toMatchObject({ error: 'token_renewed', retryable: true });
  expect(await send()).toMatchObject({ error: 'app_token_refused' });
});
