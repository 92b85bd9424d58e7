import { createHash, randomUUID } from 'node:crypto';
import type { Store } from 'express-session';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { Secret } from '../../src/crypto/secret.ts';
import type { TokenSet } from '../../src/oauth/token-set.ts';
import { createSessionIds } from '../../src/session/session-id.ts';
import { createRedisSessionIndex } from '../../src/stores/redis/indexed-sessions.ts';
import { createRedisSessionStore } from '../../src/stores/redis/session-store.ts';
import { createRedisTokenStore } from '../../src/stores/redis/token-store.ts';
import type { TokenRecord } from '../../src/tokens/token-store.ts';
import { testRedisUrl } from '../support/test-redis.ts';

const sessions = 1_000;
const maxBytesPerSession = 2_800;
/** What `MEMORY USAGE` leaves out of each key at most: its expiry, and its places in the hash tables of keys and expiries. */
const uncountedBytesPerKey = 72;
const lifetime = { idleSeconds: 43_200, absoluteSeconds: 604_800 };
const cookie = { httpOnly: true, path: '/', secure: true, sameSite: 'lax', maxAge: 604_800_000 } as const;
const log = pino({ level: 'silent' });
const issuer = 'https://login.example.com/realms/main';
const userAgent =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36';

let redis: Redis;
beforeAll(() => {
  redis = new Redis(testRedisUrl(), { enableAutoPipelining: true });
});
afterAll(() => {
  redis.disconnect();
});

/** Text that looks random, and is the same in each run. */
function textOf(seed: string, length: number): string {
  const blocks = Array.from({ length: Math.ceil(length / 43) }, (_, block) =>
    createHash('sha256').update(`${seed} ${block}`).digest('base64url'),
  );
  return blocks.join('').slice(0, length);
}

function uuidOf(seed: string): string {
  const hex = createHash('sha256').update(seed).digest('hex');
  return hex.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

interface LoginResult {
  readonly sub: string;
  readonly sid: string;
  readonly name: string;
  readonly email: string;
  readonly issuedAt: number;
}

type Tokens = Required<Pick<TokenSet, 'accessToken' | 'refreshToken' | 'idToken'>>;

/** A JWT with a signature of 2,048 bits. */
function jwtOf(payload: object, seed: string): string {
  const header = { alg: 'RS256', typ: 'JWT', kid: textOf('key', 43) };
  const [head, body] = [header, payload].map((each) =>
    Buffer.from(JSON.stringify(each)).toString('base64url'),
  );
  return `${head}.${body}.${textOf(seed, 342)}`;
}

function createJwts({ sub, sid, name, email, issuedAt }: LoginResult): Tokens {
  const time = Math.floor(issuedAt / 1000);
  const common = {
    ...{ exp: time + 300, iat: time, auth_time: time, iss: issuer, sub, sid, name, email },
    email_verified: true,
  };
  const access = {
    ...{ ...common, jti: uuidOf(`${sub} jti`), aud: ['account', 'orders-api'], typ: 'Bearer', azp: 'shop' },
    ...{ scope: 'openid profile email', realm_access: { roles: ['customer', 'reviewer'] }, acr: '1' },
  };
  const nonce = textOf(`${sub} nonce`, 43);
  return {
    accessToken: jwtOf(access, `${sub} access`),
    refreshToken: textOf(`${sub} refresh`, 43),
    idToken: jwtOf({ ...common, aud: 'shop', typ: 'ID', nonce }, `${sub} id`),
  };
}

/** Encrypted JWTs, for example. */
const createRandomTokens = ({ sub }: LoginResult): Tokens => ({
  accessToken: textOf(`${sub} access`, 1_024),
  refreshToken: textOf(`${sub} refresh`, 43),
  idToken: textOf(`${sub} id`, 900),
});

function createRecord(user: number, createTokens: (login: LoginResult) => Tokens): TokenRecord {
  const issuedAt = Date.now();
  const [sub, sid] = [uuidOf(`user ${user}`), uuidOf(`session ${user}`)];
  const [name, email] = ['Alice Liddell', `alice.${user}@example.com`];
  const { accessToken, refreshToken, idToken } = createTokens({ sub, sid, name, email, issuedAt });
  return {
    tokens: {
      accessToken,
      ...{
        tokenType: 'bearer',
        scope: ['openid', 'profile', 'email'],
        issuedAt,
        expiresAt: issuedAt + 300_000,
      },
      ...{ refreshToken, idToken },
    },
    user: { sub, name, email },
    signedInAt: issuedAt,
    requested: { scope: ['openid', 'profile', 'email'] },
    identity: { issuer, subject: sub, sid },
    userAgent,
  };
}

function createStores(registration: string) {
  const shared = { redis, secrets: [new Secret('the-first-secret-of-these-tests-0123')], registration };
  const index = createRedisSessionIndex({ ...shared, lifetime, now: Date.now, log });
  const store = createRedisTokenStore({
    ...{ ...shared, index, lifetime, now: Date.now },
    waitForReplicas: async () => {},
    sessionEndEvents: { publish: () => {}, publishChange: () => {} },
  });
  const data = createRedisSessionStore({ redis, registration, idleSeconds: lifetime.idleSeconds, cookie });
  return { index, store, data, ids: createSessionIds(shared, Date.now) };
}

/** Stores what express-session has stored at the end of a login. */
function setData(store: Store, id: string, data: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const stored = { ...data, cookie: { ...cookie, originalMaxAge: cookie.maxAge, expires: new Date() } };
    store.set(id, stored as never, (error) => (error ? reject(error) : resolve()));
  });
}

