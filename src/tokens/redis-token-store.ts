import { setTimeout as delay } from 'node:timers/promises';
import { AppError, storeUnavailable } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { deriveKey, open, seal, sealingVersion } from '../sealing.ts';
import type { Secret } from '../secret.ts';
import { createLeases } from './lease.ts';
import { createSettling, type RedisConnection } from './redis-connection.ts';
import type { SessionEnds } from './session-ends.ts';
import {
  isOver,
  type Lifetime,
  longestTakeWaitMs,
  slideEveryMs,
  type TokenRecord,
  type TokenStore,
} from './token-store.ts';
import { untilQuiet } from './turns.ts';

/** Session keys of express-session's store; the token keys below live in the same Redis Cluster slot. */
export const sessionKeyPrefix = 'sess:';

const putUnlessEnded = `
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`;
// Both write only over the very sealing that was read, and tell whether they did.
// A write that is made again, because its answer was lost, finds its own sealing and is content.
const replaceIfUnchanged = `
local version = redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
if version == string.sub(ARGV[2], 1, #ARGV[1]) then return 1 end
if version ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1`;
const deleteIfUnchanged = `
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`;

const rememberedSlides = 50_000;
const longestInsistenceMs = 60_000;
const longestRememberedEndMs = 30 * 86_400_000;

interface RedisTokenStoreOptions {
  readonly redis: RedisConnection;
  /** Settles when enough replicas have a write that must not be lost in a failover. */
  readonly confirmed: () => Promise<void>;
  /** The first seals, all open. */
  readonly secrets: readonly Secret[];
  readonly lifetime: Lifetime;
  /** Is told of each session this store ends; one that ends by its time is not told. */
  readonly ends: Pick<SessionEnds, 'tell'>;
  readonly now: () => number;
  readonly log: Logger;
}

