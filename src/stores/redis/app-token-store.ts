import { createHash } from 'node:crypto';
import { deriveKey, seal, unseal } from '../../crypto/sealing.ts';
import type { Secret } from '../../crypto/secret.ts';
import { type AppTokenRecord, type AppTokenStore, expiresAtOf } from '../../tokens/app-token-store.ts';
import type { RedisConnection } from './connection.ts';
import { createLeases } from './lease.ts';

/** How long a token without a stated expiry is stored, unless another one replaces it. */
const maxAgeMs = 30 * 86_400_000;

interface RedisAppTokenStoreOptions {
  /** Identifies this client and its provider; it must not use the tokens of other clients on the same Redis. */
  readonly client: string;
  readonly redis: RedisConnection;
  /** The first one seals, all of them unseal. */
  readonly secrets: readonly Secret[];
  readonly now: () => number;
}

/**
 * An app token store that all instances share: one sealed record per client and scope set, which expires when nothing
 * in it is usable. After a lost lease, two instances may request a token; both tokens are valid, and the later one is
 * stored.
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
    return {}; // sealed with a secret unknown here: requesting another token does no harm
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
