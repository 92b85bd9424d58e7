import { createHash } from 'node:crypto';
import { createSealer, type KeySource } from '../../crypto/sealing.ts';
import type { HistogramSeries } from '../../metrics/series.ts';
import { elapsedMs } from '../../time/elapsed.ts';
import type { AppTokenFailure, AppTokenRecord, AppTokenStore } from '../../tokens/app-token-store.ts';
import type { RedisConnection } from './connection.ts';
import { defaultKeyPrefix } from './keys.ts';
import { createLeases } from './lease.ts';

/** How long a token without a stated expiry is stored, unless another one replaces it. */
const maxAgeMs = 30 * 86_400_000;

interface RedisAppTokenStoreOptions extends KeySource {
  readonly redis: RedisConnection;
  readonly keyPrefix?: string;
  readonly now: () => number;
  /** As `elapsedMs`. */
  readonly elapsed?: () => number;
  readonly leaseWait?: HistogramSeries;
}

/**
 * An app token store that all instances share: one sealed record per client registration and scope set, which expires when nothing
 * in it is usable. After a lost lease, two instances may request a token; both tokens are valid, and the later one is
 * stored.
 */
export function createRedisAppTokenStore(options: RedisAppTokenStoreOptions): AppTokenStore {
  const { registration, redis, keyPrefix = defaultKeyPrefix, now, elapsed = elapsedMs } = options;
  const sealer = createSealer(options, 'app-tokens');
  const withLease = createLeases(redis, (key) => `${key}:lease`, options.leaseWait);

  function keyOf(scope: readonly string[]): string {
    const hash = createHash('sha256').update(JSON.stringify(scope)).digest('base64url');
    return `${keyPrefix}app-token:${registration}:${hash}`;
  }

  async function readPart<T>(key: string): Promise<T | undefined> {
    const sealed = await redis.getBuffer(key);
    // Unreadable here: requesting another token does no harm.
    return sealed ? (sealer.unseal(sealed, key) as T | undefined) : undefined; // only an instance can have sealed it
  }

  async function read(key: string): Promise<AppTokenRecord> {
    const [stored, failure, failureMs] = await Promise.all([
      readPart<AppTokenRecord>(key),
      readPart<AppTokenFailure>(failureKeyOf(key)),
      redis.pttl(failureKeyOf(key)),
    ]);
    // Only Redis measures the time of a failure: the clocks of instances differ.
    return failure && failureMs > 0
      ? { ...stored, failure: { ...failure, until: elapsed() + failureMs } }
      : { ...stored };
  }

  async function write(key: string, { failure, ...record }: AppTokenRecord): Promise<void> {
    const end = record.tokens?.expiresAt;
    const writePart = (partKey: string, part: object, ms: number) =>
      ms > 0
        ? redis.set(partKey, sealer.seal(part, partKey), 'PX', Math.min(Math.ceil(ms), maxAgeMs))
        : redis.del(partKey);
    await Promise.all([
      writePart(key, record, record.tokens ? (end ?? Number.POSITIVE_INFINITY) - now() : 0),
      writePart(failureKeyOf(key), { ...failure }, (failure?.until ?? 0) - elapsed()),
    ]);
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

const failureKeyOf = (key: string) => `${key}:failure`;
