import { randomUUID } from 'node:crypto';
import { createSealer, type KeySource } from '../../crypto/sealing.ts';
import { storeUnavailable } from '../../errors.ts';
import {
  maxRetryMs,
  type Revocation,
  type RevocationOutbox,
  retryDelayMs,
  runEverySecond,
  toRevocations,
} from '../../tokens/revocation-outbox.ts';
import type { RedisConnection } from './connection.ts';
import { defaultKeyPrefix } from './keys.ts';

const group = 'instances';
const maxPendingPerRun = 32;
/** An instance that has an attempt in progress shows it this often. */
const heartbeatMs = 5_000;
/** An instance that has not shown for this long that its attempt is in progress counts as dead. */
const claimAfterIdleMs = 3 * heartbeatMs;

interface RedisRevocationOutboxOptions extends KeySource {
  readonly redis: RedisConnection;
  readonly keyPrefix?: string;
  readonly attempt: (revocation: Revocation) => Promise<boolean>;
  readonly now: () => number;
}

/**
 * A Redis stream per client registration, with one consumer group for all its instances. An entry is one sealed token. The instance that reads it,
 * usually the one that added it, makes the first attempt. After a failure the entry stays pending until an instance
 * finds its retry delay over and claims it. The delay grows with the number of deliveries, which Redis counts.
 */
export function createRedisRevocationOutbox(options: RedisRevocationOutboxOptions): RevocationOutbox {
  const { redis, keyPrefix = defaultKeyPrefix, attempt, now } = options;
  const stream = `${keyPrefix}revocations:${options.registration}`;
  const sealer = createSealer(options, 'revocations');
  const consumer = randomUUID();
  const closed = new AbortController();
  /** Entries that this instance has attempted and deferred, so it knows that no attempt is in progress. */
  const deferredIds = new Set<string>();
  let hasGroup = false;

  async function ensureGroup(): Promise<void> {
    if (hasGroup) return;
    await redis.xgroup('CREATE', stream, group, '0', 'MKSTREAM').catch((error: Error) => {
      if (!error.message.startsWith('BUSYGROUP')) throw error; // another instance has created it
    });
    hasGroup = true;
  }

  function unsealRevocation(sealed: string): Revocation | undefined {
    return sealer.unseal(Buffer.from(sealed, 'base64'), stream) as Revocation | undefined; // only an instance can have sealed it
  }

  /** Makes one attempt for an entry `[id, [field, value]]` that Redis has delivered to this instance. */
  async function deliver([id, fields]: Entry): Promise<void> {
    const revocation = fields?.[1] === undefined ? undefined : unsealRevocation(fields[1]);
    deferredIds.delete(id); // no other run may claim it now
    const heartbeat = setInterval(() => {
      claim(id, 0, 'JUSTID').catch(() => undefined); // resets the idle time
    }, heartbeatMs).unref();
    try {
      // An entry that is unreadable here may be readable for newer instances, which have a newer secret or format.
      const isDone = revocation ? await attempt(revocation) : now() - Number.parseInt(id, 10) > maxRetryMs;
      if (isDone) await redis.multi().xack(stream, group, id).xdel(stream, id).exec();
      else deferredIds.add(id);
    } finally {
      clearInterval(heartbeat);
    }
  }

  async function processDue(): Promise<void> {
    if ((await redis.xlen(stream)) === 0) return deferredIds.clear();
    await ensureGroup();
    try {
      await deliverDue();
    } catch (error) {
      // Redis has lost its data, and the group with it; what is added afterwards needs a new one.
      if (error instanceof Error && error.message.includes('NOGROUP')) hasGroup = false;
      throw error;
    }
  }

  async function deliverDue(): Promise<void> {
    for (let entry = await readNew(); entry; entry = await readNew()) await deliver(entry);
    const pending = await redis.xpending(stream, group, 'IDLE', retryDelayMs(1), '-', '+', maxPendingPerRun);
    for (const [id, , idleMs, deliveries] of pending as Pending[]) {
      const minIdleMs = deferredIds.has(id)
        ? retryDelayMs(deliveries)
        : Math.max(retryDelayMs(deliveries), claimAfterIdleMs);
      if (idleMs < minIdleMs) continue;
      // XCLAIM checks the idle time again, so of two instances that claim at the same time only one gets the entry.
      const [claimed] = (await claim(id, minIdleMs)) as Entry[];
      if (claimed) await deliver(claimed);
    }
  }

  const claim = (id: string, minIdleMs: number, ...options: readonly 'JUSTID'[]) =>
    redis.call('XCLAIM', stream, group, consumer, minIdleMs, id, ...options);

  /** The next new entry. One at a time: the idle time of an entry counts from its delivery. */
  async function readNew(): Promise<Entry | undefined> {
    const read = await redis.xreadgroup('GROUP', group, consumer, 'COUNT', 1, 'STREAMS', stream, '>');
    return (read as [string, Entry[]][] | null)?.[0]?.[1][0];
  }

  runEverySecond(processDue, closed.signal);
  return {
    async add(tokens) {
      try {
        const entries = toRevocations(tokens, now());
        const transaction = redis.multi();
        for (const each of entries)
          transaction.xadd(stream, '*', 'sealed', sealer.seal(each, stream).toString('base64'));
        await transaction.exec();
      } catch (error) {
        throw storeUnavailable(error);
      }
    },
    processDue,
    pending: () => redis.xlen(stream),
    close: () => closed.abort(),
  };
}

type Entry = readonly [id: string, fields: readonly string[] | null];
type Pending = readonly [id: string, consumer: string, idleMs: number, deliveries: number];
