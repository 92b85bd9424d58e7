import { createSealer, type KeySource, sealNonce } from '../../crypto/sealing.ts';
import { AppError, storeUnavailable } from '../../errors.ts';
import type { HistogramSeries } from '../../metrics/series.ts';
import { elapsedMs } from '../../time/elapsed.ts';
import { indexIntervalMs, type SessionIndex } from '../../tokens/indexed-sessions.ts';
import type { SessionEndEvents } from '../../tokens/session-end-events.ts';
import {
  absoluteEndOf,
  endedByOf,
  type Lifetime,
  maxTakeWaitMs,
  type SessionEndReason,
  sessionDataGraceMs,
  type TokenRecord,
  type TokenStore,
  touchIntervalMs,
} from '../../tokens/token-store.ts';
import type { RecordChanges } from '../cached-token-store.ts';
import { compressedText } from '../compressed-text.ts';
import { runAfterPending } from '../keyed-mutex.ts';
import { createOpenedRecords } from '../opened-records.ts';
import { findReconnectGrace, type RedisConnection, retryUntilWritten } from './connection.ts';
import { createSessionKeys, defaultKeyPrefix } from './keys.ts';
import { createLeases } from './lease.ts';
import { endIfUnchanged, putUnlessEnded, writeIfUnchanged } from './token-scripts.ts';

const maxRememberedTouches = 50_000;
const maxTakeAttempts = 10;
const maxTombstoneMs = 30 * 86_400_000;

interface RedisTokenStoreOptions extends KeySource {
  readonly redis: RedisConnection;
  readonly keyPrefix?: string;
  /** Settles when enough replicas have every write made so far, so that a failover does not lose them. */
  readonly waitForReplicas: () => Promise<void>;
  readonly lifetime: Lifetime;
  /** Publishes each session that this store ends or changes; sessions that expire are not published. */
  readonly sessionEndEvents: Pick<SessionEndEvents, 'publish'> & Pick<RecordChanges, 'publishChange'>;
  readonly index: Pick<SessionIndex, 'add' | 'remove'>;
  readonly now: () => number;
  /** As `elapsedMs`. */
  readonly elapsed?: () => number;
  readonly leaseWait?: HistogramSeries;
}

