import { setTimeout as delay } from 'node:timers/promises';
import { defaultRouteTable } from '../../src/config/presets.ts';
import { storeUnavailable } from '../../src/errors.ts';
import type { Browser } from '../support/browser.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, type World } from '../support/world.ts';
import {
  collectCookies,
  collectSecrets,
  findLeaks,
  type Secrets,
  valuesInRedis,
} from './support/leak-scan.ts';
import { readRecord, readSession } from './support/logged-in.ts';

const apiScopes = 'read:profile read:data';
const json = { accept: 'application/json' };
/** What the user enters in a form after their session has ended. */
const formValue = 'a-very-private-form-value';

/** Errors of the token endpoint; a word in capitals stands for a secret that the provider repeats in its response. */
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
  ['without OpenID Connect', apiScopes],
  ['with OpenID Connect', `openid profile email offline_access ${apiScopes}`],
])('over the whole life of a session %s', (_how, scope) => {
  let world: World;
  let secrets: Secrets;
  let browsers: Browser[];
  let redisValues: string[];

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
    redisValues = [];
    await runWholeLife();
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
  const recordRedisValues = async () => redisValues.push(...(await valuesInRedis()));
  const statusOf = async (response: Promise<{ status: number }>) => (await response).status;
  const refresh = (browser: Browser) => browser.fetch('/auth/refresh', { method: 'POST', headers: json });

  async function runWholeLife(): Promise<void> {
    const browser = newBrowser();
    await world.signIn(browser);
    expect(await statusOf(browser.fetch('/api/profile'))).toBe(200);
    expect(await statusOf(browser.fetch('/auth/session'))).toBe(200);
    expect(await statusOf(refresh(browser))).toBe(200);
    const profile = await browser.go('/profile');
    expect((await browser.submit(profile, {}, { action: '/auth/refresh' })).text).toContain('was renewed');
    await recordRedisValues();

    await runFailingRefreshes(browser);
    await world.clock.advance(101); // expired: the next call refreshes first
    expect(await statusOf(browser.fetch('/api/data'))).toBe(200);

    expect(await statusOf(browser.fetch('/api/data', { method: 'POST', body: '{}' }))).toBe(403); // no write:data
    await world.signIn(browser, 'alice', '/auth/login?scope=write:data&return_to=/profile'); // step-up
    const { id } = await readSession(browser);
    expect((await readRecord(world, id))?.tokens.scope).toContain('write:data');
    await recordRedisValues();

    await runFailingApi(browser);
    await runFailingStores(browser);
    await runFailingCallbacks();
    await openErrorPages(browser);
    await runRejectedTokens(browser);

    await browser.submit(await browser.go('/auth/logout'), {}, { action: '/auth/logout' });
    expect(await statusOf(browser.fetch('/api/profile'))).toBe(401);
    await runRevocationByProvider();
    await recordRedisValues();
  }

  async function runFailingRefreshes(browser: Browser): Promise<void> {
    for (const { status, error, description } of failures) {
      await world.clock.advance(60); // longer than the previous failure is remembered
      await world.latchkey.drain();
      const { id } = await readSession(browser);
      const { refreshToken } = (await readRecord(world, id))!.tokens;
      const { clientId, clientSecret } = world.client;
      const fillIn = (text: string) =>
        text
          .replace('REFRESH', refreshToken!)
          .replace('SECRET', clientSecret)
          .replace(
            'BASIC',
            Buffer.from(`${clientId}:${encodeURIComponent(clientSecret)}`).toString('base64'),
          );
      for (const type of ['application/json', 'text/html']) {
        const body = JSON.stringify({ error: fillIn(error), error_description: fillIn(description) });
        const headers = {
          'content-type': type,
          'www-authenticate': `Basic realm="${fillIn(description).replaceAll('"', '')}"`,
        };
        world.providerFaults.set({ path: /^\/token$/, response: { status, headers, body } });
        await refresh(browser);
        await browser.fetch('/api/profile');
        await browser.go('/profile');
        world.providerFaults.set(undefined);
        if (!(await readRecord(world, id))) break; // a permanent error ended the session
        await waitForRecovery(browser);
      }
      if (!(await readRecord(world, id))) await world.signIn(browser);
    }
    for (const response of ['reset', { status: 200, body: `{"access_token":"${'x'.repeat(43)}"` }] as const) {
      await world.clock.advance(60);
      world.providerFaults.set({ path: /^\/token$/, response });
      await refresh(browser);
      await browser.fetch('/api/profile');
      world.providerFaults.set(undefined);
    }
    await waitForRecovery(browser);
  }

  /** Refreshes until one succeeds: the failure is forgotten and the circuit breaker, which uses real time, is closed. */
  async function waitForRecovery(browser: Browser): Promise<void> {
    for (let attempts = 0; (await statusOf(refresh(browser))) !== 200; attempts += 1) {
      if (attempts > 100) throw new Error('the provider is available, but no refresh succeeds');
      await world.clock.advance(5);
      await delay(50);
    }
  }

  async function runFailingApi(browser: Browser): Promise<void> {
    for (const response of ['reset', { status: 500, body: 'oh' }, { status: 401, body: '{}' }] as const) {
      world.apiFaults.set({ response });
      await browser.fetch('/api/profile');
      await browser.go('/profile');
    }
    world.apiFaults.set(undefined);
  }

  /** Fails as ioredis does: the error contains the command with its key and the value. */
  async function runFailingStores(browser: Browser): Promise<void> {
    const { tokenStore, sessionStore } = world.latchkey.deps;
    const { id, value } = await readSession(browser);
    const record = await readRecord(world, id);
    const command = { name: 'set', args: [`latchkey:{s:${id}}:tokens`, JSON.stringify(record), value] };
    const failure = () => Object.assign(new Error('Connection is closed.'), { command, record });
    const [get, take, load] = [tokenStore.get, tokenStore.take, sessionStore.get];
    const fail = () => Promise.reject(storeUnavailable(failure()));
    Object.assign(tokenStore, { get: fail, take: fail });
    for (const path of ['/', '/profile', '/auth/sign-in', '/auth/session', '/auth/logout'])
      await browser.go(path);
    expect(await statusOf(browser.fetch('/api/profile'))).toBe(503);
    expect(await statusOf(refresh(browser))).toBe(503);
    expect(await statusOf(browser.fetch('/auth/logout', { method: 'POST' }))).toBe(503);
    Object.assign(tokenStore, { get, take });
    sessionStore.get = (_id, done) => done(failure());
    const signOut = browser.step('/auth/logout', { method: 'POST', from: world.origin });
    expect(await statusOf(signOut)).toBe(503);
    sessionStore.get = load;
    expect(await statusOf(browser.fetch('/api/profile'))).toBe(200);
  }

  async function runFailingCallbacks(): Promise<void> {
    const denyingBrowser = newBrowser();
    const login = await denyingBrowser.go('/auth/login');
    const denied = await denyingBrowser.submit(login, { decision: 'cancel' }, { action: '/login' });
    expect([denied.status, new URL(denied.url).pathname]).toEqual([200, '/auth/sign-in']);

    for (const response of [
      'reset',
      { status: 500, body: '{"error":"server_error"}' },
      { status: 400, body: '' },
    ] as const) {
      const failingBrowser = newBrowser();
      world.providerFaults.set({ path: /^\/token$/, response });
      const page = await world.signIn(failingBrowser);
      expect(page.status).toBeGreaterThanOrEqual(400);
      world.providerFaults.set(undefined);
      for (const [, code] of page.url.matchAll(/[?&]code=([^&]+)/g)) secrets.codes.add(code!);
      await failingBrowser.step(page.url); // a reload while the URL contains the code
      await failingBrowser.step(`${page.url}&iss=x`);
      await failingBrowser.step(page.url.replace('state=', 'state=A'));
      await failingBrowser.step(page.url, { method: 'POST' });
    }
  }

  async function openErrorPages(browser: Browser): Promise<void> {
    const { cookie } = await readSession(browser);
    for (const path of [
      '/unknown',
      '/api/unknown',
      '/auth/callback',
      '/%',
      '/auth/refresh',
      '/auth/assets/%2e%2e/x',
    ]) {
      await browser.step(path);
      await browser.fetch(path, { headers: { ...json, 'x-custom': cookie } });
      await browser.fetch(path, { method: 'DELETE' });
    }
    await browser.fetch('/auth/logout', { method: 'POST', headers: { 'sec-fetch-site': 'cross-site' } });
  }

  /** The API rejects tokens and repeats them in its challenge, without an error and then with a step-up. */
  async function runRejectedTokens(browser: Browser): Promise<void> {
    for (const challenge of ['Bearer', 'Bearer error="insufficient_user_authentication", max_age="9"']) {
      const headers = { 'www-authenticate': `${challenge}, realm="${world.issued.access.at(-1)}"` };
      world.apiFaults.set({ response: { status: 401, headers, body: '{}' } });
      for (const path of ['/api/data', '/api/app']) expect(await statusOf(browser.fetch(path))).toBe(401);
      expect(await statusOf(browser.fetch('/api/data', { method: 'POST', body: 'x'.repeat(70_000) }))).toBe(
        401,
      );
    }
    world.apiFaults.set(undefined);
    world.providerFaults.set({
      path: /^\/token$/,
      response: { status: 401, body: '{"error":"invalid_client"}' },
    });
    await world.clock.advance(3600); // the app token has expired, too
    expect(await statusOf(browser.fetch('/api/app'))).toBe(502);
    world.providerFaults.set(undefined);
    await world.clock.advance(60);
    expect(await statusOf(browser.fetch('/api/app'))).toBeGreaterThanOrEqual(200);
    await recordRedisValues();
  }

  /** The provider has deleted the refresh token, so that a refresh fails with `invalid_grant`. */
  async function runRevocationByProvider(): Promise<void> {
    const browser = newBrowser();
    await world.signIn(browser);
    const { refreshToken } = (await readRecord(world, (await readSession(browser)).id))!.tokens;
    const token = await world.provider.provider.RefreshToken.find(refreshToken!);
    await token!.destroy();
    expect(await statusOf(refresh(browser))).toBe(401);
    expect(await statusOf(browser.fetch('/api/profile'))).toBe(401);
    const form = {
      method: 'POST',
      from: world.origin,
      body: new URLSearchParams({ note: formValue }).toString(),
    };
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const page = await browser.step('/api/data', { ...form, headers });
    expect(page.status).toBe(401);
    expect(page.text.includes('saved your form')).toBe(scope.includes('openid')); // without a sub, its owner is unknown
  }

  const exchangesWithUs = () =>
    browsers.flatMap(({ exchanges }) => exchanges.filter(({ url }) => url.startsWith(world.origin)));
  const exchangesWithProvider = () =>
    browsers.flatMap(({ exchanges }) => exchanges.filter(({ url }) => url.startsWith(world.provider.issuer)));

  test('secrets of every kind exist, and the scan finds them in every encoding (control)', () => {
    const { tokens, verifiers, codes, keys, cookies } = secrets;
    for (const set of [tokens, verifiers, codes, cookies]) expect(set.size).toBeGreaterThan(2);
    expect([...tokens].some((each) => each.startsWith('eyJ'))).toBe(scope.includes('openid'));
    expect(world.latchkey.logLines.length).toBeGreaterThan(50);
    const events = new Set(world.latchkey.auditLines().map(({ event }) => event));
    expect(events.size).toBeGreaterThan(12);
    expect(exchangesWithUs().length).toBeGreaterThan(50);
    for (const secret of [tokens, verifiers, codes, keys, cookies].flatMap((set) => [...set])) {
      expect(secret.length).toBeGreaterThan(15);
      const encoded = [
        secret,
        encodeURIComponent(secret),
        Buffer.from(`a ${secret} b`).toString('base64url'),
      ];
      for (const text of encoded) expect(findLeaks([`x${text}y`], new Set([secret]))).toHaveLength(1);
    }
  });

  test('no log line contains a token, code, verifier, secret, cookie or session id', () => {
    const { tokens, verifiers, codes, keys, cookies } = secrets;
    expect(
      findLeaks(world.latchkey.logLines, tokens, verifiers, codes, keys, cookies, new Set([formValue])),
    ).toEqual([]);
  });

  test('no metric contains a token, code, verifier, secret, cookie or session id', async () => {
    const { tokens, verifiers, codes, keys, cookies } = secrets;
    const text = await world.latchkey.deps.metrics.registry.metrics();
    expect(findLeaks([text], tokens, verifiers, codes, keys, cookies, new Set([formValue]))).toEqual([]);
  });

  test('no response to the browser contains a token, verifier or secret', () => {
    const responses = exchangesWithUs().map((each) => each.response);
    expect(findLeaks(responses, secrets.tokens, secrets.verifiers, secrets.keys)).toEqual([]);
  });

  test('no request from the browser to the provider, and no response to one, contains a token, verifier or secret', () => {
    const texts = [
      ...exchangesWithProvider().flatMap(({ request, response }) => [request, response]),
      ...exchangesWithUs().map(({ request }) => request),
    ];
    expect(findLeaks(texts, secrets.tokens, secrets.verifiers, secrets.keys)).toEqual([]);
  });

  test('a code appears only in the redirect of the provider and in the callback URL', () => {
    const elsewhere = [
      ...exchangesWithUs().map(({ response }) => response),
      ...exchangesWithUs().map(({ request }) => request.replace(/^\w+ \S+\/auth\/callback\?\S*/, '')),
      ...exchangesWithProvider().map(({ request }) => request),
      ...exchangesWithProvider().map(({ response }) =>
        response
          .replace(/"location":"[^"]*\/auth\/callback\?[^"]*"/, '')
          .replace(/href="[^"]*"|Redirecting to .*/g, ''),
      ),
    ];
    expect(findLeaks(elsewhere, secrets.codes)).toEqual([]);
    expect(
      findLeaks(
        exchangesWithUs().map(({ request }) => request),
        secrets.codes,
      ).length,
    ).toBeGreaterThan(3);
  });

  test('our cookies appear only in Set-Cookie and Cookie headers of our own origin', () => {
    const elsewhere = [
      ...exchangesWithProvider().flatMap(({ request, response }) => [
        request.replace(/"cookie":"[^"]*"/, ''),
        response,
      ]),
      ...exchangesWithUs().map(({ response }) => response.replace(/"set-cookie":\[[^\]]*\]/, '')),
      ...exchangesWithUs().map(({ request }) => request.replace(/"(cookie|x-custom)":"[^"]*"/g, '')),
    ];
    expect(findLeaks(elsewhere, secrets.cookies)).toEqual([]);
  });

  test('no value in Redis contains a token, code, verifier or secret in readable form', () => {
    expect(redisValues.length).toBeGreaterThan(5);
    const { tokens, codes, verifiers, keys } = secrets;
    expect(findLeaks(redisValues, tokens, codes, verifiers, keys, new Set([formValue]))).toEqual([]);
  });
});
