import { createHmac, randomUUID } from 'node:crypto';
import { deriveKeys, type KeySource } from '../../crypto/sealing.ts';
import { storeUnavailable } from '../../errors.ts';
import type { Logger } from '../../logger.ts';
import {
  type IndexedSession,
  type SessionIndex,
  type SessionSelector,
  selectorsOf,
  sweepIntervalMs,
} from '../../tokens/indexed-sessions.ts';
import type { Lifetime, TokenRecord } from '../../tokens/token-store.ts';
import { listHashBytes, packId, packSession, unpackId, unpackSession } from '../session-members.ts';
import type { RedisConnection } from './connection.ts';
import { createSessionKeys, defaultKeyPrefix } from './keys.ts';

/** The list of all sessions is divided into this many keys, which a cluster distributes. */
const shards = 16;
/** How many entries of a shard are read at once, and how often in one sweep; the next sweep continues. */
const pageSize = 500;
const maxPagesPerSweep = 20;
/** The instance that sweeps holds the lock for a little less than the interval. */
const lockMs = sweepIntervalMs - 5_000;
/** The lists of a user who has not signed in for longer than a session can live are removed even if nobody sweeps. */
const graceMs = 86_400_000;

/** Adds or moves a member of a sorted set. Keys: set. Arguments: member, score, TTL of the set in ms. */
export const addMember = `
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`;

interface RedisSessionIndexOptions extends KeySource {
  readonly redis: RedisConnection;
  readonly keyPrefix?: string;
  readonly lifetime: Lifetime;
  readonly now: () => number;
  readonly log: Logger;
  /** Is called with each session that has expired, on one instance, about a minute later. */
  readonly onExpired?: (id: string) => void;
}

/**
 * A session index that all instances share. A sorted set per user and per session at the provider has the ids of their
 * sessions by the time of their last use; its name is a keyed hash. All sessions are listed in a few more sorted sets, by
 * the time at which they have to be checked. The members of both are bytes.
 */
