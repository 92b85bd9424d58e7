import { withoutOwnerTag } from '../../session/session-id.ts';

/** Where every key and every channel begins, unless `REDIS_PREFIX` says otherwise. */
export const defaultKeyPrefix = 'latchkey:';

/** What is stored for one session, under one key each. All are in the same Redis Cluster slot, by their hash tag. */
export type SessionPart = 'tokens' | 'ended' | 'failure' | 'lease' | 'data';

/** The part of a session's keys before the id, and the part after it. */
export function sessionKeyParts(keyPrefix: string, registration: string, part: SessionPart) {
  return { start: `${keyPrefix}{s:${registration}:`, end: `}:${part}` } as const;
}

/** Returns a function that names the keys of a session, by its id: only by its random part, so that names are short. */
export function createSessionKeys(keyPrefix: string, registration: string) {
  return (id: string, part: SessionPart): string => {
    const { start, end } = sessionKeyParts(keyPrefix, registration, part);
    return start + withoutOwnerTag(id) + end;
  };
}
