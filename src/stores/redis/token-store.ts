import { setTimeout as delay } from 'node:timers/promises';
import { deriveKey, seal, sealNonce, unseal } from '../../crypto/sealing.ts';
import type { Secret } from '../../crypto/secret.ts';
import { AppError, storeUnavailable } from '../../errors.ts';
import type { Logger } from '../../logger.ts';
import type { SessionEndEvents } from '../../tokens/session-end-events.ts';
import {
  isPastAbsoluteLimit,
  type Lifetime,
  maxTakeWaitMs,
  type TokenRecord,
  type TokenStore,
  touchIntervalMs,
} from '../../tokens/token-store.ts';
import { waitForPending } from '../keyed-mutex.ts';
import { createReconnectGrace, type RedisConnection } from './connection.ts';
import { createLeases } from './lease.ts';

/** Prefix of the keys of express-session's store; the token keys below are in the same Redis Cluster slot. */
export const sessionKeyPrefix = 'sess:';

const putUnlessEnded = `
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`;
// Both write only over the sealed record that was read, identified by its nonce, and return whether they did.
// A write that is repeated because its response was lost finds its own nonce, and counts as written.
const replaceIfUnchanged = `
local nonce = redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
if nonce == string.sub(ARGV[2], 1, #ARGV[1]) then return 1 end
if nonce ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1`;
const deleteIfUnchanged = `
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`;

const maxRememberedTouches = 50_000;
const maxWriteRetryMs = 60_000;
const maxTombstoneMs = 30 * 86_400_000;

interface RedisTokenStoreOptions {
  readonly redis: RedisConnection;
  /** Settles when enough replicas have every write made so far, so that a failover does not lose them. */
  readonly waitForReplicas: () => Promise<void>;
  /** The first one seals, all of them unseal. */
  readonly secrets: readonly Secret[];
  readonly lifetime: Lifetime;
  /** Publishes each session that this store ends; sessions that expire are not published. */
  readonly sessionEndEvents: Pick<SessionEndEvents, 'publish'>;
  readonly now: () => number;
  readonly log: Logger;
}

