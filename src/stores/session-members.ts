import { sessionIdFromBytes, sessionIdToBytes } from '../session/session-id.ts';

/** The length of the hash by which a list of sessions is found: 96 bits, so that the names of lists are short. */
export const listHashBytes = 12;
const [textForm, bytesForm] = [0, 1] as const;

/**
 * A session id as a member of a sorted set. Redis stores a set with few members in one block of memory if none of them has
 * more than 64 bytes (`zset-max-listpack-value`); otherwise such a set takes about 1 KB. So an id is stored as 45 bytes.
 */
export function packId(id: string): Buffer {
  const bytes = sessionIdToBytes(id);
  return bytes
    ? Buffer.concat([Buffer.of(bytesForm), bytes])
    : Buffer.concat([Buffer.of(textForm), Buffer.from(id)]);
}

export function unpackId(packed: Buffer): string {
  const content = packed.subarray(1);
  return packed[0] === bytesForm ? sessionIdFromBytes(content) : content.toString();
}

/** A session, and the hashes of the lists that it is in. */
interface ListedSession {
  readonly id: string;
  readonly hashes: readonly Buffer[];
}

/** A session and its lists as a member of a sorted set: how many lists, their hashes, the id. */
export function packSession({ id, hashes }: ListedSession): Buffer {
  return Buffer.concat([Buffer.of(hashes.length), ...hashes, packId(id)]);
}

export function unpackSession(member: Buffer): ListedSession {
  const count = member[0] ?? 0;
  const hashAt = (index: number) =>
    member.subarray(1 + index * listHashBytes, 1 + (index + 1) * listHashBytes);
  return {
    hashes: Array.from({ length: count }, (_, index) => hashAt(index)),
    id: unpackId(member.subarray(1 + count * listHashBytes)),
  };
}
