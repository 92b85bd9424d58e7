import { createHash } from 'node:crypto';
import { deriveKey, seal, unseal } from '../../crypto/sealing.ts';
import type { Secret } from '../../crypto/secret.ts';
import { type AppTokenRecord, type AppTokenStore, expiresAtOf } from '../../tokens/app-token-store.ts';
import type { RedisConnection } from './connection.ts';
import { createLeases } from './lease.ts';

/** A token whose end nobody knows is forgotten when nothing was written in its place for this long. */
const maxAgeMs = 30 * 86_400_000;

interface RedisAppTokenStoreOptions {
  /** Tells this client at its provider from others on the same Redis, whose tokens it must not use. */
  readonly client: string;
  readonly redis: RedisConnection;
  /** The first seals, all open. */
  readonly secrets: readonly Secret[];
  readonly now: () => number;
}

/**
 * The store many instances share: one sealed record per client and scope set, gone when nothing in it is of use any
 * more. A lease that lapses may have two instances ask for a token; both tokens are good, and the later one is kept.
 */
export function createRedisAppTokenStore(options: RedisAppTokenStoreOptions): AppTokenStore {
  const { client, redis, now } = options;
  const keys = options.secrets.map((secret) => deriveKey(secret, 'app-tokens'));
  const withLease = createLeases(redis, (key) => `${key}:lease`);

  function keyOf(scope: readonly string[]): string {
    const name = JSON.stringify([client, ...scope]);
    return `latchkey:app-token:${createHash('sha256').update(name).digest('base64url')}`;
  }

  async function read(key: string): Promise<AppTokenRecord> {
    const sealed = await redis.getBuffer(key);
    for (const sealingKey of sealed ? keys : []) {
      const text = sealed && unseal(sealingKey, sealed, key);
      if (typeof text === 'string') return JSON.parse(text) as AppTokenRecord; // only an instance can have sealed it
    }
    return {}; // sealed with a secret that is not known here: another token does no harm
  }

  async function write(key: string, record: AppTokenRecord): Promise<void> {
    const end = expiresAtOf(record);
    const leftMs = Math.min(end === undefined ? maxAgeMs : Math.ceil(end - now()), maxAgeMs);
    if (leftMs > 0) await redis.set(key, seal(keys[0]!, JSON.stringify(record), key), 'PX', leftMs);
    else await redis.del(key);
  }

  return {
    get: (scope) => read(keyOf(scope)),
    update(scope, change) {
      const key = keyOf(scope);
      return withLease(key, async () => {
        const newest = await read(key);
        const changed = await change(newest);
        if (changed !== newest) await write(key, changed);
        return changed;
      });
    },
  };
}
