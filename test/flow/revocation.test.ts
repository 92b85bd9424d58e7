import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { Secret } from '../../src/crypto/secret.ts';
import { OAuthError } from '../../src/oauth/oauth-error.ts';
import type { TokenSet } from '../../src/oauth/token-set.ts';
import { createMemoryRevocationOutbox } from '../../src/stores/memory/revocation-outbox.ts';
import { createRedisRevocationOutbox } from '../../src/stores/redis/revocation-outbox.ts';
import { createRevoker, type RevocationOutbox } from '../../src/tokens/revocation-outbox.ts';
import { type ConnectedCluster, connectToCluster } from '../support/redis-topologies.ts';
import { silentAudit } from '../support/silent-audit.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createWorld, type World } from '../support/world.ts';

let registration: string;
let stream: string;
beforeEach(() => {
  registration = `tests-${randomBytes(5).toString('hex')}`;
  stream = `latchkey:revocations:${registration}`;
});

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(50);
}

describe.each(['memory', 'redis'] as const)('signing out with the %s store', (store) => {
  let world: World;
  beforeEach(async () => {
    world = await createWorld({ store, accessTokenSeconds: 100 });
  });
  afterEach(() => world.close());
  /** NaN while Redis is too slow to say it. */
  const pendingRevocations = async () => {
    const metrics = await world.latchkey.deps.metrics.registry.metrics();
    return Number(/^latchkey_revocations_pending (\d+)/m.exec(metrics)?.[1]);
  };

  test.each([
    ['returns 503', { status: 503 }],
    ['returns 429', { status: 429, headers: { 'retry-after': '1' } }],
    ['resets the connection', 'reset'],
  ] as const)(
    'sign-out completes while the revocation endpoint %s, and the tokens are revoked once it recovers',
    async (_what, fault) => {
      const browser = world.browser();
      await world.signIn(browser);
      world.providerFaults.set({ path: /revocation/, response: fault });
      const signedOut = await browser.step('/auth/logout', { method: 'POST', from: world.origin });
      expect(signedOut.status).toBe(200);
      expect((await browser.fetch('/api/profile')).status).toBe(401);
      expect(await pendingRevocations()).toBeGreaterThanOrEqual(1);
      expect(await world.isActive(world.issued.access[0]!)).toBe(true);

      world.providerFaults.set(undefined);
      await until(async () => (await pendingRevocations()) === 0);
      for (const token of [...world.issued.access, ...world.issued.refresh])
        expect(await world.isActive(token)).toBe(false);
    },
    20_000,
  );

  test('sign-out does not wait for a slow revocation endpoint, which gets one request per token', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    world.providerFaults.set({ path: /revocation/, delayMs: 3_000 });
    const startedAt = Date.now();
    await browser.step('/auth/logout', { method: 'POST', from: world.origin });
    expect(Date.now() - startedAt).toBeLessThan(2_900);
    await until(async () => (await pendingRevocations()) === 0);
    expect(world.providerFaults.count(/revocation/)).toBe(2);
    for (const token of [...world.issued.access, ...world.issued.refresh])
      expect(await world.isActive(token)).toBe(false);
  }, 20_000);

  test('sign-out does not wait for a slow refresh, whose new tokens are revoked when it completes', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    await world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, delayMs: 4_000 });
    const call = browser.fetch('/api/profile');
    await until(() => world.providerFaults.count(/^\/token$/) === 2);
    const startedAt = Date.now();
    // The grant must survive the revocation of the old tokens, as it does at providers that do not revoke by grant.
    world.providerFaults.set({ path: /revocation/, response: { status: 503 } });
    await browser.step('/auth/logout', { method: 'POST', from: world.origin });
    expect(Date.now() - startedAt).toBeLessThan(3_500);
    expect((await call).status).toBe(401);
    expect(world.issued.refresh).toHaveLength(2);
    expect(await world.isActive(world.issued.refresh[1]!)).toBe(true);
    world.providerFaults.set(undefined);
    await until(async () => (await pendingRevocations()) === 0);
    for (const token of [...world.issued.access, ...world.issued.refresh])
      expect(await world.isActive(token)).toBe(false);
  }, 20_000);
});

