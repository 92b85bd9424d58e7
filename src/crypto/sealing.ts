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

/** The version of the format of all sealed values. */
export const formatVersion = 1;

/** What every key is derived from. */
export interface KeySource {
  /** The first one signs and seals; all of them verify and unseal. */
  readonly secrets: readonly Secret[];
  /** As `hashRegistration`. Part of every key, so that no client accepts what another one signed or sealed. */
  readonly registration: string;
}

/**
 * A 256-bit key per secret, for one purpose and client registration, so that no two uses of the same secret share a key
 * (RFC 5869).
 */
export function deriveKeys({ secrets, registration }: KeySource, purpose: string): readonly KeyObject[] {
  const info = `${purpose} ${registration}`;
  return secrets.map((secret) =>
    // A KeyObject: from plain bytes, Node 24 would create one at every use, in 10 us.
    createSecretKey(Buffer.from(hkdfSync('sha256', secret.reveal(), 'latchkey', info, 32))),
  );
}

/**
 * `plaintext` encrypted with AES-256-GCM, as `nonce (12) | tag (16) | ciphertext`. It can be unsealed only with the
 * same key and `context`.
 */
export function seal(key: KeyObject, plaintext: string | Buffer, context: string): Buffer {
  const nonce = randomBytes(sealNonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context));
  const body = Buffer.concat([cipher.update(Buffer.from(plaintext)), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), body]);
}

/** The plaintext; `undefined` when the bytes were not sealed with this key and context. */
export function unseal(key: KeyObject, sealed: Buffer, context: string): string | undefined {
  return unsealBytes(key, sealed, context)?.toString();
}

function unsealBytes(key: KeyObject, sealed: Buffer, context: string): Buffer | undefined {
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
  return body;
}

/** Seals records, for one purpose: with the first of several secrets; it unseals with any of them. */
export interface Sealer {
  /** `record` as JSON with the format version, sealed. */
  seal(record: object, context: string): Buffer;
  /**
   * The record. `undefined` when it cannot be read here, though perhaps by another instance: it was sealed with a secret
   * that is not among ours, in another context, or in a format that this version does not know.
   */
  unseal(sealed: Buffer, context: string): object | undefined;
}

/** How the JSON of a record becomes the bytes that are encrypted. */
export interface TextEncoding {
  encode(text: string): Buffer;
  /** @throws when the bytes have another encoding */
  decode(bytes: Buffer): string;
}

const utf8: TextEncoding = { encode: (text) => Buffer.from(text), decode: (bytes) => bytes.toString() };

/** @param purpose as in `deriveKeys` */
export function createSealer(source: KeySource, purpose: string, encoding = utf8): Sealer {
  const keys = deriveKeys(source, purpose);
  return {
    seal(record, context) {
      const text = JSON.stringify({ ...record, v: formatVersion });
      return seal(keys[0]!, encoding.encode(text), context);
    },

    unseal(sealed, context) {
      for (const key of keys) {
        const bytes = unsealBytes(key, sealed, context);
        if (bytes) return readRecord(bytes, encoding);
      }
      return undefined;
    },
  };
}

/** Only an instance can have sealed these bytes, perhaps one of another version. */
function readRecord(bytes: Buffer, encoding: TextEncoding): object | undefined {
  try {
    const { v, ...record } = JSON.parse(encoding.decode(bytes)) as { readonly v?: unknown };
    return v === formatVersion ? record : undefined;
  } catch {
    return undefined; // another encoding
  }
}

/** The nonce of sealed bytes. It is random for every sealing, so it identifies a version of a record. */
export function sealNonce(sealed: Buffer): Buffer {
  return sealed.subarray(0, sealNonceBytes);
}
