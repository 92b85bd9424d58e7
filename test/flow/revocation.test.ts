import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { Secret } from '../../src/crypto/secret.ts';
import { OAuthError } from '../../src/oauth/oauth-error.ts';
import type { TokenSet } from '../../src/oauth/token-set.ts';
import { createMemoryRevocationOutbox } from '../../src/stores/memory/revocation-outbox.ts';
import { createRedisRevocationOutbox } from '../../src/stores/redis/revocation-outbox.ts';
import { createRevoker } from '../../src/tokens/revocation-outbox.ts';
import { createWorld, type World } from '../support/world.ts';

const client = `tests ${randomBytes(8).toString('hex')}`;
const stream = `latchkey:revocations:${createHash('sha256').update(client).digest('base64url')}`;

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await delay(50);
}

describe.each(['memory', 'redis'] as const)('signing out with the %s store', (store) => {
  let world: World;
  beforeEach(async () => {
    world = await createWorld({ store, accessTokenSeconds: 100 });
  });
  afterEach(() => world.close());
  const metric = async () =>
    Number(/^latchkey_revocations_pending (\d+)/m.exec(await world.latchkey.deps.metrics.metrics())![1]);

  test.each([
    ['is down', { status: 503 }],
    ['has no time', { status: 429, headers: { 'retry-after': '1' } }],
    ['hangs up', 'reset'],
  ] as const)(
    'is done at once when the provider %s, and the tokens are revoked when it is back',
    async (_what, answer) => {
      const browser = world.browser();
      await world.signIn(browser);
      world.providerFaults.set({ path: /revocation/, response: answer });
      const out = await browser.step('/auth/logout', { method: 'POST', from: world.origin });
      expect(out.status).toBe(303);
      expect((await browser.fetch('/api/profile')).status).toBe(401);
      expect(await metric()).toBeGreaterThanOrEqual(1);
      expect(await world.isActive(world.issued.access[0]!)).toBe(true);

      world.providerFaults.set(undefined);
      await until(async () => (await metric()) === 0);
      for (const token of [...world.issued.access, ...world.issued.refresh])
        expect(await world.isActive(token)).toBe(false);
    },
    20_000,
  );

  test('does not wait for a provider that takes its time, and asks it once for each token', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    world.providerFaults.set({ path: /revocation/, delayMs: 3_000 });
    const begun = Date.now();
    await browser.step('/auth/logout', { method: 'POST', from: world.origin });
    expect(Date.now() - begun).toBeLessThan(2_900);
    await until(async () => (await metric()) === 0);
    expect(world.providerFaults.count(/revocation/)).toBe(2);
    for (const token of [...world.issued.access, ...world.issued.refresh])
      expect(await world.isActive(token)).toBe(false);
  }, 20_000);

  test('during a refresh that takes long: the refresh revokes what it gets', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, delayMs: 4_000 });
    const call = browser.fetch('/api/profile');
    await until(() => world.providerFaults.count(/^\/token$/) === 2);
    const begun = Date.now();
    // The grant must survive the revocation of the old tokens, as it does at providers that do not revoke by grant.
    world.providerFaults.set({ path: /revocation/, response: { status: 503 } });
    await browser.step('/auth/logout', { method: 'POST', from: world.origin });
    expect(Date.now() - begun).toBeLessThan(3_500);
    expect((await call).status).toBe(401);
    expect(world.issued.refresh).toHaveLength(2);
    expect(await world.isActive(world.issued.refresh[1]!)).toBe(true);
    world.providerFaults.set(undefined);
    await until(async () => (await metric()) === 0);
    for (const token of [...world.issued.access, ...world.issued.refresh])
      expect(await world.isActive(token)).toBe(false);
  }, 20_000);
});

