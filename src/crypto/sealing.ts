import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import type { Secret } from './secret.ts';

const nonceBytes = 12;
const tagBytes = 16;

/** A 256-bit key for one purpose, so that no two uses of the same secret share a key (RFC 5869). */
export function deriveKey(secret: Secret, purpose: string): KeyObject {
  // A KeyObject: from plain bytes, Node 24 would create one at every use, in 10 us.
  return createSecretKey(Buffer.from(hkdfSync('sha256', secret.reveal(), 'latchkey', purpose, 32)));
}

/**
 * `plaintext` encrypted with AES-256-GCM, as `nonce (12) | tag (16) | ciphertext`. It can be unsealed only with the
 * same key and `context`.
 */
export function seal(key: KeyObject, plaintext: string, context: string): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context));
  const body = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), body]);
}

/** The plaintext; `undefined` when the bytes were not sealed with this key and context. */
export function unseal(key: KeyObject, sealed: Buffer, context: string): string | undefined {
  if (sealed.length < nonceBytes + tagBytes) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, nonceBytes), {
    authTagLength: tagBytes,
  });
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(sealed.subarray(nonceBytes, nonceBytes + tagBytes));
  const body = decipher.update(sealed.subarray(nonceBytes + tagBytes));
  try {
    decipher.final();
  } catch {
    return undefined; // not authentic, so no part of it may be used
  }
  return body.toString('utf8');
}

/** The nonce of sealed bytes. It is random for every sealing, so it identifies a version of a record. */
export function sealNonce(sealed: Buffer): Buffer {
  return sealed.subarray(0, nonceBytes);
}
