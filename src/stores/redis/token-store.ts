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

/** Session keys of express-session's store; the token keys below live in the same Redis Cluster slot. */
export const sessionKeyPrefix = 'sess:';

const putUnlessEnded = `
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`;
// Both write only over the very sealing that was read, and tell whether they did.
// A write that is made again, because its answer was lost, finds its own sealing and is content.
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
  /** Settles when enough replicas have a write that must not be lost in a failover. */
  readonly waitForReplicas: () => Promise<void>;
  /** The first seals, all open. */
  readonly secrets: readonly Secret[];
  readonly lifetime: Lifetime;
  /** Is told of each session this store sessionEndEvents; one that sessionEndEvents by its time is not told. */
  readonly sessionEndEvents: Pick<SessionEndEvents, 'publish'>;
  readonly now: () => number;
  readonly log: Logger;
}

/** The store many instances share: records sealed under `{sess:<id>}:tokens`, ending with their session. */
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

  function throwWhileFailing(until: string | null): void {
    const waitMs = Number(until ?? 0) - now();
    if (waitMs <= 0) return;
    const retryAfterSeconds = Math.ceil(waitMs / 1000);
    const cause = new Error('the authorization server failed a moment ago, here or at another instance');
    throw new PassThrough(new AppError('temporarily_unavailable', { cause, retryAfterSeconds }));
  }

  /** True when this process has not slid the session for a while; what is forgotten early only lastTouchedAt early. */
  function isTimeToTouch(id: string): boolean {
    const last = lastTouchedAt.get(id);
    if (last !== undefined && now() - last < touchIntervalMs(lifetime)) return false;
    if (lastTouchedAt.size >= maxRememberedTouches) lastTouchedAt.clear();
    lastTouchedAt.set(id, now());
    return true;
  }

  return {
    get: (id, { slide = false } = {}) =>
      withStoreErrors(async () => {
        const key = tokenKey(id);
        if (!slide || !isTimeToTouch(id)) return unsealRecord(key, await redis.getBuffer(key));
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
            endedKey(id),
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
          throw new Error('Redis has come back a moment ago; what was granted before is written first');
        if (sessionsWithPendingWrite.has(id))
          throw new Error('the newest tokens of this session are not written yet');
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
            // Whoever withStoreErrors hears at once that the store is away; the write goes on, and keeps lease and turn.
            const isWritten = await write().catch((error: unknown) => {
              reject(error);
              sessionsWithPendingWrite.add(id);
              return retryUntilWritten(write).finally(() => sessionsWithPendingWrite.delete(id));
            });
            if (isWritten) return changed;
            // Ended meanwhile, or the lease lapsed and another wrote: what is current stands.
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
        const results = await redis.multi().set(endedKey(id), '', 'PX', tombstoneMs).getdelBuffer(key).exec();
        const [failure, taken] = results?.[1] ?? [new Error('Redis dropped a transaction')];
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
const endedKey = (id: string) => `{${sessionKeyPrefix}${id}}:ended`;
const leaseKey = (id: string) => `{${sessionKeyPrefix}${id}}:lease`;
const failureKey = (id: string) => `{${sessionKeyPrefix}${id}}:failure`;

/** Carries an answer to the caller past the rule that failures here are the store's. */
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

/** What `write` answers once the store is back, for which it waits a minute at the most. */
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
