import { setTimeout as delay } from 'node:timers/promises';
import type { Browser } from '../support/browser.ts';
import { createLatch } from '../support/latch.ts';
import { createWorld, type World, type WorldOptions } from '../support/world.ts';

let world: World;
let browser: Browser;
const stores = ['memory', 'redis'] as const;

async function start(options: WorldOptions = {}): Promise<void> {
  world = await createWorld({
    ...options,
    env: { OAUTH2_SCOPES: 'openid profile read:profile', ...options.env },
  });
  browser = world.browser();
  await world.signIn(browser);
}
afterEach(() => world.close());

const sessionOf = async (each: Browser) => (await each.fetch('/auth/session')).json();
const sessions = () => world.latchkey.tokens.sessionsOf('alice');
const isCallback = (url: string) => url.startsWith(`${world.origin}/auth/callback`);
async function areRevoked(tokens: readonly string[]): Promise<boolean> {
  await world.latchkey.drain();
  return (await Promise.all(tokens.map((each) => world.isActive(each)))).every((each) => !each);
}
const allIssued = () => [...world.issued.access, ...world.issued.refresh];

/** A step-up in a second tab, up to its callback. */
async function reachCallback(): Promise<string> {
  const page = await browser.go('/auth/login?scope=read:data', { until: isCallback });
  if (isCallback(page.url)) return page.url;
  const scope = [...page.text.matchAll(/name="scope" value="([^"]*)"/g)].map(([, each]) => each!);
  return (await browser.submit(page, { decision: 'allow', scope }, { action: '/consent', until: isCallback }))
    .url;
}

/** Makes the provider wait with the next response of its token endpoint; settles when it has the request. */
async function holdTokenRequest(begin: () => unknown): Promise<() => void> {
  const { opened: hold, open: release } = createLatch();
  const before = world.providerFaults.count(/^\/token$/);
  world.providerFaults.set({ path: /^\/token$/, hold });
  begin();
  while (world.providerFaults.count(/^\/token$/) === before) await delay(5);
  return () => {
    world.providerFaults.set(undefined);
    release();
  };
}

describe.each(stores)('a session that is ended from elsewhere (%s)', (store) => {
  test('is listed with its browser until it ends; then its tabs learn by whom, and its tokens are revoked', async () => {
    await start({ store });
    const [entry, ...others] = await sessions();
    expect(others).toEqual([]);
    expect(entry).toMatchObject({ sub: 'alice', lastUsedAt: expect.any(Number) });
    await world.latchkey.tokens.endBy(entry!.id, 'administrator');
    expect(await sessions()).toEqual([]);
    const reason = 'ended_by_administrator';
    expect(await sessionOf(browser)).toEqual({ authenticated: false, reason });
    const response = await browser.fetch('/api/profile');
    expect([response.status, response.json()]).toMatchObject([401, { error: 'login_required', reason }]);
    expect(await areRevoked(allIssued())).toBe(true);
    await world.signIn(browser);
    expect(await sessionOf(browser)).toMatchObject({ authenticated: true });
  });

  test('ends although a refresh is in progress, whose tokens are revoked', async () => {
    await start({ store });
    await world.clock.advance(301);
    const requests: Promise<unknown>[] = [];
    const release = await holdTokenRequest(() => requests.push(browser.fetch('/api/profile')));
    const ended = world.latchkey.tokens.endAllOf({ sub: 'alice' }, 'administrator');
    await delay(2_100);
    release();
    expect(await ended).toBe(1);
    await Promise.all(requests);
    expect(await sessionOf(browser)).toMatchObject({ authenticated: false });
    expect(await areRevoked(allIssued())).toBe(true);
  }, 15_000);

  test('ends although a step-up is exchanging its code, which does not sign the user in again', async () => {
    await start({ store });
    const callback = await reachCallback();
    const logins: Promise<unknown>[] = [];
    const release = await holdTokenRequest(() =>
      logins.push(browser.go(callback, { from: world.provider.issuer })),
    );
    expect(await world.latchkey.tokens.endAllOf({ sub: 'alice' }, 'provider')).toBe(1);
    release();
    await Promise.all(logins);
    expect(await sessions()).toEqual([]);
    expect(await sessionOf(browser)).toEqual({ authenticated: false, reason: 'ended_by_provider' });
    expect(await areRevoked(allIssued())).toBe(true);
  });

  test('ends although a step-up has tokens and is about to store them, which ends too', async () => {
    const { opened: hold, open: release } = createLatch();
    let puts = 0;
    await start({
      store,
      wrap: ({ tokenStore }) => ({
        tokenStore: {
          ...tokenStore,
          async put(id, record) {
            puts += 1;
            if (puts === 2) await hold;
            return tokenStore.put(id, record);
          },
        },
      }),
    });
    const login = browser.go(await reachCallback(), { from: world.provider.issuer });
    while (puts < 2) await delay(5);
    expect(await world.latchkey.tokens.endAllOf({ sub: 'alice' }, 'provider')).toBe(1);
    release();
    expect((await login).url).toBe(`${world.origin}/auth/signed-out`);
    expect(await sessions()).toEqual([]);
    expect(await sessionOf(browser)).toEqual({ authenticated: false, reason: 'ended_by_provider' });
    expect(await areRevoked(allIssued())).toBe(true);
  });

  test('ends the session that has just replaced it, too', async () => {
    await start({ store });
    const [old] = await sessions();
    await browser.go(await reachCallback(), { from: world.provider.issuer });
    await world.latchkey.tokens.endBy(old!.id, 'user');
    expect(await sessionOf(browser)).toEqual({ authenticated: false, reason: 'ended_by_user' });
  });

  test('does not end the next login in its browser', async () => {
    await start({ store });
    await world.latchkey.tokens.endAllOf({ sub: 'alice' }, 'administrator');
    await world.signIn(browser);
    expect(await sessionOf(browser)).toMatchObject({ authenticated: true });
  });
});

