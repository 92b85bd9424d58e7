import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import type { Secret } from './secret.ts';

/** The length of `sealNonce`. */
export const sealNonceBytes = 12;
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
  const nonce = randomBytes(sealNonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context));
  const body = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), body]);
}

/** The plaintext; `undefined` when the bytes were not sealed with this key and context. */
export function unseal(key: KeyObject, sealed: Buffer, context: string): string | undefined {
  if (sealed.length < sealNonceBytes + tagBytes) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, sealNonceBytes), {
    authTagLength: tagBytes,
  });
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(sealed.subarray(sealNonceBytes, sealNonceBytes + tagBytes));
  const body = decipher.update(sealed.subarray(sealNonceBytes + tagBytes));
  try {
    decipher.final();
  } catch {
    return undefined; // not authentic, so no part of it may be used
  }
  return body.toString('utf8');
}

/** Seals with the first of several secrets and unseals with any of them, for one purpose. */
export interface Sealer {
  /** As `seal`. */
  seal(plaintext: string, context: string): Buffer;
  /** As `unseal`: `undefined` also when the bytes were sealed with a secret that is not among ours. */
  unseal(sealed: Buffer, context: string): string | undefined;
}

/** @param purpose as in `deriveKey` */
export function createSealer(secrets: readonly Secret[], purpose: string): Sealer {
  const keys = secrets.map((secret) => deriveKey(secret, purpose));
  return {
    seal: (plaintext, context) => seal(keys[0]!, plaintext, context),
    unseal(sealed, context) {
      for (const key of keys) {
        const plaintext = unseal(key, sealed, context);
        if (plaintext !== undefined) return plaintext;
      }
      return undefined;
    },
  };
}

/** The nonce of sealed bytes. It is random for every sealing, so it identifies a version of a record. */
export function sealNonce(sealed: Buffer): Buffer {
  return sealed.subarray(0, sealNonceBytes);
}
