import { storeUnavailable } from '../../src/errors.ts';
import { waitUntil } from '../hostile/support/raw-http.ts';
import { Browser, type Page } from '../support/browser.ts';
import { failAtStep } from '../support/fail-at-step.ts';
import { createLatch } from '../support/latch.ts';
import { createWorld, type World, type WorldOptions } from '../support/world.ts';

const agents = {
  firefox: 'Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0',
  safari:
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1',
} as const;

interface ListedSession {
  readonly id: string;
  readonly current: boolean;
  readonly browser: string | null;
  readonly signed_in_at: string;
  readonly last_used_at: string;
}

let world: World;
const start = async (options: WorldOptions = {}) => {
  world = await createWorld({
    store: 'memory',
    ...options,
    env: { OAUTH2_SCOPES: 'openid profile read:profile read:data', ...options.env },
  });
};
afterEach(() => world.close());

class BrowserWithName extends Browser {
  constructor(
    origin: string,
    private readonly userAgent: string,
  ) {
    super(origin);
  }
  override send(url: string, options: Parameters<Browser['send']>[1]): Promise<Page> {
    return super.send(url, { ...options, headers: { 'user-agent': this.userAgent, ...options.headers } });
  }
}

async function signIn(
  name: keyof typeof agents = 'firefox',
  user = 'alice',
  origin = world.origin,
): Promise<Browser> {
  const browser = new BrowserWithName(origin, agents[name]);
  await world.signIn(browser, user);
  return browser;
}
const list = async (browser: Browser) =>
  (await browser.fetch('/auth/sessions')).json() as { sessions: readonly ListedSession[]; has_more: boolean };
const session = async (browser: Browser) => (await browser.fetch('/auth/session')).json();
const otherOf = async (browser: Browser) => (await list(browser)).sessions.find(({ current }) => !current)!;
const idOf = async (browser: Browser) => /s(?::|%3A)([\w-]+)\./.exec((await browser.sessionCookie())!)![1]!;
const formsOf = ({ text }: Page) =>
  [...text.matchAll(/action="(\/auth\/sessions\/[^"]+)"/g)].map(([, each]) => each!.replaceAll('&amp;', '&'));

describe.each(['memory', 'redis'] as const)('sessions of one user in several browsers (%s)', (store) => {
  test('each is listed with its browser and times, this one first and marked, and never with its id', async () => {
    await start({ store });
    const [one, other] = [await signIn('firefox'), await signIn('safari')];
    await signIn('firefox', 'bob');
    const page = await one.fetch('/auth/sessions');
    expect([page.status, page.headers['cache-control']]).toEqual([200, 'no-store']);
    expect(page.json()).toEqual({
      sessions: [
        expect.objectContaining({ current: true, browser: 'Firefox', os: 'Linux', device: 'desktop' }),
        expect.objectContaining({ current: false, browser: 'Safari', os: 'iOS', device: 'mobile' }),
      ],
      has_more: false,
      server_time: expect.any(String),
    });
    for (const each of (await list(one)).sessions) {
      expect(each.id).toMatch(/^[\w-]{16}$/);
      expect(Date.parse(each.last_used_at)).toBeGreaterThanOrEqual(Date.parse(each.signed_in_at));
    }
    for (const browser of [one, other]) expect(page.text).not.toContain(await idOf(browser));
  });

  test('one that is ended from another is signed out, learns why, and its tokens are revoked', async () => {
    await start({ store });
    const [one, other] = [await signIn(), await signIn('safari')];
    const tokens = [world.issued.access.at(-1)!, world.issued.refresh.at(-1)!];
    const { id } = await otherOf(one);
    expect((await one.fetch(`/auth/sessions/${id}`, { method: 'DELETE' })).status).toBe(204);
    expect(await session(other)).toEqual({ authenticated: false, reason: 'ended_by_user' });
    expect((await other.fetch('/api/data')).status).toBe(401);
    expect(await session(one)).toMatchObject({ authenticated: true });
    expect((await list(one)).sessions).toHaveLength(1);
    await world.latchkey.drain();
    for (const each of tokens) expect(await world.isActive(each)).toBe(false);
    expect((await other.go('/auth/sign-in')).text).toContain(
      'Someone signed you out here from another browser.',
    );
  });

  test('signing out everywhere else ends all but this one, of this user only', async () => {
    await start({ store });
    const [one, two, three] = [await signIn(), await signIn('safari'), await signIn()];
    const bob = await signIn('firefox', 'bob');
    const response = await one.fetch('/auth/sessions/end-others', { method: 'POST' });
    expect([response.status, response.json()]).toEqual([200, { ended: 2 }]);
    for (const each of [two, three]) expect(await session(each)).toMatchObject({ authenticated: false });
    for (const each of [one, bob]) expect(await session(each)).toMatchObject({ authenticated: true });
    expect((await one.fetch('/auth/sessions/end-others', { method: 'POST' })).json()).toEqual({ ended: 0 });
  });
});