describe.each(stores)('all sessions of a user (%s)', (store) => {
  test('end except the current one, and not those of others', async () => {
    await start({ store });
    const [phone, other] = [world.browser(), world.browser()];
    await world.signIn(phone);
    await world.signIn(other, 'bob');
    const [current] = await sessions();
    expect(await world.latchkey.tokens.endAllOf({ sub: 'alice' }, 'user', current!.id)).toBe(1);
    expect(await sessions()).toEqual([current]);
    expect(await sessionOf(browser)).toEqual({ authenticated: false, reason: 'ended_by_user' });
    for (const each of [phone, other]) expect(await sessionOf(each)).toMatchObject({ authenticated: true });
  });

  test('are limited by SESSION_MAX_PER_USER: the least recently used one ends, and the others can go on', async () => {
    await start({ store, env: { SESSION_MAX_PER_USER: '2' } });
    const [phone, tablet] = [world.browser(), world.browser()];
    await world.clock.advance(10);
    await world.signIn(phone);
    await world.clock.advance(400);
    expect((await browser.fetch('/api/profile')).status).toBe(200); // used after the phone
    await world.clock.advance(10);
    await world.signIn(tablet);
    expect(await sessions()).toHaveLength(2);
    expect(await sessionOf(phone)).toEqual({ authenticated: false, reason: 'ended_by_limit' });
    await world.clock.advance(400);
    for (const each of [browser, tablet]) expect((await each.fetch('/api/profile')).status).toBe(200);
  });

  test('are limited by SESSION_MAX_PER_USER also when several logins finish at the same moment, of which one stays', async () => {
    const count = 6;
    const { opened: hold, open: release } = createLatch();
    let puts = 0;
    await start({
      store,
      env: { SESSION_MAX_PER_USER: '1' },
      wrap: ({ tokenStore }) => ({
        tokenStore: {
          ...tokenStore,
          async put(id, record) {
            puts += 1;
            if (puts === count) release();
            if (puts > 1) await hold;
            return tokenStore.put(id, record);
          },
        },
      }),
    });
    const browsers = [browser, ...Array.from({ length: count - 1 }, () => world.browser())];
    await Promise.all(browsers.slice(1).map((each) => world.signIn(each)));
    expect((await sessions()).length).toBeGreaterThanOrEqual(1);
    await world.clock.advance(1);
    const last = world.browser();
    await world.signIn(last);
    expect(await sessions()).toHaveLength(1);
    expect(await sessionOf(last)).toMatchObject({ authenticated: true });
    for (const each of browsers) {
      const { authenticated, reason } = (await sessionOf(each)) as Record<string, unknown>;
      expect(authenticated).toBe(false);
      // Without a reason if the session ended before its login was completed: that browser has got no cookie.
      expect([undefined, 'ended_by_limit']).toContain(reason);
    }
  });

  test('are limited by SESSION_MAX_PER_USER without counting a session that a step-up replaces', async () => {
    await start({ store, env: { SESSION_MAX_PER_USER: '1' } });
    await browser.go(await reachCallback(), { from: world.provider.issuer });
    expect(await sessionOf(browser)).toMatchObject({ authenticated: true });
    await world.clock.advance(400);
    expect((await browser.fetch('/api/profile')).status).toBe(200); // its tokens were not revoked with the old ones
  });

  test('are limited by SESSION_MAX_PER_USER, and one that a step-up replaces at that moment does not take its successor along', async () => {
    const { opened: hold, open: release } = createLatch();
    let isHeld = false;
    await start({
      store,
      env: { SESSION_MAX_PER_USER: '1' },
      wrap: ({ tokenStore }) => ({
        tokenStore: {
          ...tokenStore,
          async take(id, reason, beforeRemoval) {
            if (!isHeld && reason.kind === 'ended') {
              isHeld = true;
              await hold;
            }
            return tokenStore.take(id, reason, beforeRemoval);
          },
        },
      }),
    });
    const callback = await reachCallback();
    await world.clock.advance(1);
    const phone = world.browser();
    const login = world.signIn(phone);
    while (!isHeld) await delay(5);
    await world.clock.advance(1);
    await browser.go(callback, { from: world.provider.issuer });
    release();
    await login;
    expect(await sessionOf(browser)).toMatchObject({ authenticated: true });
    expect(await sessionOf(phone)).toEqual({ authenticated: false, reason: 'ended_by_limit' });
  });

  test('end except the current one, also when a step-up is just about to replace that one', async () => {
    const { opened: hold, open: release } = createLatch();
    let isHeld = false;
    await start({
      store,
      wrap: ({ tokenStore }) => ({
        tokenStore: {
          ...tokenStore,
          async take(id, reason, beforeRemoval) {
            if (reason.kind === 'replaced') {
              isHeld = true;
              await hold;
            }
            return tokenStore.take(id, reason, beforeRemoval);
          },
        },
      }),
    });
    const phone = world.browser();
    await world.signIn(phone);
    const login = browser.go(await reachCallback(), { from: world.provider.issuer });
    while (!isHeld) await delay(5);
    const ended = await browser.fetch('/auth/sessions/end-others', { method: 'POST' });
    expect(ended.json()).toEqual({ ended: 1 });
    release();
    await login;
    expect(await sessionOf(browser)).toMatchObject({ authenticated: true });
    expect(await sessionOf(phone)).toEqual({ authenticated: false, reason: 'ended_by_user' });
  });

  test('are limited by SESSION_MAX_PER_USER, and two tabs that sign in at the same moment are signed in, whichever response is last', async () => {
    const { opened: hold, open: release } = createLatch();
    let [isWaiting, isHeld] = [false, false];
    await start({
      store,
      env: { SESSION_MAX_PER_USER: '1' },
      wrap: ({ providerLogouts }) => ({
        providerLogouts: {
          ...providerLogouts,
          async isLoginEnded(identity, startedAt) {
            if (isWaiting && !isHeld) {
              isHeld = true;
              await hold;
            }
            return providerLogouts.isLoginEnded(identity, startedAt);
          },
        },
      }),
    });
    await browser.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } });
    const callbacks = [await reachCallback(), await reachCallback()];
    isWaiting = true;
    const first = browser.go(callbacks[0]!, { from: world.provider.issuer });
    while (!isHeld) await delay(5);
    await world.clock.advance(1);
    await browser.go(callbacks[1]!, { from: world.provider.issuer });
    release();
    await first;
    expect(await sessions()).toHaveLength(1);
    expect(await sessionOf(browser)).toMatchObject({ authenticated: true });
  });
});
