import { setTimeout as delay } from 'node:timers/promises';
import { defaultRouteTable } from '../../src/config/route-table.ts';
import { storeUnavailable } from '../../src/errors.ts';
import type { Browser } from '../support/browser.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, type World } from '../support/world.ts';
import {
  collectCookies,
  collectSecrets,
  findings,
  type Secrets,
  valuesInRedis,
} from './support/leak-scan.ts';
import { readRecord, readSession } from './support/logged-in.ts';

const plain = 'read:profile read:data';
const json = { accept: 'application/json' };
/** What somebody enters when their session has ended. */
const wish = 'my-very-secret-wish-of-today';

/** How the token endpoint can fail; a word in capitals is told to the client as the server would say it back. */
const failures = [
  { status: 500, error: 'server_error', description: 'cannot store REFRESH for SECRET' },
  {
    status: 400,
    error: 'invalid_request',
    description: 'refresh_token=REFRESH&client_secret=SECRET is malformed',
  },
  { status: 400, error: 'REFRESH', description: 'SECRET' },
  { status: 401, error: 'invalid_client', description: 'Authorization was Basic BASIC' },
  { status: 429, error: 'slow_down', description: '"REFRESH","SECRET"' },
  { status: 200, error: 'invalid_request', description: 'an error in a 200: REFRESH' },
] as const;

