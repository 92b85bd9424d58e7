import { createHash, randomUUID } from 'node:crypto';
import { deriveKey, seal, unseal } from '../../crypto/sealing.ts';
import type { Secret } from '../../crypto/secret.ts';
import { storeUnavailable } from '../../errors.ts';
import {
  maxRetryMs,
  pauseMs,
  type Revocation,
  type RevocationOutbox,
  revocationsOf,
  runEverySecond,
} from '../../tokens/revocation-outbox.ts';
import type { RedisConnection } from './connection.ts';

const group = 'instances';
const batch = 32;
/** An attempt of another instance may be under way for this long; after that the instance is taken for dead. */
const claimAfterIdleMs = 15_000;

interface RedisRevocationOutboxOptions {
  /** Tells this client at its provider from others on the same Redis, who could not revoke its tokens. */
  readonly client: string;
  readonly redis: RedisConnection;
  readonly secrets: readonly Secret[];
  readonly attempt: (revocation: Revocation) => Promise<boolean>;
  readonly now: () => number;
}

/**
 * A Redis stream with one consumer group for all instances. An entry is one token, sealed. Its first attempt is made by
 * whoever reads it, as a rule the instance that added it; after that it stays pending, and whoever finds that its pause
 * is over claims it. The pause grows with the number of deliveries, which Redis counts.
 */
export function createRedisRevocationOutbox(options: RedisRevocationOutboxOptions): RevocationOutbox {
  const { redis, attempt, now } = options;
  const stream = `latchkey:revocations:${createHash('sha256').update(options.client).digest('base64url')}`;
  const keys = options.secrets.map((secret) => deriveKey(secret, 'revocations'));
  const consumer = randomUUID();
  const closed = new AbortController();
  /** Entries this instance has tried and put off, so that it knows that nothing is under way. */
  const deferredIds = new Set<string>();
  let hasGroup = false;

  async function ensureGroup(): Promise<void> {
    if (hasGroup) return;
    await redis.xgroup('CREATE', stream, group, '0', 'MKSTREAM').catch((error: Error) => {
      if (!error.message.startsWith('BUSYGROUP')) throw error; // another instance has made it
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

  /** Entries `[id, [field, value]]` that are delivered to this instance, one attempt each. */
  async function deliver(entries: readonly Entry[]): Promise<void> {
    for (const [id, fields] of entries) {
      const revocation = fields?.[1] === undefined ? undefined : unsealRevocation(fields[1]);
      // One that this instance cannot open may have been sealed with a secret that only newer instances have yet.
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
    const pending = (await redis.xpending(stream, group, 'IDLE', pauseMs(1), '-', '+', batch)) as Pending[];
    for (const [id, , idleMs, deliveries] of pending) {
      const pause = deferredIds.has(id)
        ? pauseMs(deliveries)
        : Math.max(pauseMs(deliveries), claimAfterIdleMs);
      // Claiming tells Redis the pause once more, so that of two who claim at once only one gets it.
      if (idleMs >= pause)
        await deliver((await redis.call('XCLAIM', stream, group, consumer, pause, id)) as Entry[]);
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
        const entries = revocationsOf(tokens, now());
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