describe('the revocation outbox', () => {
  const secrets = [new Secret('a-secret-of-the-outbox-tests-01234567')];
  const log = pino({ level: 'silent' });
  let redis: Redis;
  let connected: ConnectedCluster;
  beforeAll(async () => {
    redis = new Redis(testRedisUrl());
    connected = await connectToCluster();
  });
  afterAll(async () => {
    await redis.quit();
    await connected.close();
  });
  const tokens = (): TokenSet => ({
    accessToken: `at-${randomBytes(8).toString('hex')}`,
    refreshToken: `rt-${randomBytes(8).toString('hex')}`,
    tokenType: 'bearer',
    scope: [],
    issuedAt: 0,
  });

  function attemptWith(respond: (token: string) => Promise<void>, now = Date.now) {
    const attempted: string[] = [];
    const revokeToken = (token: string) => {
      attempted.push(token);
      return respond(token);
    };
    return {
      attempted,
      attempt: createRevoker({ revokeToken }, { now, elapsed: now, log, audit: silentAudit }),
    };
  }

  type CreateOutbox = (
    attempt: ReturnType<typeof attemptWith>['attempt'],
    now: () => number,
  ) => RevocationOutbox;
  const shared = () => ({ registration, secrets });
  const kinds: readonly (readonly [string, CreateOutbox])[] = [
    ['memory', createMemoryRevocationOutbox],
    ['Redis', (attempt, now) => createRedisRevocationOutbox({ redis, ...shared(), attempt, now })],
  ];
  const cluster: readonly [string, CreateOutbox] = [
    'a cluster',
    (attempt, now) => createRedisRevocationOutbox({ redis: connected.redis, ...shared(), attempt, now }),
  ];

  test.each([...kinds, cluster])(
    'an outbox in %s revokes the refresh token first, then the access token, each once',
    async (_name, create) => {
      const { attempted, attempt } = attemptWith(async () => {});
      const outbox = create(attempt, Date.now);
      const tokenSet = tokens();
      await outbox.add(tokenSet);
      await Promise.all([outbox.processDue(), outbox.processDue(), outbox.processDue()]);
      await until(async () => (await outbox.pending()) === 0);
      expect(attempted.filter((each) => Object.values(tokenSet).includes(each))).toEqual([
        tokenSet.refreshToken,
        tokenSet.accessToken,
      ]);
      outbox.close();
    },
  );

  test.each([...kinds, cluster])(
    'an outbox in %s drops a revocation after a permanent rejection or after one day',
    async (_name, create) => {
      const rejecting = attemptWith(() =>
        Promise.reject(new OAuthError('rejected_other', 'unsupported_token_type')),
      );
      const first = create(rejecting.attempt, Date.now);
      await first.add(tokens());
      await first.processDue();
      expect(await first.pending()).toBe(0);
      first.close();

      let offsetMs = 0;
      const now = () => Date.now() + offsetMs;
      const unavailable = attemptWith(() => Promise.reject(new OAuthError('unavailable', 'down')), now);
      const second = create(unavailable.attempt, now);
      await second.add(tokens());
      await second.processDue();
      expect(await second.pending()).toBe(2);
      offsetMs = 86_400_001;
      await until(async () => {
        await second.processDue();
        return (await second.pending()) === 0;
      });
      second.close();
    },
  );

  test.each(kinds)(
    'an outbox in %s: revocations without a response delay only their own sessions',
    async (_name, create) => {
      const stuck = new Set<string>();
      const { attempted, attempt } = attemptWith((token) =>
        stuck.has(token) ? new Promise(() => {}) : Promise.resolve(),
      );
      const outbox = create(attempt, Date.now);
      for (let session = 0; session < 25; session += 1) {
        const tokenSet = tokens();
        stuck.add(tokenSet.refreshToken!);
        await outbox.add(tokenSet);
        outbox.processNew().catch(() => undefined);
      }
      const tokenSet = tokens();
      await outbox.add(tokenSet);
      outbox.processNew().catch(() => undefined);
      await until(() => attempted.includes(tokenSet.accessToken));
      expect(attempted.filter((each) => Object.values(tokenSet).includes(each))).toEqual([
        tokenSet.refreshToken,
        tokenSet.accessToken,
      ]);
      expect(attempted.filter((each) => each.startsWith('at-'))).toEqual([tokenSet.accessToken]); // the others wait for theirs
      outbox.close();
    },
    20_000,
  );

  test.each([...kinds, cluster])(
    'an outbox in %s: a revocation that fails at first is repeated although hundreds of others fail',
    async (_name, create) => {
      const healed = new Set<string>();
      const { attempted, attempt } = attemptWith((token) =>
        healed.has(token) ? Promise.resolve() : Promise.reject(new OAuthError('unavailable', 'down')),
      );
      const outbox = create(attempt, Date.now);
      for (let session = 0; session < 200; session += 1) await outbox.add(tokens());
      const tokenSet = tokens();
      await outbox.add(tokenSet);
      await outbox.processNew();
      expect(attempted).toHaveLength(402);
      for (const each of [tokenSet.refreshToken!, tokenSet.accessToken]) healed.add(each);
      await until(async () => {
        await outbox.processDue();
        return (await outbox.pending()) === 400;
      });
      outbox.close();
    },
    20_000,
  );

  test('a Retry-After for one session delays only its own revocations', async () => {
    let now = 0;
    const { attempted, attempt } = attemptWith(
      (token) =>
        token.startsWith('limited')
          ? Promise.reject(new OAuthError('unavailable', 'busy', { retryAfterSeconds: 300 }))
          : Promise.resolve(),
      () => now,
    );
    const revocation = (token: string, group: string) =>
      ({ token, group, hint: 'refresh_token', since: 0 }) as const;
    for (let each = 0; each < 9; each += 1)
      expect(await attempt(revocation(`limited-${each}`, `group ${each}`))).toBe(false);
    expect(await attempt(revocation('limited-again', 'group 3'))).toBe(false);
    expect(await attempt(revocation('other', 'other group'))).toBe(true);
    expect(attempted).not.toContain('limited-again');
    now += 300_000;
    expect(await attempt(revocation('free', 'group 3'))).toBe(true);
  });

  test('a Retry-After for ten sessions in a row delays all revocations, and a probe follows within a second', async () => {
    let now = 0;
    const { attempted, attempt } = attemptWith(
      (token) =>
        token.startsWith('limited')
          ? Promise.reject(new OAuthError('unavailable', 'busy', { retryAfterSeconds: 300 }))
          : Promise.resolve(),
      () => now,
    );
    const revocation = (token: string, group: string) =>
      ({ token, group, hint: 'refresh_token', since: 0 }) as const;
    for (let each = 0; each < 10; each += 1) await attempt(revocation(`limited-${each}`, `group ${each}`));
    expect(await attempt(revocation('other', 'other group'))).toBe(false);
    expect(attempted).toHaveLength(10);
    now += 1_000;
    expect(await attempt(revocation('other', 'other group'))).toBe(true);
    expect(await attempt(revocation('another', 'another group'))).toBe(true);
  });

  test('an outbox in Redis stores tokens encrypted', async () => {
    const { attempt } = attemptWith(() => Promise.reject(new OAuthError('unavailable', 'down')));
    const outbox = createRedisRevocationOutbox({ redis, registration, secrets, attempt, now: Date.now });
    const tokenSet = tokens();
    await outbox.add(tokenSet);
    const raw = JSON.stringify(await redis.xrange(stream, '-', '+'));
    expect(raw).toContain('sealed');
    expect(raw).not.toContain(tokenSet.accessToken);
    expect(raw).not.toContain(tokenSet.refreshToken);
    outbox.close();
  });

  test('another instance takes over the Redis outbox entries of an instance that stopped', async () => {
    const readPending = () =>
      redis.xpending(stream, 'instances').then(
        ([count]) => count,
        () => 0, // there is no group yet
      );
    const hanging = attemptWith(() => new Promise(() => {}));
    const stopped = createRedisRevocationOutbox({
      redis,
      registration,
      secrets,
      attempt: hanging.attempt,
      now: Date.now,
    });
    const tokenSet = tokens();
    await stopped.add(tokenSet);
    void stopped.processDue(); // claims the entries and never finishes
    await until(async () => (await readPending()) === 2);
    stopped.close();
    const { attempted, attempt } = attemptWith(async () => {});
    const other = createRedisRevocationOutbox({ redis, registration, secrets, attempt, now: Date.now });
    await other.processDue();
    expect(attempted).toEqual([]); // the first instance may still be processing them
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
    expect(attempted).toEqual([tokenSet.refreshToken, tokenSet.accessToken]);
    expect(await other.pending()).toBe(0);
    other.close();
  });
});
