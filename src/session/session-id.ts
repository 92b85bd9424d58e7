import { createHmac, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { deriveKey } from '../crypto/sealing.ts';
import type { Secret } from '../crypto/secret.ts';

const idBytes = 32;
const ownerTagBytes = 16;
const idWithOwnerTag = /^([\w-]{43})([\w-]{22})$/;

/**
 * Names for sessions: 32 random bytes, and for a login of someone known a tag of theirs (HMAC of both), so that the
 * cookie still tells whose a session was when nothing is left of it. Marks of one person have nothing in common.
 */
export interface SessionIds {
  /** A new name for a session of the person `sub`, or of nobody in particular. */
  create(sub: string | undefined): string;
  /** True when it can be told whose session this was. */
  hasOwner(id: string): boolean;
  /** True when this was a session of the person `sub`. */
  isOwner(id: string, sub: string | undefined): boolean;
}

/** @param secrets the first pageUserTags, all recognise */
export function createSessionIds(secrets: readonly Secret[]): SessionIds {
  const keys = secrets.map((secret) => deriveKey(secret, 'session_owner'));

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