/** A token store that all instances share: sealed records that expire with their session. */
export function createRedisTokenStore(options: RedisTokenStoreOptions): TokenStore {
  const { redis, waitForReplicas, lifetime, sessionEndEvents, index, now, elapsed = elapsedMs } = options;
  const sealer = createSealer(options, 'tokens', compressedText);
  const keyOf = createSessionKeys(options.keyPrefix ?? defaultKeyPrefix, options.registration);
  const tokenKey = (id: string) => keyOf(id, 'tokens');
  const tombstoneKey = (id: string) => keyOf(id, 'ended');
  const leaseKey = (id: string) => keyOf(id, 'lease');
  const failureKey = (id: string) => keyOf(id, 'failure');
  const idleMs = lifetime.idleSeconds * 1000;
  const tombstoneMs = Math.min(lifetime.absoluteSeconds * 1000, maxTombstoneMs);
  const withLease = createLeases(redis, leaseKey, options.leaseWait);
  const isInReconnectGrace = findReconnectGrace(redis);
  const open = createOpenedRecords<TokenRecord>(sealer);
  const lastTouchedAt = new Map<string, number>();
  const lastIndexedAt = new Map<string, number>();
  /** By session id: what this process could not write yet. */
  const pendingWrites = new Map<string, Promise<unknown>>();

  function unsealRecord(key: string, sealed: Buffer | null): TokenRecord | undefined {
    const record = open(key, sealed);
    return record && now() < absoluteEndOf(record, lifetime) ? record : undefined;
  }

  function unsealReason(key: string, sealed: Buffer | null): SessionEndReason | undefined {
    if (!sealed) return undefined;
    const reason = sealer.unseal(sealed, key) as SessionEndReason | undefined; // only this store can have sealed it
    // Revoking tokens could end another session (decision 3), so it needs certainty.
    return reason ?? { kind: 'replaced', successor: undefined };
  }

  /** Makes all callers get a failure for the time in `error`, which only Redis measures: clocks of instances differ. */
  async function rememberFailure(id: string, error: unknown): Promise<void> {
    if (!(error instanceof AppError) || error.retryAfterSeconds === undefined) return;
    const waitMs = error.retryAfterSeconds * 1000;
    if (waitMs > 0) await redis.set(failureKey(id), '', 'PX', waitMs);
  }

  function throwWhileFailing(waitMs: number): void {
    if (waitMs <= 0) return; // there is no key
    const retryAfterSeconds = Math.ceil(waitMs / 1000);
    const cause = new Error('a recent token refresh failed (possibly on another instance); backing off');
    throw new PassThrough(new AppError('temporarily_unavailable', { cause, retryAfterSeconds }));
  }

  function throwInReconnectGrace(): void {
    if (isInReconnectGrace())
      throw new Error('Redis reconnected recently; refresh deferred until pending token writes complete');
  }

  /** True when `times` has no recent time of this session, which gets one; a time forgotten early only means an early touch. */
  function isTimeTo(times: Map<string, number>, id: string, intervalMs: number): boolean {
    const last = times.get(id);
    if (last !== undefined && elapsed() - last < intervalMs) return false;
    if (times.size >= maxRememberedTouches) times.clear();
    times.set(id, elapsed());
    return true;
  }

  /** Also adds an entry that a failover has lost. The request does not wait: the node of the index may be down. */
  function updateIndex(id: string, record: TokenRecord, ttlMs: number): void {
    if (!isTimeTo(lastIndexedAt, id, indexIntervalMs(lifetime))) return;
    const times = { lastUsedAt: now(), endsAt: now() + ttlMs };
    // The session may have ended, and lost its entries, before this adds the last one, which no sweep would find.
    const removeIfEnded = async () => (await redis.exists(tokenKey(id))) || index.remove(id, record);
    const tryAgainSoon = () => lastIndexedAt.delete(id);
    index.add(id, record, times).then(removeIfEnded).catch(tryAgainSoon);
  }

  /** Nobody has to wait for it, and the sweep removes what this leaves. */
  async function removeFromIndex(id: string, record: TokenRecord | undefined): Promise<void> {
    lastTouchedAt.delete(id);
    lastIndexedAt.delete(id);
    if (record) await index.remove(id, record).catch(() => undefined);
  }

  return {
    get: (id, { touch = false } = {}) =>
      withStoreErrors(async () => {
        const key = tokenKey(id);
        const record = unsealRecord(key, await redis.getBuffer(key));
        if (!record || !touch || !isTimeTo(lastTouchedAt, id, touchIntervalMs(lifetime))) return record;
        const ttlMs = Math.min(idleMs, absoluteEndOf(record, lifetime) - now());
        updateIndex(id, record, ttlMs);
        await Promise.all([
          redis.pexpire(key, ttlMs),
          redis.pexpire(keyOf(id, 'data'), ttlMs + sessionDataGraceMs),
        ]);
        return record;
      }),

    put: (id, record) =>
      withStoreErrors(() =>
        withLease(id, async () => {
          const key = tokenKey(id);
          await index.add(id, record, { lastUsedAt: now(), endsAt: now() + idleMs });
          const sealed = sealer.seal(record, key);
          const isWritten = await redis.eval(putUnlessEnded, 2, key, tombstoneKey(id), sealed, idleMs);
          if (!isWritten) throw new PassThrough(new AppError('login_required'));
          await waitForReplicas();
        }),
      ),

    update: (id, change, onDiscarded = () => {}) =>
      withStoreErrors(async () => {
        throwInReconnectGrace();
        if (pendingWrites.has(id)) throw new Error('tokens for this session are still waiting to be written');
        throwWhileFailing(await redis.pttl(failureKey(id)));
        return new Promise((resolve, reject) => {
          const updated = withLease(id, async (lease) => {
            const key = tokenKey(id);
            const [before, failureMs] = await Promise.all([redis.getBuffer(key), redis.pttl(failureKey(id))]);
            throwInReconnectGrace(); // Redis may have reconnected while this waited for the lease
            throwWhileFailing(failureMs);
            const record = unsealRecord(key, before);
            if (!before || !record) return undefined;
            const changed = await change(record, lease.confirmAndExtend).catch(async (error: unknown) => {
              await rememberFailure(id, error);
              throw new PassThrough(error);
            });
            if (changed === record) return record;
            const nonce = sealNonce(before);
            const after = changed ? sealer.seal(changed, key) : '';
            const write = async () => {
              const stored = await redis.evalBuffer(writeIfUnchanged, 2, key, tombstoneKey(id), nonce, after);
              if (changed && !Array.isArray(stored)) await waitForReplicas();
              return stored;
            };
            // The caller learns at once that the store is unavailable; the write is retried under lease and mutex.
            const stored = await write().catch((error: unknown) => {
              reject(error);
              const isPastEnd = () => now() >= absoluteEndOf(record, lifetime);
              const written = retryUntilWritten(write, isPastEnd).finally(() => pendingWrites.delete(id));
              pendingWrites.set(id, written);
              return written;
            });
            if (changed) sessionEndEvents.publishChange(id); // also if only the reply to an earlier attempt was lost
            if (Array.isArray(stored)) {
              // The session has ended, or the lease was lost and another instance wrote: the stored record counts.
              const [current, tombstone] = stored as [Buffer | null, Buffer | null];
              const newest = unsealRecord(key, current);
              if (newest) return newest;
              if (changed) onDiscarded(changed, unsealReason(tombstoneKey(id), tombstone));
            }
            if (!changed) {
              sessionEndEvents.publish(id);
              await removeFromIndex(id, record);
            }
            return Array.isArray(stored) ? undefined : changed;
          });
          updated.then(resolve, reject);
        });
      }),

    take: (id, reason, beforeRemoval = async () => {}) =>
      withStoreErrors(() =>
        runAfterPending(withLease, id, maxTakeWaitMs, async () => {
          const key = tokenKey(id);
          const sealedReason = sealer.seal(reason, tombstoneKey(id));
          for (let attempts = 0; attempts < maxTakeAttempts; attempts += 1) {
            const sealed = await redis.getBuffer(key);
            const record = unsealRecord(key, sealed);
            if (record) await beforeRemoval(record);
            const nonce = sealed ? sealNonce(sealed) : '';
            const keysOfSession = [key, tombstoneKey(id)] as const;
            if (!(await redis.eval(endIfUnchanged, 2, ...keysOfSession, nonce, sealedReason, tombstoneMs)))
              continue;
            sessionEndEvents.publish(id, endedByOf(reason));
            await Promise.all([waitForReplicas(), removeFromIndex(id, record)]);
            return record;
          }
          throw new Error('the token record kept changing while its session was being ended');
        }),
      ),

    endReason: (id) =>
      withStoreErrors(async () => unsealReason(tombstoneKey(id), await redis.getBuffer(tombstoneKey(id)))),

    endsAt: (id) =>
      withStoreErrors(async () => {
        const key = tokenKey(id);
        const [sealedRecord, idleLeftMs] = await Promise.all([redis.getBuffer(key), redis.pttl(key)]);
        const record = unsealRecord(key, sealedRecord);
        return record && Math.min(now() + idleLeftMs, absoluteEndOf(record, lifetime));
      }),

    async drain() {
      while (pendingWrites.size > 0) await Promise.allSettled(pendingWrites.values());
    },
  };
}

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
