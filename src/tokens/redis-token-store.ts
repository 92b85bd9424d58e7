import type { Redis } from 'ioredis';
import { storeUnavailable } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { deriveKey, open, seal, sealingVersion } from '../sealing.ts';
import type { Secret } from '../secret.ts';
import { createLeases } from './lease.ts';
import { isOver, type Lifetime, slideEveryMs, type TokenRecord, type TokenStore } from './token-store.ts';

/** Session keys of express-session's store; the token keys below live in the same Redis Cluster slot. */
export const sessionKeyPrefix = 'sess:';

// Each writes only over the very sealing that was read, and tells whether it did.
const replaceIfUnchanged = `
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1`;
const deleteIfUnchanged = `
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`;

const rememberedSlides = 50_000;

interface RedisTokenStoreOptions {
  readonly redis: Redis;
  /** The first seals, all open. */
  readonly secrets: readonly Secret[];
  readonly lifetime: Lifetime;
  readonly now: () => number;
  readonly log: Logger;
}

/** The store many instances share: records sealed under `{sess:<id>}:tokens`, ending with their session. */
export function createRedisTokenStore(options: RedisTokenStoreOptions): TokenStore {
  const { redis, lifetime, now, log } = options;
  const keys = options.secrets.map((secret) => deriveKey(secret, 'tokens'));
  const idleMs = lifetime.idleSeconds * 1000;
  const inLease = createLeases(redis);
  const slides = new Map<string, number>();

  function unseal(key: string, sealed: Buffer | null): TokenRecord | undefined {
    if (!sealed) return undefined;
    for (const sealingKey of keys) {
      const plaintext = open(sealingKey, sealed, key);
      if (plaintext === undefined) continue;
      const record = JSON.parse(plaintext) as TokenRecord; // only this store can have sealed it
      return isOver(record, lifetime, now()) ? undefined : record;
    }
    log.error('a token record cannot be opened: SESSION_SECRET no longer holds the secret that sealed it');
    return undefined;
  }

  const sealed = (key: string, record: TokenRecord) => seal(keys[0]!, JSON.stringify(record), key);

  /** True once a minute per session and process; what is forgotten early only slides early. */
  function isTimeToSlide(id: string): boolean {
    const last = slides.get(id);
    if (last !== undefined && now() - last < slideEveryMs) return false;
    if (slides.size >= rememberedSlides) slides.clear();
    slides.set(id, now());
    return true;
  }

  return {
    get: (id, { slide = false } = {}) =>
      asked(async () => {
        const key = tokenKey(id);
        if (!slide || !isTimeToSlide(id)) return unseal(key, await redis.getBuffer(key));
        const [record] = await Promise.all([
          redis.getBuffer(key),
          redis.pexpire(key, idleMs),
          redis.pexpire(sessionKeyPrefix + id, idleMs),
        ]);
        return unseal(key, record);
      }),

    put: (id, record) =>
      asked(() =>
        inLease(id, async () => {
          const key = tokenKey(id);
          await redis.set(key, sealed(key, record), 'PX', idleMs);
        }),
      ),

    update: (id, change) =>
      asked(() =>
        inLease(id, async () => {
          const key = tokenKey(id);
          const before = await redis.getBuffer(key);
          const record = unseal(key, before);
          if (!before || !record) return undefined;
          const changed = await change(record).catch((error: unknown) => {
            throw new ChangeFailed(error);
          });
          if (changed === record) return record;
          const version = sealingVersion(before);
          const isKept = changed
            ? await redis.eval(replaceIfUnchanged, 1, key, version, sealed(key, changed))
            : await redis.eval(deleteIfUnchanged, 1, key, version);
          // The lease lapsed while this process was held up, and another wrote: what it wrote stands.
          return isKept ? changed : unseal(key, await redis.getBuffer(key));
        }),
      ),

    take: (id) =>
      asked(() =>
        inLease(id, async () => {
          const key = tokenKey(id);
          slides.delete(id);
          return unseal(key, await redis.getdelBuffer(key));
        }),
      ),

    endsAt: (id) =>
      asked(async () => {
        const key = tokenKey(id);
        const [sealedRecord, idleLeftMs] = await Promise.all([redis.getBuffer(key), redis.pttl(key)]);
        const record = unseal(key, sealedRecord);
        return record && Math.min(now() + idleLeftMs, record.signedInAt + lifetime.absoluteSeconds * 1000);
      }),
  };
}

function tokenKey(id: string): string {
  return `{${sessionKeyPrefix}${id}}:tokens`;
}

/** Carries a failure of the caller's own `change` past the rule that failures here are the store's. */
class ChangeFailed {
  constructor(readonly error: unknown) {}
}

async function asked<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (failure) {
    throw failure instanceof ChangeFailed ? failure.error : storeUnavailable(failure);
  }
}
