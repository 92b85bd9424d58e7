import { sealNonceBytes } from '../../crypto/sealing.ts';

// Lua scripts of the token store. A record is identified by its nonce, the first bytes of the sealed record.

/** Keys: record, tombstone. Arguments: sealed record, TTL in ms. Returns 1, or 0 when the session has ended. */
export const putUnlessEnded = `
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`;

/**
 * Keys: record, tombstone. Arguments: nonce of the record that was read, new sealed record (empty removes it).
 * Returns 1, or `[record, tombstone]` when another record is stored or none. A write that is repeated because its
 * response was lost finds its own nonce and returns 1.
 */
export const writeIfUnchanged = `
local nonce = redis.call('GETRANGE', KEYS[1], 0, ${sealNonceBytes - 1})
if ARGV[2] ~= '' and nonce == string.sub(ARGV[2], 1, ${sealNonceBytes}) then return 1 end
if nonce ~= ARGV[1] then return { redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]) } end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL') end
return 1`;

/**
 * Removes the record and leaves a tombstone; an older tombstone stays.
 * Keys: record, tombstone. Arguments: nonce of the record that was read (empty: there was none), sealed reason, TTL of
 * the tombstone in ms. Returns 1, or 0 when the record has changed.
 */
export const endIfUnchanged = `
if redis.call('GETRANGE', KEYS[1], 0, ${sealNonceBytes - 1}) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3])
return 1`;
