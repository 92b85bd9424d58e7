import { createHash, randomUUID } from 'node:crypto';
import { deriveKey, seal, unseal } from '../../crypto/sealing.ts';
import type { Secret } from '../../crypto/secret.ts';
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

const group = 'instances';
const batch = 32;
/** An attempt of another instance may take this long; after that, the instance counts as dead. */
const claimAfterIdleMs = 15_000;

interface RedisRevocationOutboxOptions {
  /** Identifies this client and its provider; other clients on the same Redis could not revoke its tokens. */
  readonly client: string;
  readonly redis: RedisConnection;
  readonly secrets: readonly Secret[];
  readonly attempt: (revocation: Revocation) => Promise<boolean>;
  readonly now: () => number;
}

/**
 * A Redis stream with one consumer group for all instances. An entry is one sealed token. The instance that reads it,
 * usually the one that added it, makes the first attempt. After a failure the entry stays pending until an instance
 * finds its retry delay over and claims it. The delay grows with the number of deliveries, which Redis counts.
 */
export function createRedisRevocationOutbox(options: RedisRevocationOutboxOptions): RevocationOutbox {
  const { redis, attempt, now } = options;
  const stream = `latchkey:revocations:${createHash('sha256').update(options.client).digest('base64url')}`;
  const keys = options.secrets.map((secret) => deriveKey(secret, 'revocations'));
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
    for (const key of keys) {
      const text = unseal(key, Buffer.from(sealed, 'base64'), stream);
      if (text !== undefined) return JSON.parse(text) as Revocation; // only an instance can have sealed it
    }
    return undefined;
  }

  /** Makes one attempt for each entry `[id, [field, value]]` that Redis has delivered to this instance. */
  async function deliver(entries: readonly Entry[]): Promise<void> {
    for (const [id, fields] of entries) {
      const revocation = fields?.[1] === undefined ? undefined : unsealRevocation(fields[1]);
      // An entry that cannot be unsealed here may be sealed with a secret that only newer instances have yet.
      const isDone = revocation ? await attempt(revocation) : now() - Number.parseInt(id, 10) > maxRetryMs;
      deferredIds.delete(id);
      if (!isDone) {
        deferredIds.add(id);
        continue;
      }
      await redis.multi().xack(stream, group, id).xdel(stream, id).exec();
    }
  }

  async function processDue(): Promise<void> {
    if ((await redis.xlen(stream)) === 0) return deferredIds.clear();
    await ensureGroup();
    for (let entries = await readNew(); entries.length > 0; entries = await readNew()) await deliver(entries);
    const pending = await redis.xpending(stream, group, 'IDLE', retryDelayMs(1), '-', '+', batch);
    for (const [id, , idleMs, deliveries] of pending as Pending[]) {
      const minIdleMs = deferredIds.has(id)
        ? retryDelayMs(deliveries)
        : Math.max(retryDelayMs(deliveries), claimAfterIdleMs);
      // XCLAIM checks the idle time again, so of two instances that claim at the same time only one gets the entry.
      if (idleMs >= minIdleMs)
        await deliver((await redis.call('XCLAIM', stream, group, consumer, minIdleMs, id)) as Entry[]);
    }
  }

  async function readNew(): Promise<readonly Entry[]> {
    const read = await redis.xreadgroup('GROUP', group, consumer, 'COUNT', batch, 'STREAMS', stream, '>');
    return (read as [string, Entry[]][] | null)?.[0]?.[1] ?? [];
  }

  runEverySecond(processDue, closed.signal);
  return {
    async add(tokens) {
      try {
        const entries = toRevocations(tokens, now());
        const transaction = redis.multi();
        for (const each of entries)
          transaction.xadd(
            stream,
            '*',
            'sealed',
            seal(keys[0]!, JSON.stringify(each), stream).toString('base64'),
          );
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