describe.each([
  ['without OpenID', plain],
  ['with OpenID', `openid profile email offline_access ${plain}`],
])('through everything that can happen to a person signed in %s', (_how, scope) => {
  let world: World;
  let secrets: Secrets;
  let browsers: Browser[];
  let keptInRedis: string[];

  beforeAll(async () => {
    const app = {
      path: '/app',
      target: '/api/user/data',
      methods: { GET: { allOf: ['read:data'] } },
      token: 'app',
    };
    const API_ROUTES_FILE = writeRoutesFile([...defaultRouteTable.routes, app]);
    world = await createWorld({ accessTokenSeconds: 100, env: { OAUTH2_SCOPES: scope, API_ROUTES_FILE } });
    secrets = collectSecrets(world);
    browsers = [];
    keptInRedis = [];
    await wholeLife();
    await world.latchkey.drain();
    for (const browser of browsers) collectCookies(browser, secrets);
    for (const token of [...world.issued.access, ...world.issued.refresh]) secrets.tokens.add(token);
  }, 30_000);
  afterAll(() => world.close());

  function newBrowser(): Browser {
    const browser = world.browser();
    browsers.push(browser);
    return browser;
  }
  const remember = async () => keptInRedis.push(...(await valuesInRedis()));
  const status = async (answer: Promise<{ status: number }>) => (await answer).status;
  const refresh = (browser: Browser) => browser.fetch('/auth/refresh', { method: 'POST', headers: json });

  async function wholeLife(): Promise<void> {
    const browser = newBrowser();
    await world.signIn(browser);
    expect(await status(browser.fetch('/api/profile'))).toBe(200);
    expect(await status(browser.fetch('/auth/session'))).toBe(200);
    expect(await status(refresh(browser))).toBe(200);
    const profile = await browser.go('/profile');
    expect((await browser.submit(profile, {}, { action: '/auth/refresh' })).text).toContain('was renewed');
    await remember();

    await failingRefreshes(browser);
    world.clock.advance(101); // expired: the next call refreshes before it goes on
    expect(await status(browser.fetch('/api/data'))).toBe(200);

    expect(await status(browser.fetch('/api/data', { method: 'POST', body: '{}' }))).toBe(403); // no write:data
    await world.signIn(browser, 'alice', '/auth/login?scope=write:data&return_to=/profile'); // step-up
    const { id } = await readSession(browser);
    expect((await readRecord(world, id))?.tokens.scope).toContain('write:data');
    await remember();

    await failingApi(browser);
    await failingStores(browser);
    await failingCallbacks();
    await errorPages(browser);
    await refusedTokens(browser);

    await browser.submit(await browser.go('/auth/logout'), {}, { action: '/auth/logout' });
    expect(await status(browser.fetch('/api/profile'))).toBe(401);
    await endedByProvider();
    await remember();
  }

  async function failingRefreshes(browser: Browser): Promise<void> {
    for (const { status: answered, error, description } of failures) {
      world.clock.advance(60); // past what is remembered of the failure before
      await world.latchkey.drain();
      const { id } = await readSession(browser);
      const { refreshToken } = (await readRecord(world, id))!.tokens;
      const { clientId, clientSecret } = world.client;
      const said = (text: string) =>
        text
          .replace('REFRESH', refreshToken!)
          .replace('SECRET', clientSecret)
          .replace(
            'BASIC',
            Buffer.from(`${clientId}:${encodeURIComponent(clientSecret)}`).toString('base64'),
          );
      for (const type of ['application/json', 'text/html']) {
        const body = JSON.stringify({ error: said(error), error_description: said(description) });
        const headers = {
          'content-type': type,
          'www-authenticate': `Basic realm="${said(description).replaceAll('"', '')}"`,
        };
        world.providerFaults.set({ path: /^\/token$/, response: { status: answered, headers, body } });
        await refresh(browser);
        await browser.fetch('/api/profile');
        await browser.go('/profile');
        world.providerFaults.set(undefined);
        if (!(await readRecord(world, id))) break; // a final refusal ended the login
        await recovered(browser);
      }
      if (!(await readRecord(world, id))) await world.signIn(browser);
    }
    for (const answer of ['reset', { status: 200, body: `{"access_token":"${'x'.repeat(43)}"` }] as const) {
      world.clock.advance(60);
      world.providerFaults.set({ path: /^\/token$/, response: answer });
      await refresh(browser);
      await browser.fetch('/api/profile');
      world.providerFaults.set(undefined);
    }
    await recovered(browser);
  }

  /** Past what is remembered of a failure, and with the circuit breaker closed, which keeps real time. */
  async function recovered(browser: Browser): Promise<void> {
    for (let tries = 0; (await status(refresh(browser))) !== 200; tries += 1) {
      if (tries > 100) throw new Error('the provider is well, and no refresh works');
      world.clock.advance(5);
      await delay(50);
    }
  }

  async function failingApi(browser: Browser): Promise<void> {
    for (const answer of ['reset', { status: 500, body: 'oh' }, { status: 401, body: '{}' }] as const) {
      world.apiFaults.set({ response: answer });
      await browser.fetch('/api/profile');
      await browser.go('/profile');
    }
    world.apiFaults.set(undefined);
  }

  /** As ioredis fails: the command, with its key and what was to be written, hangs on the error. */
  async function failingStores(browser: Browser): Promise<void> {
    const { tokenStore, sessionStore } = world.latchkey.deps;
    const { id, value } = await readSession(browser);
    const record = await readRecord(world, id);
    const command = { name: 'set', args: [`{sess:${id}}:tokens`, JSON.stringify(record), value] };
    const failure = () => Object.assign(new Error('Connection is closed.'), { command, record });
    const [get, take, load] = [tokenStore.get, tokenStore.take, sessionStore.get];
    const fail = () => Promise.reject(storeUnavailable(failure()));
    Object.assign(tokenStore, { get: fail, take: fail });
    for (const path of ['/', '/profile', '/login', '/auth/session', '/auth/logout']) await browser.go(path);
    expect(await status(browser.fetch('/api/profile'))).toBe(503);
    expect(await status(refresh(browser))).toBe(503);
    expect(await status(browser.fetch('/auth/logout', { method: 'POST' }))).toBe(503);
    Object.assign(tokenStore, { get, take });
    sessionStore.get = (_id, done) => done(failure());
    expect(await status(browser.go('/profile'))).toBe(503);
    expect(await status(refresh(browser))).toBe(503);
    sessionStore.get = load;
    expect(await status(browser.fetch('/api/profile'))).toBe(200);
  }

  async function failingCallbacks(): Promise<void> {
    const denying = newBrowser();
    const login = await denying.go('/auth/login');
    const denied = await denying.submit(login, { decision: 'cancel' }, { action: '/login' });
    expect([denied.status, new URL(denied.url).pathname]).toEqual([403, '/auth/callback']);

    for (const answer of [
      'reset',
      { status: 500, body: '{"error":"server_error"}' },
      { status: 400, body: '' },
    ] as const) {
      const failing = newBrowser();
      world.providerFaults.set({ path: /^\/token$/, response: answer });
      const page = await world.signIn(failing);
      expect(page.status).toBeGreaterThanOrEqual(400);
      world.providerFaults.set(undefined);
      for (const [, code] of page.url.matchAll(/[?&]code=([^&]+)/g)) secrets.codes.add(code!);
      await failing.step(page.url); // a reload, while the code is in the address
      await failing.step(`${page.url}&iss=x`);
      await failing.step(page.url.replace('state=', 'state=A'));
      await failing.step(page.url, { method: 'POST' });
    }
  }

  async function errorPages(browser: Browser): Promise<void> {
    const { cookie } = await readSession(browser);
    for (const path of [
      '/unknown',
      '/api/unknown',
      '/auth/callback',
      '/%',
      '/auth/refresh',
      '/assets/%2e%2e/x',
    ]) {
      await browser.step(path);
      await browser.fetch(path, { headers: { ...json, 'x-custom': cookie } });
      await browser.fetch(path, { method: 'DELETE' });
    }
    await browser.fetch('/auth/logout', { method: 'POST', headers: { 'sec-fetch-site': 'cross-site' } });
  }

  /** The API refuses tokens, saying them back; then wants another login, saying why with one. */
  async function refusedTokens(browser: Browser): Promise<void> {
    for (const challenge of ['Bearer', 'Bearer error="insufficient_user_authentication", max_age="9"']) {
      const headers = { 'www-authenticate': `${challenge}, realm="${world.issued.access.at(-1)}"` };
      world.apiFaults.set({ response: { status: 401, headers, body: '{}' } });
      for (const path of ['/api/data', '/api/app']) expect(await status(browser.fetch(path))).toBe(401);
      expect(await status(browser.fetch('/api/data', { method: 'POST', body: 'x'.repeat(70_000) }))).toBe(
        401,
      );
    }
    world.apiFaults.set(undefined);
    world.providerFaults.set({
      path: /^\/token$/,
      response: { status: 401, body: '{"error":"invalid_client"}' },
    });
    world.clock.advance(3600); // the application's own has expired, too
    expect(await status(browser.fetch('/api/app'))).toBe(502);
    world.providerFaults.set(undefined);
    world.clock.advance(60);
    expect(await status(browser.fetch('/api/app'))).toBeGreaterThanOrEqual(200);
    await remember();
  }

  /** The refresh token is dead: the provider says `invalid_grant` of its own accord. */
  async function endedByProvider(): Promise<void> {
    const browser = newBrowser();
    await world.signIn(browser);
    const { refreshToken } = (await readRecord(world, (await readSession(browser)).id))!.tokens;
    const token = await world.provider.provider.RefreshToken.find(refreshToken!);
    await token!.destroy();
    expect(await status(refresh(browser))).toBe(401);
    expect(await status(browser.fetch('/api/profile'))).toBe(401);
    const form = { method: 'POST', from: world.origin, body: new URLSearchParams({ wish }).toString() };
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const page = await browser.step('/api/data', { ...form, headers });
    expect(page.status).toBe(401);
    expect(page.text.includes('is kept')).toBe(scope.includes('openid')); // else nobody could prove whose it is
  }

  const ofOurs = () =>
    browsers.flatMap(({ exchanges }) => exchanges.filter(({ url }) => url.startsWith(world.origin)));
  const ofProvider = () =>
    browsers.flatMap(({ exchanges }) => exchanges.filter(({ url }) => url.startsWith(world.provider.issuer)));

  test('there is something to leak, and it would be found', () => {
    const { tokens, verifiers, codes, keys, cookies } = secrets;
    for (const set of [tokens, verifiers, codes, cookies]) expect(set.size).toBeGreaterThan(3);
    expect([...tokens].some((each) => each.startsWith('eyJ'))).toBe(scope.includes('openid'));
    expect(world.latchkey.logLines.length).toBeGreaterThan(50);
    expect(ofOurs().length).toBeGreaterThan(50);
    for (const secret of [tokens, verifiers, codes, keys, cookies].flatMap((set) => [...set])) {
      expect(secret.length).toBeGreaterThan(15);
      const spelt = [secret, encodeURIComponent(secret), Buffer.from(`a ${secret} b`).toString('base64url')];
      for (const text of spelt) expect(findings([`x${text}y`], new Set([secret]))).toHaveLength(1);
    }
  });

  test('no line of the log holds a token, code, verifier, secret, cookie or session id', () => {
    const { tokens, verifiers, codes, keys, cookies } = secrets;
    expect(
      findings(world.latchkey.logLines, tokens, verifiers, codes, keys, cookies, new Set([wish])),
    ).toEqual([]);
  });

  test('nothing the browser gets from us holds a token, verifier or secret', () => {
    const got = ofOurs().map((each) => each.response);
    expect(findings(got, secrets.tokens, secrets.verifiers, secrets.keys)).toEqual([]);
  });

  test('nothing the browser sends us, or exchanges with the provider, holds a token, verifier or secret', () => {
    const texts = [
      ...ofProvider().flatMap(({ request, response }) => [request, response]),
      ...ofOurs().map(({ request }) => request),
    ];
    expect(findings(texts, secrets.tokens, secrets.verifiers, secrets.keys)).toEqual([]);
  });

  test('a code is in the redirect of the provider and the address of the callback, and nowhere else', () => {
    const beyond = [
      ...ofOurs().map(({ response }) => response),
      ...ofOurs().map(({ request }) => request.replace(/^\w+ \S+\/auth\/callback\?\S*/, '')),
      ...ofProvider().map(({ request }) => request),
      ...ofProvider().map(({ response }) =>
        response
          .replace(/"location":"[^"]*\/auth\/callback\?[^"]*"/, '')
          .replace(/href="[^"]*"|Redirecting to .*/g, ''),
      ),
    ];
    expect(findings(beyond, secrets.codes)).toEqual([]);
    expect(
      findings(
        ofOurs().map(({ request }) => request),
        secrets.codes,
      ).length,
    ).toBeGreaterThan(3);
  });

  test('our cookies are in Set-Cookie and Cookie of our own origin, and nowhere else', () => {
    const elsewhere = [
      ...ofProvider().flatMap(({ request, response }) => [request.replace(/"cookie":"[^"]*"/, ''), response]),
      ...ofOurs().map(({ response }) => response.replace(/"set-cookie":\[[^\]]*\]/, '')),
      ...ofOurs().map(({ request }) => request.replace(/"(cookie|x-custom)":"[^"]*"/g, '')),
    ];
    expect(findings(elsewhere, secrets.cookies)).toEqual([]);
  });

  test('nothing in Redis holds a token, code, verifier or secret that can be read', () => {
    expect(keptInRedis.length).toBeGreaterThan(5);
    const { tokens, codes, verifiers, keys } = secrets;
    expect(findings(keptInRedis, tokens, codes, verifiers, keys, new Set([wish]))).toEqual([]);
  });
});