test.each(['memory', 'redis'] as const)(
  'sign-ins at the same moment are all listed, and one that is being refreshed ends too, with the new tokens (%s)',
  async (store) => {
    await start({ store });
    const one = await signIn();
    const others = await Promise.all(Array.from({ length: 10 }, () => signIn('safari')));
    expect((await list(one)).sessions).toHaveLength(11);
    const { opened: hold, open: release } = createLatch();
    const before = world.providerFaults.count(/^\/token$/);
    world.providerFaults.set({ path: /^\/token$/, hold });
    const refresh = others[0]!.fetch('/auth/refresh', {
      method: 'POST',
      headers: { accept: 'application/json' },
    });
    await waitUntil(() => world.providerFaults.count(/^\/token$/) > before);
    const ending = one.fetch('/auth/sessions/end-others', { method: 'POST' });
    // All but the one that is being refreshed.
    while ((await list(one)).sessions.length > 2) await new Promise((done) => setTimeout(done, 20));
    world.providerFaults.set(undefined);
    release();
    expect([200, 401]).toContain((await refresh).status); // 200 if it finished first
    expect((await ending).json()).toEqual({ ended: 10 });
    expect(await session(others[0]!)).toEqual({ authenticated: false, reason: 'ended_by_user' });
    await world.latchkey.drain();
    const active = await Promise.all(world.issued.refresh.map((each) => world.isActive(each)));
    expect(active.filter(Boolean)).toHaveLength(1);
  },
);