/** The store many instances share: records sealed under `{sess:<id>}:tokens`, ending with their session. */
export function createRedisTokenStore(options: RedisTokenStoreOptions): TokenStore {
  const { redis, confirmed, lifetime, ends, now, log } = options;
  const keys = options.secrets.map((secret) => deriveKey(secret, 'tokens'));
  const idleMs = lifetime.idleSeconds * 1000;
  const endedMs = Math.min(lifetime.absoluteSeconds * 1000, longestRememberedEndMs);
  const inLease = createLeases(redis, leaseKey);
  const isSettling = createSettling(redis);
  const slides = new Map<string, number>();
  /** Sessions whose newest tokens this process could not write yet. */
  const unwritten = new Set<string>();

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

  /** The time until which a failure is everyone's answer; by the clock of the instance that met it. */
  async function rememberFailure(id: string, error: unknown): Promise<void> {
    if (!(error instanceof AppError) || error.retryAfterSeconds === undefined) return;
    const waitMs = error.retryAfterSeconds * 1000;
    if (waitMs > 0) await redis.set(failureKey(id), now() + waitMs, 'PX', waitMs);
  }

  function refuseWhileFailing(until: string | null): void {
    const waitMs = Number(until ?? 0) - now();
    if (waitMs <= 0) return;
    const retryAfterSeconds = Math.ceil(waitMs / 1000);
    const cause = new Error('the authorization server failed a moment ago, here or at another instance');
    throw new Refusal(new AppError('temporarily_unavailable', { cause, retryAfterSeconds }));
  }

  /** True when this process has not slid the session for a while; what is forgotten early only slides early. */
  function isTimeToSlide(id: string): boolean {
    const last = slides.get(id);
    if (last !== undefined && now() - last < slideEveryMs(lifetime)) return false;
    if (slides.size >= rememberedSlides) slides.clear();
    slides.set(id, now());
    return true;
  }

  return {
    get: (id, { slide = false } = {}) =>
      asked(async () => {
        const key = tokenKey(id);
        if (!slide || !isTimeToSlide(id)) return unseal(key, await redis.getBuffer(key));
        const expire = (ms: number) => [redis.pexpire(key, ms), redis.pexpire(sessionKeyPrefix + id, ms)];
        const [sealedRecord] = await Promise.all([redis.getBuffer(key), ...expire(idleMs)]);
        const record = unseal(key, sealedRecord);
        const leftMs = record && record.signedInAt + lifetime.absoluteSeconds * 1000 - now();
        if (leftMs !== undefined && leftMs < idleMs) await Promise.all(expire(leftMs)); // not past the absolute limit
        return record;
      }),

    put: (id, record) =>
      asked(() =>
        inLease(id, async () => {
          const key = tokenKey(id);
          const isKept = await redis.eval(putUnlessEnded, 2, key, endedKey(id), sealed(key, record), idleMs);
          if (!isKept) throw new Refusal(new AppError('login_required'));
          await confirmed();
        }),
      ),

    update: (id, change, refused = () => {}) =>
      asked(async () => {
        if (isSettling())
          throw new Error('Redis has come back a moment ago; what was granted before is written first');
        if (unwritten.has(id)) throw new Error('the newest tokens of this session are not written yet');
        refuseWhileFailing(await redis.get(failureKey(id)));
        return new Promise((resolve, reject) => {
          const updated = inLease(id, async (lease) => {
            const key = tokenKey(id);
            const [before, failure] = await Promise.all([redis.getBuffer(key), redis.get(failureKey(id))]);
            refuseWhileFailing(failure);
            const record = unseal(key, before);
            if (!before || !record) return undefined;
            const changed = await change(record, lease.holdOn).catch(async (error: unknown) => {
              await rememberFailure(id, error);
              throw new Refusal(error);
            });
            if (changed === record) return record;
            const version = sealingVersion(before);
            const after = changed && sealed(key, changed);
            const write = async () => {
              const isKept = after
                ? await redis.eval(replaceIfUnchanged, 1, key, version, after)
                : await redis.eval(deleteIfUnchanged, 1, key, version);
              if (isKept && after) await confirmed();
              else if (isKept) ends.tell(id);
              return isKept;
            };
            // Whoever asked hears at once that the store is away; the write goes on, and keeps lease and turn.
            const isKept = await write().catch((error: unknown) => {
              reject(error);
              unwritten.add(id);
              return insist(write).finally(() => unwritten.delete(id));
            });
            if (isKept) return changed;
            // Ended meanwhile, or the lease lapsed and another wrote: what is there stands.
            const there = unseal(key, await redis.getBuffer(key));
            if (!there && changed) refused(changed);
            return there;
          });
          updated.then(resolve, reject);
        });
      }),

    take: (id) =>
      asked(async () => {
        await untilQuiet(inLease, id, longestTakeWaitMs);
        slides.delete(id);
        const key = tokenKey(id);
        const results = await redis.multi().set(endedKey(id), '', 'PX', endedMs).getdelBuffer(key).exec();
        const [failure, taken] = results?.[1] ?? [new Error('Redis dropped a transaction')];
        if (failure) throw failure;
        ends.tell(id);
        await confirmed();
        return unseal(key, Buffer.isBuffer(taken) ? taken : null);
      }),

    endsAt: (id) =>
      asked(async () => {
        const key = tokenKey(id);
        const [sealedRecord, idleLeftMs] = await Promise.all([redis.getBuffer(key), redis.pttl(key)]);
        const record = unseal(key, sealedRecord);
        return record && Math.min(now() + idleLeftMs, record.signedInAt + lifetime.absoluteSeconds * 1000);
      }),
  };
}

const tokenKey = (id: string) => `{${sessionKeyPrefix}${id}}:tokens`;
const endedKey = (id: string) => `{${sessionKeyPrefix}${id}}:ended`;
const leaseKey = (id: string) => `{${sessionKeyPrefix}${id}}:lease`;
const failureKey = (id: string) => `{${sessionKeyPrefix}${id}}:failure`;

/** Carries an answer to the caller past the rule that failures here are the store's. */
class Refusal {
  constructor(readonly error: unknown) {}
}

async function asked<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (failure) {
    throw failure instanceof Refusal ? failure.error : storeUnavailable(failure);
  }
}

/** What `write` answers once the store is back, for which it waits a minute at the most. */
async function insist<T>(write: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + longestInsistenceMs;
  for (;;) {
    await delay(100 + Math.random() * 100, undefined, { ref: false });
    try {
      return await write();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}
