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
  // A KeyObject, because Node 24 takes 10 us to make one of plain bytes at every use.
  return createSecretKey(Buffer.from(hkdfSync('sha256', secret.reveal(), 'latchkey', purpose, 32)));
}

/**
 * AES-256-GCM as `nonce (12) | tag (16) | ciphertext`; opens only under the same `context`.
 * The nonce is random, so its bytes also tell one sealing from every other.
 */
export function seal(key: KeyObject, plaintext: string, context: string): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context));
  const body = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), body]);
}

/** The plaintext, or `undefined` when the bytes were not sealed with this key and context. */
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
    return undefined; // forged, foreign or under another key: nothing of it may be used
  }
  return body.toString('utf8');
}

/** The bytes that tell this sealing from every other of the same record. */
export function sealNonce(sealed: Buffer): Buffer {
  return sealed.subarray(0, nonceBytes);
}
