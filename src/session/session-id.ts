import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { deriveKeys, type KeySource } from '../crypto/sealing.ts';

const randomPartBytes = 16;
const nonceBytes = 12;
const authTagBytes = 12;
const timeBytes = 4;
const userTagBytes = 12;
const cipherName = 'aes-256-gcm';
const idWithOwnerTag = /^([\w-]{22})([\w-]{38})$/;

/** What the owner tag of a session id says. */
export interface SessionOwner {
  /** The same in all sessions of one user, and different for every other user. */
  readonly userTag: string;
  /** When the session began, epoch milliseconds; precise to a second. */
  readonly startedAt: number;
}

/**
 * Session ids: 16 random bytes and, if the user has a `sub`, an owner tag: an HMAC of `sub` and the time, encrypted and
 * bound to the random bytes. With the tag, the cookie still identifies its user after the session was deleted. Without the
 * key, nobody can tell that two sessions have the same user.
 */
export interface SessionIds {
  /** A new id for a session of the user `sub`; without an owner tag if `sub` is undefined. */
  create(sub: string | undefined): string;
  /** `undefined` when `id` has no owner tag, or not one of this client registration. */
  readOwner(id: string): SessionOwner | undefined;
  /** True when `id` was created for a session of the user `sub` of this client registration. */
  isOwner(id: string, sub: string | undefined): boolean;
}

/** The first of several secrets creates owner tags; the tags of all are read. */
export function createSessionIds(source: KeySource, now: () => number): SessionIds {
  const sealingKeys = deriveKeys(source, 'session_owner');
  const userKeys = deriveKeys(source, 'session_owner_user');

  function computeUserTag(key: KeyObject, sub: string): Buffer {
    return createHmac('sha256', key).update(sub).digest().subarray(0, userTagBytes);
  }

  /** The content of the owner tag, and which of the secrets created it. */
  function openOwnerTag(id: string): { readonly content: Buffer; readonly index: number } | undefined {
    const [, random, tag] = idWithOwnerTag.exec(id) ?? [];
    if (random === undefined || tag === undefined) return undefined;
    for (const [index, key] of sealingKeys.entries()) {
      const content = unsealTag(key, Buffer.from(random, 'base64url'), Buffer.from(tag, 'base64url'));
      if (content) return { content, index };
    }
    return undefined;
  }

  return {
    create(sub) {
      const random = randomBytes(randomPartBytes);
      const id = random.toString('base64url');
      if (sub === undefined) return id;
      const time = Buffer.alloc(timeBytes);
      time.writeUInt32BE(Math.floor(now() / 1000));
      const content = Buffer.concat([time, computeUserTag(userKeys[0]!, sub)]);
      return id + sealTag(sealingKeys[0]!, random, content).toString('base64url');
    },

    readOwner(id) {
      const content = openOwnerTag(id)?.content;
      return (
        content && {
          userTag: content.subarray(timeBytes).toString('base64url'),
          startedAt: content.readUInt32BE() * 1000,
        }
      );
    },

    isOwner(id, sub) {
      const tag = openOwnerTag(id);
      if (!tag || sub === undefined) return false;
      return timingSafeEqual(tag.content.subarray(timeBytes), computeUserTag(userKeys[tag.index]!, sub));
    },
  };
}

/** What identifies the session `id`: its random part, or another id as it is. */
export function withoutOwnerTag(id: string): string {
  return idWithOwnerTag.exec(id)?.[1] ?? id;
}

/** The bytes of a session id with an owner tag; `undefined` for any other text. */
export function sessionIdToBytes(id: string): Buffer | undefined {
  const [, random, tag] = idWithOwnerTag.exec(id) ?? [];
  if (random === undefined || tag === undefined) return undefined;
  const bytes = Buffer.concat([Buffer.from(random, 'base64url'), Buffer.from(tag, 'base64url')]);
  return sessionIdFromBytes(bytes) === id ? bytes : undefined;
}

/** The session id with these bytes. */
export function sessionIdFromBytes(bytes: Buffer): string {
  const parts = [bytes.subarray(0, randomPartBytes), bytes.subarray(randomPartBytes)];
  return parts.map((each) => each.toString('base64url')).join('');
}

/** The nonce is a part of the random bytes: an id is created once, so no nonce is used twice. */
function sealTag(key: KeyObject, random: Buffer, content: Buffer): Buffer {
  const cipher = createCipheriv(cipherName, key, random.subarray(0, nonceBytes), {
    authTagLength: authTagBytes,
  }).setAAD(random);
  const sealed = Buffer.concat([cipher.update(content), cipher.final()]);
  return Buffer.concat([cipher.getAuthTag(), sealed]);
}

function unsealTag(key: KeyObject, random: Buffer, tag: Buffer): Buffer | undefined {
  const decipher = createDecipheriv(cipherName, key, random.subarray(0, nonceBytes), {
    authTagLength: authTagBytes,
  });
  decipher.setAAD(random).setAuthTag(tag.subarray(0, authTagBytes));
  const content = decipher.update(tag.subarray(authTagBytes));
  try {
    decipher.final();
  } catch {
    return undefined; // another key, or not authentic
  }
  return content;
}
