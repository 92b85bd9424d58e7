import { randomUUID } from 'node:crypto';
import { createSealer, type KeySource } from '../../crypto/sealing.ts';
import { storeUnavailable } from '../../errors.ts';
import { createFairQueue } from '../../fair-queue.ts';
import {
  maxRetryMs,
  type Revocation,
  type RevocationOutbox,
  retryDelayMs,
  revocationSlots,
  runEverySecond,
  toRevocations,
} from '../../tokens/revocation-outbox.ts';
import { createKeyedMutex } from '../keyed-mutex.ts';
import type { RedisConnection } from './connection.ts';
import { defaultKeyPrefix } from './keys.ts';

const group = 'instances';
const pendingPageSize = 100;
/** A run reads at most this many pending entries; the next one continues after them. */
const maxPendingPerRun = 1_000;
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
  const runInOrder = createKeyedMutex();
  const [runNew, runRetry] = [createFairQueue(revocationSlots), createFairQueue(revocationSlots)];
  let hasGroup = false;
  let scan: Promise<void> | undefined;
  /** The last pending entry that a scan has read, as the exclusive start of the next one; `-` is the first entry. */
  let scanFrom = '-';

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
      const isDone = revocation
        ? await runInOrder(revocation.group, () => attempt(revocation))
        : now() - Number.parseInt(id, 10) > maxRetryMs;
      if (isDone) await redis.multi().xack(stream, group, id).xdel(stream, id).exec();
      else deferredIds.add(id);
    } finally {
      clearInterval(heartbeat);
    }
  }

  /** Calls `work` with the number of entries, unless there are none. */
  async function withEntries(work: (count: number) => Promise<unknown>): Promise<void> {
    const count = await redis.xlen(stream);
    if (count === 0) return deferredIds.clear();
    await ensureGroup();
    try {
      await work(count);
    } catch (error) {
      // Redis has lost its data, and the group with it; what is added afterwards needs a new one.
      if (error instanceof Error && error.message.includes('NOGROUP')) hasGroup = false;
      throw error;
    }
  }

  async function deliverNew(count: number): Promise<void> {
    const deliverNext = async () => {
      const entry = await readNew();
      if (entry) await deliver(entry);
      return entry !== undefined;
    };
    const deliverAll = async () => {
      while (await runNew(stream, deliverNext));
    };
    await Promise.all(Array.from({ length: Math.min(count, revocationSlots.maxConcurrent) }, deliverAll));
  }

  function deliverPending(): Promise<void> {
    scan ??= scanPending().finally(() => {
      scan = undefined;
    });
    return scan;
  }

  async function scanPending(): Promise<void> {
    const due: Promise<void>[] = [];
    for (let read = 0; read < maxPendingPerRun; read += pendingPageSize) {
      const page = await redis.xpending(
        ...([stream, group, 'IDLE', retryDelayMs(1), scanFrom, '+', pendingPageSize] as const),
      );
      const pending = page as Pending[];
      for (const each of pending.filter(isDue)) due.push(runRetry(stream, () => claimAndDeliver(each)));
      const last = pending.length < pendingPageSize ? undefined : pending.at(-1);
      scanFrom = last ? `(${last[0]}` : '-';
      if (!last) break;
    }
    await Promise.all(due);
  }

  function minIdleMsOf([id, , , deliveries]: Pending): number {
    const delayMs = retryDelayMs(deliveries);
    return deferredIds.has(id) ? delayMs : Math.max(delayMs, claimAfterIdleMs);
  }

  const isDue = (pending: Pending) => pending[2] >= minIdleMsOf(pending);

  async function claimAndDeliver(pending: Pending): Promise<void> {
    // XCLAIM checks the idle time again, so of two instances that claim at the same time only one gets the entry.
    const [claimed] = (await claim(pending[0], minIdleMsOf(pending))) as Entry[];
    if (claimed) await deliver(claimed);
  }

  const claim = (id: string, minIdleMs: number, ...options: readonly 'JUSTID'[]) =>
    redis.call('XCLAIM', stream, group, consumer, minIdleMs, id, ...options);

  /** The next new entry. One at a time: the idle time of an entry counts from its delivery. */
  async function readNew(): Promise<Entry | undefined> {
    const read = await redis.xreadgroup('GROUP', group, consumer, 'COUNT', 1, 'STREAMS', stream, '>');
    return (read as [string, Entry[]][] | null)?.[0]?.[1][0];
  }

  const processNew = () => withEntries(deliverNew);
  const processDue = () => withEntries((count) => Promise.all([deliverNew(count), deliverPending()]));

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
    processNew,
    processDue,
    pending: () => redis.xlen(stream),
    close: () => closed.abort(),
  };
}

type Entry = readonly [id: string, fields: readonly string[] | null];
type Pending = readonly [id: string, consumer: string, idleMs: number, deliveries: number];