export function createRedisSessionIndex(options: RedisSessionIndexOptions): SessionIndex {
  const { redis, registration, keyPrefix = defaultKeyPrefix, lifetime, now, log } = options;
  const { onExpired = () => undefined } = options;
  const keys = deriveKeys(options, 'session_index');
  const prefix = `${keyPrefix}s:${registration}:`;
  const keyOf = createSessionKeys(keyPrefix, registration);
  const listTtlMs = lifetime.absoluteSeconds * 1000 + graceMs;
  const shardKeys = Array.from({ length: shards }, (_, shard) => `${prefix}all:${shard}`);
  const shardKeyOf = (id: string) => shardKeys[id.charCodeAt(0) % shards]!;

  /** The hash of each secret, that of new entries first. */
  function hashesOf(selector: SessionSelector): readonly Buffer[] {
    const [[kind, value]] = Object.entries(selector) as [[string, string]];
    return keys.map((key) =>
      createHmac('sha256', key).update(`${kind} ${value}`).digest().subarray(0, listHashBytes),
    );
  }

  const listKeyOf = (hash: Buffer) => prefix + hash.toString('base64url');

  /** The members under which a shard lists a session: the id and what it is found by, for each secret. */
  function membersOf(id: string, record: TokenRecord): readonly Buffer[] {
    const hashes = selectorsOf(record).map(hashesOf);
    return keys.map((_, secret) => packSession({ id, hashes: hashes.map((each) => each[secret]!) }));
  }

  /** @returns false if another instance has removed it */
  async function removeMember(shardKey: string, member: Buffer): Promise<boolean> {
    const { id, hashes } = unpackSession(member);
    await Promise.all(hashes.map((hash) => redis.zrem(listKeyOf(hash), packId(id))));
    // Last, so that a crash in between is repaired by the next sweep.
    return (await redis.zrem(shardKey, member)) === 1;
  }

  async function removeExpired(shardKey: string, member: Buffer, id: string): Promise<void> {
    const hasEnded = (await redis.pttl(keyOf(id, 'ended'))) > 0; // in a crash
    if ((await removeMember(shardKey, member)) && !hasEnded) onExpired(id);
  }

  async function sweepShard(shardKey: string): Promise<void> {
    for (let page = 0; page < maxPagesPerSweep; page += 1) {
      const due = await redis.zrangebyscoreBuffer(shardKey, '-inf', now(), 'LIMIT', 0, pageSize);
      await Promise.all(
        due.map(async (member) => {
          const { id } = unpackSession(member);
          const leftMs = await redis.pttl(keyOf(id, 'tokens'));
          // A session that was used since its entry was written lives longer than the entry says.
          if (leftMs > 0) await redis.zadd(shardKey, 'XX', now() + leftMs, member);
          else await removeExpired(shardKey, member, id);
        }),
      );
      if (due.length < pageSize) return;
    }
  }

  async function sweep(): Promise<void> {
    for (const each of shardKeys) await sweepShard(each);
  }

  async function sweepUnlessLocked(): Promise<void> {
    try {
      if (await redis.set(`${prefix}sweep`, randomUUID(), 'PX', lockMs, 'NX')) await sweep();
    } catch (error) {
      log.debug({ err: error }, 'sweeping the session index failed; the next sweep continues');
    }
  }

  const timer = setInterval(() => void sweepUnlessLocked(), sweepIntervalMs).unref();

  return {
    add: (id, record, { lastUsedAt, endsAt }) =>
      withStoreErrors(async () => {
        const [member] = membersOf(id, record);
        const lists = selectorsOf(record).map((each) => listKeyOf(hashesOf(each)[0]!));
        // First, so that the sweep finds what a crash in between has left. On a cluster, the lists are on other nodes.
        await redis.eval(addMember, 1, shardKeyOf(id), member!, endsAt, listTtlMs);
        const packed = packId(id);
        await Promise.all(lists.map((key) => redis.eval(addMember, 1, key, packed, lastUsedAt, listTtlMs)));
      }),

    remove: (id, record) =>
      withStoreErrors(async () => {
        await Promise.all(membersOf(id, record).map((member) => removeMember(shardKeyOf(id), member)));
      }),

    forget: (id, selector) =>
      withStoreErrors(async () => {
        await Promise.all(hashesOf(selector).map((hash) => redis.zrem(listKeyOf(hash), packId(id))));
      }),

    find: (selector, max) =>
      withStoreErrors(async () => {
        const read = (hash: Buffer) => redis.zrevrangeBuffer(listKeyOf(hash), 0, max - 1, 'WITHSCORES');
        const found = (await Promise.all(hashesOf(selector).map(read))).flatMap(toSessions);
        const newest = new Map<string, IndexedSession>();
        for (const each of found.sort((one, other) => one.lastUsedAt - other.lastUsedAt))
          newest.set(each.id, each);
        return [...newest.values()].sort((one, other) => other.lastUsedAt - one.lastUsedAt).slice(0, max);
      }),

    async *all() {
      for (const shardKey of shardKeys)
        for (let cursor = '0', isFirst = true; isFirst || cursor !== '0'; isFirst = false) {
          const scan = () => redis.zscanBuffer(shardKey, cursor, 'COUNT', pageSize);
          const [next, found] = await withStoreErrors(scan);
          cursor = next.toString();
          yield* await withStoreErrors(() => Promise.all(toPairs(found).map(withLastUse)));
        }
    },

    count: () =>
      withStoreErrors(async () => {
        const counts = await Promise.all(shardKeys.map((key) => redis.zcount(key, now(), '+inf')));
        return counts.reduce((sum, each) => sum + each, 0);
      }),

    sweep: () => withStoreErrors(sweep),
    close: () => clearInterval(timer),
  };

  /** The session of a member of a shard, whose score is when it ends. Only lists by user have the last use. */
  async function withLastUse([member, endsAt]: readonly [Buffer, number]): Promise<IndexedSession> {
    const { id, hashes } = unpackSession(member);
    const score = hashes[0] ? await redis.zscore(listKeyOf(hashes[0]), packId(id)) : null;
    return { id, lastUsedAt: score === null ? endsAt - lifetime.idleSeconds * 1000 : Number(score) };
  }
}

function toPairs(withScores: readonly Buffer[]): readonly (readonly [Buffer, number])[] {
  return Array.from({ length: withScores.length / 2 }, (_, index) => [
    withScores[2 * index]!,
    Number(withScores[2 * index + 1]),
  ]);
}

const toSessions = (withScores: readonly Buffer[]): readonly IndexedSession[] =>
  toPairs(withScores).map(([member, lastUsedAt]) => ({ id: unpackId(member), lastUsedAt }));

async function withStoreErrors<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw storeUnavailable(error);
  }
}
