import { once } from 'node:events';
import { WebSocket } from 'ws';
import { type Recorder, startRecorder } from '../hostile/support/recorder.ts';
import { Browser } from '../support/browser.ts';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.ts';
import { type Latchkey, startLatchkey } from '../support/latchkey.ts';
import { createOpenidProvider, type OpenidProviderOptions, signJwt } from '../support/openid-provider.ts';
import { writeRoutesFile } from '../support/routes-file.ts';

let options: OpenidProviderOptions;
let provider: FakeProvider;
let recorder: Recorder;
let latchkey: Latchkey;
let browser: Browser;
let offsetMs = 0;
/** What the next ID token says; `undefined` for a member that it does not have. */
let claims: Record<string, unknown> = {};
/** What the userinfo endpoint returns, if there is one. */
let userinfo: Record<string, unknown> | undefined;
/** How often the API got a note. */
let notes = 0;
/** Every other instance. */
let others: Latchkey[] = [];

const claimRules = { groups: { anyOf: ['staff'] }, email: { endsWith: '@example.com' } };
const createRoutes = () => [
  { path: '/profile', target: '/me', methods: { GET: { claims: claimRules } } },
  { path: '/live', target: '/live', methods: { GET: { claims: claimRules } }, webSocket: true },
  { path: '/staff', target: '/echo', methods: { GET: { claims: claimRules }, POST: {} } },
  { path: '/notes', target: '/notes', methods: { POST: { claims: claimRules } } },
  {
    path: '/who',
    target: `${recorder.url}/who`,
    methods: { GET: {} },
    token: 'none',
    identityHeaders: { 'X-User-Name': 'name', 'X-Groups': 'groups' },
  },
];
const staff = { groups: ['staff'], email: 'alice@example.com', email_verified: true };

async function startInstance(env: Readonly<Record<string, string>>): Promise<Latchkey> {
  return startLatchkey({
    ...{ issuer: provider.url, apiUrl: provider.url, ...provider.client, store: 'redis' as const },
    env: { OAUTH2_SCOPES: 'openid profile', API_ROUTES_FILE: writeRoutesFile(createRoutes()), ...env },
    deps: { now: () => Date.now() + offsetMs, elapsed: () => performance.now() + offsetMs },
  });
}

async function start(env: Readonly<Record<string, string>> = {}, hasUserinfo = false): Promise<void> {
  recorder = await startRecorder();
  const openid = createOpenidProvider();
  options = openid.options;
  options.issue = ({ header, claims: usual }) => signJwt(header, { ...usual, ...claims }, options.keys[0]!);
  provider = await startFakeProvider({
    ...openid.shape,
    api: [
      [/^\/userinfo$/, () => ({ status: userinfo ? 200 : 500, body: { sub: 'alice', ...userinfo } })],
      [/^\/me$/, () => ({ status: 200, body: { plan: 'from the API' } })],
      [/^\/echo$/, () => ({ status: 200, body: {} })],
      [
        /^\/notes$/,
        () => {
          notes += 1;
          return { status: 201, body: {} };
        },
      ],
    ],
  });
  if (hasUserinfo) options.metadata = { userinfo_endpoint: `${provider.url}/userinfo` };
  latchkey = await startInstance(env);
  browser = new Browser(latchkey.origin);
}

beforeEach(() => {
  [offsetMs, claims, userinfo, notes, others] = [0, {}, undefined, 0, []];
});

afterEach(async () => {
  for (const each of [latchkey, ...others]) await each.close();
  await provider.close();
  await recorder.close();
});

const signIn = () => browser.go('/auth/login');
const refresh = async () => {
  offsetMs += 10_000;
  return browser.fetch('/auth/refresh', { method: 'POST', headers: { accept: 'application/json' } });
};
const get = (path: string, headers: Record<string, string> = {}) =>
  browser.fetch(path, { headers: { accept: 'application/json', ...headers } });
const session = async () => (await get('/auth/session')).json() as Record<string, unknown>;

test('a rule decides per method, and its refusal does not say what it is', async () => {
  await start({ SUPPORT_URL: 'mailto:help@example.com' });
  claims = { ...staff, groups: ['sales'] };
  await signIn();
  const refused = await get('/api/staff');
  expect(refused.status).toBe(403);
  expect(refused.json()).toMatchObject({
    error: 'insufficient_claims',
    support_url: 'mailto:help@example.com',
  });
  expect(refused.text).not.toMatch(/groups|staff"|login_url/);
  expect(latchkey.logLines.join('')).toContain('the claim groups, an array, does not meet anyOf');
  const page = await browser.go('/api/staff');
  expect(page.text).toContain('href="mailto:help@example.com"');
  expect((await browser.fetch('/api/staff', { method: 'HEAD' })).status).toBe(403);
  expect((await browser.fetch('/api/staff', { method: 'POST' })).status).toBe(200);
});

test('a saved form is submitted only if the user meets the rule then', async () => {
  await start();
  claims = staff;
  await signIn();
  const sendAndSignIn = async () => {
    offsetMs += 604_800_000;
    const refused = await browser.step('/api/notes', {
      method: 'POST',
      from: `${latchkey.origin}/`,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: 'title=Paint',
    });
    expect(refused.status).toBe(401);
    const loginLink = /href="([^"]*\/auth\/login[^"]*resume[^"]*)"/.exec(refused.text)![1]!;
    return browser.go(loginLink.replaceAll('&amp;', '&').replaceAll('&#38;', '&'));
  };
  const form = await sendAndSignIn();
  expect(form.text).toContain('Paint');
  expect((await browser.submit(form, {}, { action: '/auth/resume/' })).status).toBe(201);
  expect(notes).toBe(1);

  claims = { ...staff, groups: ['sales'] };
  const formOfOther = await sendAndSignIn();
  const refused = await browser.submit(formOfOther, {}, { action: '/auth/resume/' });
  expect([refused.status, refused.headers['latchkey-error']]).toEqual([403, 'insufficient_claims']);
  expect(notes).toBe(1);
});