test.each([
  ['JWTs', createJwts],
  ['random text', createRandomTokens],
])(
  'a session whose tokens are 2 KB of %s takes at most 2,800 bytes of Redis, with all its keys',
  async (_what, create) => {
    const registration = textOf(randomUUID(), 16);
    const { index, store, data, ids } = createStores(registration);
    try {
      let characters = 0;
      for (let user = 0; user < sessions; user += 1) {
        const record = createRecord(user, create);
        const { accessToken, refreshToken, idToken } = record.tokens;
        characters += accessToken.length + refreshToken!.length + idToken!.length;
        const id = ids.create(record.user.sub);
        await Promise.all([store.put(id, record), setData(data, id, { startedAt: record.signedInAt })]);
      }
      expect(characters / sessions).toBeGreaterThan(1_950);

      const names = await redis.keys(`*${registration}*`);
      const own = names.filter((name) => !/:all:\d+$|:lease$/.test(name));
      expect(own).toHaveLength(4 * sessions); // record, data, and the lists of the user and of the provider's session
      const sizes = await Promise.all(names.map((name) => redis.memory('USAGE', name, 'SAMPLES', 0)));
      const counted = sizes.reduce((sum: number, size) => sum + Number(size), 0) / sessions;
      expect(counted + (uncountedBytesPerKey * own.length) / sessions).toBeLessThanOrEqual(
        maxBytesPerSession,
      );
    } finally {
      index.close();
      await redis.del(await redis.keys(`*${registration}*`));
    }
  },
);

test.each([
  ['the time of the login', { startedAt: 1_795_902_472_918 }],
  ['other data', { startedAt: 1_795_902_472_918, other: 'x' }],
  ['data without the time of the login', { other: 'x' }],
])('express-session gets back %s, with a cookie as the configuration says', async (_what, stored) => {
  const registration = textOf(randomUUID(), 16);
  const { index, data, ids } = createStores(registration);
  index.close();
  const id = ids.create('alice');
  await setData(data, id, stored);
  const [name] = await redis.keys(`*${registration}*`);
  expect(await redis.get(name!)).not.toContain('cookie');
  const loaded = await new Promise<object>((resolve, reject) => {
    data.load(id, (error, session) => (error ? reject(error) : resolve(session!)));
  });
  expect(JSON.parse(JSON.stringify(loaded))).toEqual({
    ...stored,
    cookie: {
      ...{ httpOnly: true, path: '/', secure: true, sameSite: 'lax', originalMaxAge: cookie.maxAge },
      expires: expect.any(String),
    },
  });
  await new Promise((resolve) => data.destroy(id, resolve));
  expect(await redis.keys(`*${registration}*`)).toEqual([]);
});