test('without JavaScript, the forms of the profile page end another session, and all others', async () => {
  await start();
  const [one, two, three] = [await signIn(), await signIn('safari'), await signIn('safari')];
  const profile = await one.go('/profile');
  expect(formsOf(profile)).toHaveLength(3); // two browsers, and everywhere else
  expect(profile.text).toContain('in these browsers');
  const submit = (action: string) =>
    one.go(action, { method: 'POST', from: `${world.origin}/profile`, body: '' });
  const after = await submit(formsOf(profile)[0]!);
  expect([after.status, after.url]).toEqual([200, `${world.origin}/profile`]);
  expect(after.text).toMatch(/<p>Safari on \w+ is now signed out\. You&#39;re still signed in here\./);
  expect((await submit(formsOf(profile)[0]!)).text).toContain('That browser was already signed out.');
  expect((await submit(formsOf(profile).at(-1)!)).text).toContain(
    'You&#39;re now signed out everywhere else.',
  );
  for (const each of [two, three]) expect(await session(each)).toMatchObject({ authenticated: false });
  const last = await one.go('/profile');
  expect(formsOf(last)).toEqual([]);
  expect(last.text).toContain('in this browser only');
});

test('the profile page does not claim that there are no other sessions if the provider sends no user ID', async () => {
  await start();
  const browser = await signIn();
  await world.latchkey.deps.tokenStore.update(await idOf(browser), async ({ identity: _, ...record }) => ({
    ...record,
    user: {},
  }));
  const { text } = await browser.go('/profile');
  expect(text).toContain('we can&#39;t show them here');
  expect(text).not.toContain('in this browser only');
});

test('ending this session is a sign-out: the cookie goes, and no reason is given', async () => {
  await start();
  const one = await signIn();
  const [{ id }] = (await list(one)).sessions as [ListedSession];
  expect((await one.fetch(`/auth/sessions/${id}`, { method: 'DELETE' })).status).toBe(204);
  expect(await one.sessionCookie()).toBeUndefined();
  expect(await session(one)).toEqual({ authenticated: false });
});

test("nobody can end another user's session, or guess one", async () => {
  await start();
  const [alice, bob] = [await signIn(), await signIn('safari', 'bob')];
  const [{ id }] = (await list(alice)).sessions as [ListedSession];
  for (const each of [id, 'x', '%2e%2e', '__proto__', 'end-others', 'a'.repeat(5_000)]) {
    const response = await bob.fetch(`/auth/sessions/${each}`, { method: 'DELETE' });
    expect([each, [404, 405].includes(response.status)]).toEqual([each, true]);
  }
  expect(await session(alice)).toMatchObject({ authenticated: true });
});

test('another site, a stranger, and a page of the previous user can neither list nor end sessions', async () => {
  await start();
  const [one, other] = [await signIn(), await signIn('safari')];
  const { id } = await otherOf(one);
  const requests = [
    ['DELETE', `/auth/sessions/${id}`],
    ['POST', `/auth/sessions/${id}/end`],
    ['POST', '/auth/sessions/end-others'],
  ] as const;
  for (const [method, path] of requests) {
    const crossSite = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' };
    expect((await one.fetch(path, { method, headers: crossSite })).status).toBe(403);
    expect((await one.fetch(path, { method, headers: { 'latchkey-session': 'a'.repeat(16) } })).status).toBe(
      409,
    );
    expect((await world.browser().fetch(path, { method })).status).toBe(401);
  }
  expect(
    (await one.fetch('/auth/sessions', { headers: { 'latchkey-session': 'a'.repeat(16) } })).status,
  ).toBe(409);
  expect((await world.browser().fetch('/auth/sessions')).status).toBe(401);
  expect(
    (
      await one.go(`/auth/sessions/${id}/end?session=${'a'.repeat(16)}`, {
        method: 'POST',
        from: `${world.origin}/profile`,
      })
    ).status,
  ).toBe(409);
  expect((await one.go(`/auth/sessions/${id}/end`)).status).toBe(405);
  expect(await session(other)).toMatchObject({ authenticated: true });
});

test('signing out everywhere else keeps this session when the index still lists the one that it has replaced', async () => {
  await start();
  const one = await signIn();
  const { sessionIndex, tokenStore } = world.latchkey.deps;
  const old = await idOf(one);
  const record = (await tokenStore.get(old))!;
  await world.signIn(one); // in the same browser
  expect(await idOf(one)).not.toBe(old);
  const now = Date.now();
  await sessionIndex.add(old, record, { lastUsedAt: now, endsAt: now + 60_000 }); // as after a crash
  const response = await one.fetch('/auth/sessions/end-others', { method: 'POST' });
  expect(response.json()).toEqual({ ended: 0 });
  expect(await session(one)).toMatchObject({ authenticated: true });
});

test('a user with very many sessions gets a short list, and can still end all others', async () => {
  await start();
  const one = await signIn();
  const { tokenStore } = world.latchkey.deps;
  const record = (await tokenStore.get(await idOf(one)))!;
  const ids = Array.from({ length: 120 }, (_, index) => `another-session-${index}`);
  for (const id of ids) await tokenStore.put(id, { ...record, userAgent: agents.safari });
  const { sessions, has_more } = await list(one);
  expect([sessions.length, has_more, sessions[0]!.current]).toEqual([50, true, true]);
  expect((await one.go('/profile')).text).toContain('You have more sessions than this page shows');
  expect((await one.fetch('/auth/sessions/end-others', { method: 'POST' })).json()).toEqual({ ended: 120 });
  expect((await list(one)).sessions).toHaveLength(1);
});

test('without a subject, the list has this session only', async () => {
  await start({ withoutIssuer: true, env: { OAUTH2_SCOPES: 'read:data' } });
  const [one, other] = [await signIn(), await signIn('safari')];
  expect((await list(one)).sessions).toEqual([
    expect.objectContaining({ current: true, browser: 'Firefox' }),
  ]);
  expect((await one.fetch('/auth/sessions/end-others', { method: 'POST' })).json()).toEqual({ ended: 0 });
  expect(await session(other)).toMatchObject({ authenticated: true });
});

test('when one session of the user cannot be loaded, the profile page is shown without the list', async () => {
  const otherIds: string[] = [];
  await start({
    wrap: ({ tokenStore }) => {
      const get: typeof tokenStore.get = (id, options) =>
        otherIds.includes(id)
          ? Promise.reject(storeUnavailable(new Error('sealed')))
          : tokenStore.get(id, options);
      return { tokenStore: { ...tokenStore, get } };
    },
  });
  const [one, other] = [await signIn(), await signIn('safari')];
  otherIds.push(await idOf(other));
  const profile = await one.go('/profile');
  expect([profile.status, profile.text.includes('load your other sessions right now')]).toEqual([200, true]);
  expect((await one.fetch('/auth/sessions')).status).toBe(503);
  expect((await one.fetch('/auth/sessions/end-others', { method: 'POST' })).json()).toEqual({ ended: 1 });
});

test('while the store is unavailable, nothing is listed or ended, and nobody is signed out', async () => {
  const step: { name: string | undefined } = { name: undefined };
  let isTakeFailing = false;
  await start({
    wrap: ({ tokenStore }) => {
      const take: typeof tokenStore.take = (...args) =>
        isTakeFailing ? Promise.reject(storeUnavailable(new Error('lost'))) : tokenStore.take(...args);
      return { tokenStore: failAtStep({ ...tokenStore, take }, step) };
    },
  });
  const [one, other] = [await signIn(), await signIn('safari')];
  const { id } = await otherOf(one);
  isTakeFailing = true;
  expect((await one.fetch(`/auth/sessions/${id}`, { method: 'DELETE' })).status).toBe(503);
  expect((await one.fetch('/auth/sessions/end-others', { method: 'POST' })).status).toBe(503);
  step.name = 'get';
  expect((await one.fetch('/auth/sessions')).status).toBe(503);
  step.name = undefined;
  for (const each of [one, other]) expect(await session(each)).toMatchObject({ authenticated: true });
});