describe('the revocation outbox', () => {
  const secrets = [new Secret('a-secret-of-the-outbox-tests-01234567')];
  const log = pino({ level: 'silent' });
  let redis: Redis;
  beforeAll(() => {
    redis = new Redis(process.env.TEST_REDIS_URL!);
  });
  afterAll(() => redis.quit());
  const tokens = (): TokenSet => ({
    accessToken: `at-${randomBytes(8).toString('hex')}`,
    refreshToken: `rt-${randomBytes(8).toString('hex')}`,
    tokenType: 'bearer',
    scope: [],
    issuedAt: 0,
  });

  function attemptWith(answer: (token: string) => Promise<void>, now = Date.now) {
    const asked: string[] = [];
    const revokeToken = (token: string) => {
      asked.push(token);
      return answer(token);
    };
    return { asked, attempt: createRevoker({ revokeToken }, now, log) };
  }

  const kinds = [
    [
      'memory',
      (attempt: ReturnType<typeof attemptWith>['attempt'], now: () => number) =>
        createMemoryRevocationOutbox(attempt, now),
    ],
    [
      'Redis',
      (attempt: ReturnType<typeof attemptWith>['attempt'], now: () => number) =>
        createRedisRevocationOutbox({ redis, client, secrets, attempt, now }),
    ],
  ] as const;

  test.each(kinds)(
    'in %s revokes the refresh token first, then the access token, each once',
    async (_name, create) => {
      const { asked, attempt } = attemptWith(async () => {});
      const outbox = create(attempt, Date.now);
      const held = tokens();
      await outbox.add(held);
      await Promise.all([outbox.processDue(), outbox.processDue(), outbox.processDue()]);
      await until(async () => (await outbox.pending()) === 0);
      expect(asked.filter((each) => Object.values(held).includes(each))).toEqual([
        held.refreshToken,
        held.accessToken,
      ]);
      outbox.close();
    },
  );

  test.each(kinds)(
    'in %s gives up what is refused for good, and what is a day old',
    async (_name, create) => {
      const refused = attemptWith(() =>
        Promise.reject(new OAuthError('rejected_other', 'unsupported_token_type')),
      );
      const one = create(refused.attempt, Date.now);
      await one.add(tokens());
      await one.processDue();
      expect(await one.pending()).toBe(0);
      one.close();

      let offsetMs = 0;
      const now = () => Date.now() + offsetMs;
      const away = attemptWith(() => Promise.reject(new OAuthError('unavailable', 'down')), now);
      const two = create(away.attempt, now);
      await two.add(tokens());
      await two.processDue();
      expect(await two.pending()).toBe(2);
      offsetMs = 86_400_001;
      await until(async () => {
        await two.processDue();
        return (await two.pending()) === 0;
      });
      two.close();
    },
  );

  test('in Redis holds nothing that can be read', async () => {
    const { attempt } = attemptWith(() => Promise.reject(new OAuthError('unavailable', 'down')));
    const outbox = createRedisRevocationOutbox({ redis, client, secrets, attempt, now: Date.now });
    const held = tokens();
    await outbox.add(held);
    const raw = JSON.stringify(await redis.xrange(stream, '-', '+'));
    expect(raw).toContain('sealed');
    expect(raw).not.toContain(held.accessToken);
    expect(raw).not.toContain(held.refreshToken);
    outbox.close();
    await redis.del(stream);
  });

  test('in Redis is worked off by another instance when the one that had it is gone', async () => {
    const never = attemptWith(() => new Promise(() => {}));
    const dying = createRedisRevocationOutbox({
      redis,
      client,
      secrets,
      attempt: never.attempt,
      now: Date.now,
    });
    const held = tokens();
    await dying.add(held);
    void dying.processDue(); // it reads the entries and never comes back
    await until(() => never.asked.length > 0);
    dying.close();
    const { asked, attempt } = attemptWith(async () => {});
    const other = createRedisRevocationOutbox({ redis, client, secrets, attempt, now: Date.now });
    await other.processDue();
    expect(asked).toEqual([]); // it might still be at it
    const ids = (await redis.xpending(stream, 'instances', '-', '+', 10)) as [string][];
    await redis.call(
      'XCLAIM',
      stream,
      'instances',
      'gone',
      '0',
      ...ids.map(([id]) => id),
      'IDLE',
      '15001',
      'JUSTID',
    );
    await other.processDue();
    expect(asked.sort()).toEqual([held.accessToken, held.refreshToken]);
    expect(await other.pending()).toBe(0);
    other.close();
  });
});
