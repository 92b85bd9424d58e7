import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { Browser } from '../support/browser.ts';
import type { Latchkey } from '../support/latchkey.ts';
import { createRelay, type Relay } from '../support/relay.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createWorld, type World } from '../support/world.ts';

const cacheOn = { SESSION_CACHE_MS: '500' };
/** SESSION_CACHE_MS, and what a busy machine may add between two moments that a test measures. */
const maxStaleMs = 500 + 150;

let world: World;
let relay: Relay | undefined;
afterEach(async () => {
  await world.close();
  await relay?.close();
  relay = undefined;
});

async function signIn(): Promise<{ readonly browser: Browser; readonly cookie: string }> {
  const browser = world.browser();
  await world.signIn(browser);
  return { browser, cookie: await browser.jar.getCookieString(world.origin) };
}

const callAt = async ({ origin }: { readonly origin: string }, cookie: string) =>
  (await new Browser(origin).send(`${origin}/api/profile`, { headers: { cookie } })).status;

/** Another instance, whose connections to Redis go through `relay`. */
async function startRelayedInstance(): Promise<Latchkey> {
  const { hostname, port } = new URL(testRedisUrl());
  relay = await createRelay({ host: hostname, port: Number(port) });
  await relay.open();
  const url = new URL(testRedisUrl());
  url.port = String(relay.port);
  return world.startAnotherInstance(0, { ...cacheOn, REDIS_URL: url.href });
}

/** How many commands of this kind this instance has sent to Redis. */
async function commandsOf({ deps }: Latchkey, command: RegExp): Promise<number> {
  const text = await deps.metrics.registry.metrics();
  const lines = text.matchAll(/^latchkey_store_command_duration_seconds_count\{command="(\w+)"\} (\d+)$/gm);
  return Number([...lines].find(([, name]) => command.test(name!))?.[2] ?? 0);
}

/** How many records this instance has read from Redis. */
const readsOf = (instance: Latchkey) => commandsOf(instance, /^get(buffer)?$/);

/** Calls the API until it is answered from memory: the subscription of an instance takes a moment after its start. */
async function warmUp(instance: Latchkey, cookie: string): Promise<void> {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; ) {
    const before = await readsOf(instance);
    for (let each = 0; each < 3; each += 1) expect(await callAt(instance, cookie)).toBe(200);
    if ((await readsOf(instance)) - before <= 1) return;
    await delay(20);
  }
  throw new Error('no request was answered without a read');
}

/** Calls the API of `instance` until it is refused, and returns when the last call that succeeded began. */
async function lastSuccess(instance: Latchkey, cookie: string): Promise<number> {
  let last = 0;
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; ) {
    const startedAt = performance.now();
    const status = await callAt(instance, cookie);
    if (status === 200) last = startedAt;
    if (status === 401) return last;
  }
  throw new Error('the session did not end');
}

test('requests of one session that follow each other read it once from Redis', async () => {
  world = await createWorld({ env: cacheOn });
  const { cookie } = await signIn();
  await warmUp(world.latchkey, cookie);
  const before = await readsOf(world.latchkey);
  const startedAt = performance.now();
  for (let each = 0; each < 30; each += 1) expect(await callAt(world.latchkey, cookie)).toBe(200);
  const seconds = (performance.now() - startedAt) / 1000;
  expect((await readsOf(world.latchkey)) - before).toBeLessThanOrEqual(2 * Math.ceil(seconds) + 1);
});

test('a session in use is extended a minute after it was extended last, although it was read a moment ago', async () => {
  world = await createWorld({ env: cacheOn });
  const { cookie } = await signIn();
  await warmUp(world.latchkey, cookie);
  const before = await commandsOf(world.latchkey, /^pexpire$/);
  expect(await callAt(world.latchkey, cookie)).toBe(200);
  expect(await commandsOf(world.latchkey, /^pexpire$/)).toBe(before);
  await world.clock.advance(61);
  expect(await callAt(world.latchkey, cookie)).toBe(200);
  expect(await commandsOf(world.latchkey, /^pexpire$/)).toBeGreaterThan(before);
});

test('after a sign-out, no request of that browser succeeds on the same instance', async () => {
  world = await createWorld({ env: cacheOn });
  const { browser, cookie } = await signIn();
  await warmUp(world.latchkey, cookie);
  const running = Array.from({ length: 20 }, () => callAt(world.latchkey, cookie));
  await browser.fetch('/auth/logout', { method: 'POST' });
  expect(await callAt(world.latchkey, cookie)).toBe(401);
  await Promise.all(running);
  expect(await callAt(world.latchkey, cookie)).toBe(401);
});

test('a sign-out on one instance ends the session on another one within milliseconds', async () => {
  world = await createWorld({ env: cacheOn });
  const other = await world.startAnotherInstance(0, cacheOn);
  const times: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const { browser, cookie } = await signIn();
    await warmUp(other, cookie);
    await browser.fetch('/auth/logout', { method: 'POST' });
    const endedAt = performance.now();
    times.push((await lastSuccess(other, cookie)) - endedAt);
  }
  times.sort((one, other) => one - other);
  expect(times[2]).toBeLessThan(100); // half a second without the announcement
  expect(times[4]).toBeLessThan(maxStaleMs);
});

test('a refresh on one instance is used by another one', async () => {
  world = await createWorld({ env: cacheOn, accessTokenSeconds: 100 });
  const other = await world.startAnotherInstance(0, cacheOn);
  const { browser, cookie } = await signIn();
  await warmUp(other, cookie);
  await world.clock.advance(95);
  await browser.fetch('/auth/refresh', { method: 'POST', headers: { accept: 'application/json' } });
  await world.clock.advance(10); // the first token has expired
  const calls = Array.from({ length: 10 }, () => callAt(other, cookie));
  expect(await Promise.all(calls)).toEqual(Array(10).fill(200));
  expect(world.grants.filter((each) => each === 'refresh_token')).toHaveLength(1);
});

test.each([
  ['whose connections hang', (each: Relay) => each.pause()],
  ['whose connections are half open', (each: Relay) => each.freeze()],
  [
    'whose connections are cut',
    async (each: Relay) => {
      await each.close();
      await each.open();
    },
  ],
])('an instance %s when a session ends uses it for half a second at most', async (_what, disturb) => {
  world = await createWorld({ env: cacheOn });
  const other = await startRelayedInstance();
  const { browser, cookie } = await signIn();
  await warmUp(other, cookie);
  await disturb(relay!);
  await browser.fetch('/auth/logout', { method: 'POST' });
  const endedAt = performance.now();
  const resuming = setTimeout(() => relay?.resume(), 2_000);
  expect((await lastSuccess(other, cookie)) - endedAt).toBeLessThan(maxStaleMs);
  clearTimeout(resuming);
  relay!.resume();
});

test('with SESSION_CACHE_MS=0, every request reads the session', async () => {
  world = await createWorld({ env: { SESSION_CACHE_MS: '0' } });
  const { cookie } = await signIn();
  const before = await readsOf(world.latchkey);
  for (let each = 0; each < 10; each += 1) expect(await callAt(world.latchkey, cookie)).toBe(200);
  expect((await readsOf(world.latchkey)) - before).toBeGreaterThanOrEqual(10);
});
