import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import { createMemoryConsumedStates } from '../../src/stores/memory/consumed-states.ts';
import { createRedisConsumedStates } from '../../src/stores/redis/consumed-states.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createWorld } from '../support/world.ts';

const redis = new Redis(testRedisUrl(), { lazyConnect: true });
beforeAll(() => redis.connect());
afterAll(() => redis.disconnect());

const slotOf = (binding: string) => createHash('sha256').update(binding).digest('hex').slice(0, 4);

test('sign-outs with invented login cookies take few keys in Redis, and do not cancel the logins of others', async () => {
  const states = createRedisConsumedStates(redis, 'a-registration');
  const seen = new Map<string, string>();
  let number = 0;
  let [mine, other]: [string, string | undefined] = ['', undefined];
  while (other === undefined) {
    mine = `binding ${number++}`;
    other = seen.get(slotOf(mine));
    seen.set(slotOf(mine), mine);
  }
  await states.cancel(mine, 1_000);
  expect(await states.isCancelled(mine, 1_000)).toBe(true);
  expect(await states.isCancelled(mine, 1_001)).toBe(false);
  expect(await states.isCancelled(other, 1_000)).toBe(false);
  await states.cancel(other, 2_000);
  expect(await states.isCancelled(other, 2_000)).toBe(true);
  expect(await redis.keys('latchkey:cancelled:a-registration:*')).toEqual([
    `latchkey:cancelled:a-registration:${slotOf(mine)}`,
  ]);
});

test('sign-outs with invented login cookies take limited memory in a process without Redis', async () => {
  const states = createMemoryConsumedStates(() => 5_000);
  await states.cancel('the first', 5_000);
  for (let count = 1; count < 65_536; count += 1) await states.cancel(`binding ${count}`, 5_000);
  expect(await states.isCancelled('the first', 5_000)).toBe(true);
  await states.cancel('one more', 5_000);
  expect(await states.isCancelled('the first', 5_000)).toBe(false);
  expect(await states.isCancelled('binding 1', 5_000)).toBe(true);
});

test('a callback with an invented code takes a key in Redis for a minute, and a reload in that time restarts the login', async () => {
  const world = await createWorld();
  const browser = world.browser();
  const login = await browser.step('/auth/login');
  const state = new URL(String(login.headers.location)).searchParams.get('state');
  const before = new Set(await redis.keys('latchkey:spent:*'));
  const url = `/auth/callback?${new URLSearchParams({ code: 'invented', state: String(state), iss: world.provider.issuer })}`;
  expect((await browser.step(url)).status).toBe(400);
  const stored = (await redis.keys('latchkey:spent:*')).filter((key) => !before.has(key));
  expect(stored).toHaveLength(1);
  expect(await redis.pttl(stored[0]!)).toBeLessThanOrEqual(60_000);
  const reloaded = await browser.step(url);
  expect([reloaded.status, String(reloaded.headers.location)]).toEqual([
    303,
    expect.stringContaining(world.provider.issuer),
  ]);
  await world.close();
});