test('claims follow a refresh, on another instance too; what its ID token omits keeps its value', async () => {
  await start();
  claims = staff;
  await signIn();
  expect((await get('/api/staff')).status).toBe(200);
  const other = await startInstance({ OAUTH2_REDIRECT_URI: `${latchkey.origin}/auth/callback` });
  others.push(other);
  const cookie = await browser.jar.getCookieString(latchkey.origin);
  const there = () => fetch(`${other.origin}/api/staff`, { headers: { cookie } });
  expect((await there()).status).toBe(200);
  claims = { groups: undefined };
  await refresh();
  expect((await get('/api/staff')).status).toBe(200);
  claims = { ...staff, groups: [] };
  await refresh();
  expect((await get('/api/staff')).status).toBe(403);
  offsetMs += 1000; // more than SESSION_CACHE_MS
  expect((await there()).status).toBe(403);
  claims = { ...staff, email: 'alice@example.com', email_verified: false };
  await refresh();
  expect((await get('/api/staff')).status).toBe(403);
  claims = staff;
  await refresh();
  expect((await get('/api/staff')).status).toBe(200);
});

test('OAUTH2_SESSION_CLAIMS selects what scripts see; missing ones are fetched from the userinfo endpoint', async () => {
  userinfo = { realm_access: { roles: ['editor'] }, secret: 1 };
  await start({ OAUTH2_SESSION_CLAIMS: 'sub realm_access.roles' }, true);
  await signIn();
  expect((await session()).user).toEqual({ sub: 'alice', realm_access: { roles: ['editor'] } });
  userinfo = {};
  await refresh();
  expect((await session()).user).toEqual({ sub: 'alice' });
});

test('identity headers say who the user is, whatever the browser sends', async () => {
  await start();
  expect((await get('/api/who')).status).toBe(401);
  claims = { name: 'Zoë\nX-Admin: 1', groups: ['a', 'b,c'] };
  await signIn();
  const sent = {
    'x-user-name': 'Mallory',
    x_user_name: 'Mallory',
    'x-groups': 'admin',
    'X-User_Name': 'Mallory',
  };
  expect((await get('/api/who', sent)).status).toBe(200);
  const received = Object.fromEntries(recorder.requests.at(-1)?.headers ?? []);
  expect(received).toMatchObject({ 'x-user-name': 'Zo%C3%AB%0AX-Admin: 1', 'x-groups': 'a,b%2Cc' });
  expect(JSON.stringify(received)).not.toMatch(/Mallory|admin"/);
  expect(received).not.toHaveProperty('authorization');
});

describe('LOGIN_ALLOWED', () => {
  const env = {
    LOGIN_ALLOWED: 'groups anyOf staff and email endsWith @example.com',
    SUPPORT_URL: 'https://help.example.com',
  };

  test('refuses a login, revokes its tokens, and names whom to contact', async () => {
    await start(env);
    claims = { ...staff, groups: 'sales' };
    const page = await signIn();
    expect(page.status).toBe(403);
    expect(page.text).toContain('href="https://help.example.com"');
    expect(page.text).toMatch(/href="\/auth\/login\?return_to=[^"]*prompt=login"/);
    expect((await session()).authenticated).toBe(false);
    await latchkey.tokens.drain();
    expect(provider.revoked).not.toHaveLength(0);
    claims = staff;
    expect((await signIn()).status).toBe(200);
    expect((await session()).authenticated).toBe(true);
  });

  test('ends the session after a refresh that changes the claims, not after one that omits them', async () => {
    await start(env);
    claims = staff;
    await signIn();
    claims = {};
    expect((await refresh()).status).toBe(200);
    claims = { groups: ['sales'] };
    expect((await refresh()).status).toBe(401);
    expect(await session()).toEqual({ authenticated: false, reason: 'ended_by_administrator' });
    expect(latchkey.logLines.join('')).toContain('ended_by_administrator');
  });

  test('a userinfo endpoint that fails does not refuse the user', async () => {
    await start(env, true);
    expect((await signIn()).status).toBe(503);
    userinfo = staff;
    expect((await signIn()).status).toBe(200);
  });
});

test('the profile page does not show what the rule of its route refuses', async () => {
  await start();
  claims = { ...staff, groups: ['sales'] };
  await signIn();
  expect((await browser.go('/profile')).text).not.toContain('from the API');
  claims = staff;
  await refresh();
  expect((await browser.go('/profile')).text).toContain('from the API');
});

test('a rule also decides about WebSockets', async () => {
  await start();
  claims = { ...staff, groups: [] };
  await signIn();
  const socket = new WebSocket(`${latchkey.origin.replace('http', 'ws')}/api/live`, {
    headers: { cookie: await browser.jar.getCookieString(latchkey.origin), origin: latchkey.origin },
  });
  const [, response] = await once(socket, 'unexpected-response');
  expect(response.statusCode).toBe(403);
  expect(response.headers['latchkey-error']).toBe('insufficient_claims');
});