/** A token store that all instances share: sealed records under `{sess:<id>}:tokens` that expire with their session. */
export function createRedisTokenStore(options: RedisTokenStoreOptions): TokenStore {
  const { redis, waitForReplicas, lifetime, sessionEndEvents, now, log } = options;
  const keys = options.secrets.map((secret) => deriveKey(secret, 'tokens'));
  const idleMs = lifetime.idleSeconds * 1000;
  const tombstoneMs = Math.min(lifetime.absoluteSeconds * 1000, maxTombstoneMs);
  const withLease = createLeases(redis, leaseKey);
  const isInReconnectGrace = createReconnectGrace(redis);
  const lastTouchedAt = new Map<string, number>();
  /** Sessions whose newest tokens this process could not write yet. */
  const sessionsWithPendingWrite = new Set<string>();

  function unsealRecord(key: string, sealed: Buffer | null): TokenRecord | undefined {
    if (!sealed) return undefined;
    for (const sealingKey of keys) {
      const plaintext = unseal(sealingKey, sealed, key);
      if (plaintext === undefined) continue;
      const record = JSON.parse(plaintext) as TokenRecord; // only this store can have sealed it
      return isPastAbsoluteLimit(record, lifetime, now()) ? undefined : record;
    }
    log.error(
      'cannot decrypt a token record: SESSION_SECRET no longer contains the secret it was encrypted with',
    );
    return undefined;
  }

  const sealed = (key: string, record: TokenRecord) => seal(keys[0]!, JSON.stringify(record), key);

  /** Stores until when all callers get a failure, by the clock of the instance where it occurred. */
  async function rememberFailure(id: string, error: unknown): Promise<void> {
    if (!(error instanceof AppError) || error.retryAfterSeconds === undefined) return;
    const waitMs = error.retryAfterSeconds * 1000;
    if (waitMs > 0) await redis.set(failureKey(id), now() + waitMs, 'PX', waitMs);
  }

  function throwWhileFailing(until: string | null): void {
    const waitMs = Number(until ?? 0) - now();
    if (waitMs <= 0) return;
    const retryAfterSeconds = Math.ceil(waitMs / 1000);
    const cause = new Error('a recent token refresh failed (possibly on another instance); backing off');
    throw new PassThrough(new AppError('temporarily_unavailable', { cause, retryAfterSeconds }));
  }

  /** True when this process has not touched the session recently; a time forgotten early only means an early touch. */
  function isTimeToTouch(id: string): boolean {
    const last = lastTouchedAt.get(id);
    if (last !== undefined && now() - last < touchIntervalMs(lifetime)) return false;
    if (lastTouchedAt.size >= maxRememberedTouches) lastTouchedAt.clear();
    lastTouchedAt.set(id, now());
    return true;
  }

  return {
    get: (id, { touch = false } = {}) =>
      withStoreErrors(async () => {
        const key = tokenKey(id);
        if (!touch || !isTimeToTouch(id)) return unsealRecord(key, await redis.getBuffer(key));
        const expire = (ms: number) => [redis.pexpire(key, ms), redis.pexpire(sessionKeyPrefix + id, ms)];
        const [sealedRecord] = await Promise.all([redis.getBuffer(key), ...expire(idleMs)]);
        const record = unsealRecord(key, sealedRecord);
        const leftMs = record && record.signedInAt + lifetime.absoluteSeconds * 1000 - now();
        if (leftMs !== undefined && leftMs < idleMs) await Promise.all(expire(leftMs)); // not past the absolute limit
        return record;
      }),

    put: (id, record) =>
      withStoreErrors(() =>
        withLease(id, async () => {
          const key = tokenKey(id);
          const isWritten = await redis.eval(
            putUnlessEnded,
            2,
            key,
            tombstoneKey(id),
            sealed(key, record),
            idleMs,
          );
          if (!isWritten) throw new PassThrough(new AppError('login_required'));
          await waitForReplicas();
        }),
      ),

    update: (id, change, onDiscarded = () => {}) =>
      withStoreErrors(async () => {
        if (isInReconnectGrace())
          throw new Error('Redis reconnected recently; refresh deferred until pending token writes complete');
        if (sessionsWithPendingWrite.has(id))
          throw new Error('tokens for this session are still waiting to be written');
        throwWhileFailing(await redis.get(failureKey(id)));
        return new Promise((resolve, reject) => {
          const updated = withLease(id, async (lease) => {
            const key = tokenKey(id);
            const [before, failure] = await Promise.all([redis.getBuffer(key), redis.get(failureKey(id))]);
            throwWhileFailing(failure);
            const record = unsealRecord(key, before);
            if (!before || !record) return undefined;
            const changed = await change(record, lease.confirmAndExtend).catch(async (error: unknown) => {
              await rememberFailure(id, error);
              throw new PassThrough(error);
            });
            if (changed === record) return record;
            const nonce = sealNonce(before);
            const after = changed && sealed(key, changed);
            const write = async () => {
              const isWritten = after
                ? await redis.eval(replaceIfUnchanged, 1, key, nonce, after)
                : await redis.eval(deleteIfUnchanged, 1, key, nonce);
              if (isWritten && after) await waitForReplicas();
              else if (isWritten) sessionEndEvents.publish(id);
              return isWritten;
            };
            // The caller learns at once that the store is unavailable; the write is retried under lease and mutex.
            const isWritten = await write().catch((error: unknown) => {
              reject(error);
              sessionsWithPendingWrite.add(id);
              return retryUntilWritten(write).finally(() => sessionsWithPendingWrite.delete(id));
            });
            if (isWritten) return changed;
            // The session ended meanwhile, or the lease was lost and another instance wrote: the stored record counts.
            const current = unsealRecord(key, await redis.getBuffer(key));
            if (!current && changed) onDiscarded(changed);
            return current;
          });
          updated.then(resolve, reject);
        });
      }),

    take: (id) =>
      withStoreErrors(async () => {
        await waitForPending(withLease, id, maxTakeWaitMs);
        lastTouchedAt.delete(id);
        const key = tokenKey(id);
        const results = await redis
          .multi()
          .set(tombstoneKey(id), '', 'PX', tombstoneMs)
          .getdelBuffer(key)
          .exec();
        const [failure, taken] = results?.[1] ?? [new Error('Redis aborted the transaction')];
        if (failure) throw failure;
        sessionEndEvents.publish(id);
        await waitForReplicas();
        return unsealRecord(key, Buffer.isBuffer(taken) ? taken : null);
      }),

    endsAt: (id) =>
      withStoreErrors(async () => {
        const key = tokenKey(id);
        const [sealedRecord, idleLeftMs] = await Promise.all([redis.getBuffer(key), redis.pttl(key)]);
        const record = unsealRecord(key, sealedRecord);
        return record && Math.min(now() + idleLeftMs, record.signedInAt + lifetime.absoluteSeconds * 1000);
      }),
  };
}

const tokenKey = (id: string) => `{${sessionKeyPrefix}${id}}:tokens`;
const tombstoneKey = (id: string) => `{${sessionKeyPrefix}${id}}:ended`;
const leaseKey = (id: string) => `{${sessionKeyPrefix}${id}}:lease`;
const failureKey = (id: string) => `{${sessionKeyPrefix}${id}}:failure`;

/** Carries an error to the caller past `withStoreErrors`, which reports every other error as a store failure. */
class PassThrough {
  constructor(readonly error: unknown) {}
}

async function withStoreErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (failure) {
    throw failure instanceof PassThrough ? failure.error : storeUnavailable(failure);
  }
}

/** The result of `write` once the store is available again; gives up after a minute. */
async function retryUntilWritten<T>(write: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + maxWriteRetryMs;
  for (;;) {
    await delay(100 + Math.random() * 100, undefined, { ref: false });
    try {
      return await write();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}
