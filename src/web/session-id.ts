import { createHmac, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { deriveKey } from '../sealing.ts';
import type { Secret } from '../secret.ts';

const idBytes = 32;
const markBytes = 16;
const marked = /^([\w-]{43})([\w-]{22})$/;

/**
 * Names for sessions: 32 random bytes, and for a login of someone known a mark of theirs (HMAC of both), so that the
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

/** @param secrets the first marks, all recognise */
export function createSessionIds(secrets: readonly Secret[]): SessionIds {
  const keys = secrets.map((secret) => deriveKey(secret, 'session_owner'));

  return {
    create(sub) {
      const random = randomBytes(idBytes).toString('base64url');
      return sub === undefined ? random : random + markOf(keys[0]!, random, sub).toString('base64url');
    },

    hasOwner: (id) => marked.test(id),

    isOwner(id, sub) {
      const [, random, mark] = marked.exec(id) ?? [];
      if (random === undefined || mark === undefined || sub === undefined) return false;
      const given = Buffer.from(mark, 'base64url');
      return keys.some((key) => timingSafeEqual(given, markOf(key, random, sub)));
    },
  };
}

function markOf(key: KeyObject, random: string, sub: string): Buffer {
  return createHmac('sha256', key).update(`${random}.${sub}`).digest().subarray(0, markBytes);
}
