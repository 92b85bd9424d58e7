import { createHmac, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { deriveKeys, type KeySource } from '../crypto/sealing.ts';

const idBytes = 32;
const ownerTagBytes = 16;
const idWithOwnerTag = /^([\w-]{43})([\w-]{22})$/;

/**
 * Session ids: 32 random bytes and, if the user has a `sub`, an owner tag (HMAC of the bytes and `sub`). With the tag, the
 * cookie still identifies its user after the session was deleted. Two sessions of one user have different tags.
 */
export interface SessionIds {
  /** A new id for a session of the user `sub`; without an owner tag if `sub` is undefined. */
  create(sub: string | undefined): string;
  /** True when `id` has an owner tag, whether or not it is genuine. */
  hasOwner(id: string): boolean;
  /** True when `id` was created for a session of the user `sub` of this client registration. */
  isOwner(id: string, sub: string | undefined): boolean;
}

/** The first of several secrets creates owner tags; `isOwner` accepts the tags of all. */
export function createSessionIds(source: KeySource): SessionIds {
  const keys = deriveKeys(source, 'session_owner');

  return {
    create(sub) {
      const random = randomBytes(idBytes).toString('base64url');
      return sub === undefined
        ? random
        : random + computeOwnerTag(keys[0]!, random, sub).toString('base64url');
    },

    hasOwner: (id) => idWithOwnerTag.test(id),

    isOwner(id, sub) {
      const [, random, tag] = idWithOwnerTag.exec(id) ?? [];
      if (random === undefined || tag === undefined || sub === undefined) return false;
      const given = Buffer.from(tag, 'base64url');
      return keys.some((key) => timingSafeEqual(given, computeOwnerTag(key, random, sub)));
    },
  };
}

function computeOwnerTag(key: KeyObject, random: string, sub: string): Buffer {
  return createHmac('sha256', key).update(`${random}.${sub}`).digest().subarray(0, ownerTagBytes);
}
