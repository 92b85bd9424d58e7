import { createHash, createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { Grant, ProviderShape } from './fake-provider.ts';
import { standardProvider } from './provider-variants.ts';

export interface IdTokenParts {
  readonly header: Record<string, unknown>;
  readonly claims: Record<string, unknown>;
  readonly grant: Grant;
}

/** Returns the ID token of a grant; `undefined` for none. */
export type IssueIdToken = (parts: IdTokenParts) => string | undefined;

export interface SigningKey {
  readonly kid: string;
  readonly alg: 'RS256' | 'ES256';
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export function createSigningKey(kid: string, alg: SigningKey['alg'] = 'RS256'): SigningKey {
  const pair =
    alg === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { kid, alg, ...pair };
}

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');

/** A JWS with this header, whatever it says, signed with `key`. */
export function signJwt(header: object, claims: unknown, key: SigningKey): string {
  const input = `${encode(header)}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(input), {
    key: key.privateKey,
    dsaEncoding: 'ieee-p1363',
  });
  return `${input}.${signature.toString('base64url')}`;
}

/** A JWS with HS256, whose shared key is the public key of `key`. */
export function signWithPublicKey(header: object, claims: unknown, key: SigningKey): string {
  const input = `${encode({ ...header, alg: 'HS256' })}.${encode(claims)}`;
  const secret = key.publicKey.export({ type: 'spki', format: 'pem' });
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
}

/** The left half of the SHA-256 hash, for `at_hash`. */
export const hashLeft = (text: string) =>
  createHash('sha256').update(text).digest().subarray(0, 16).toString('base64url');

/** An OpenID provider whose ID tokens, keys and token responses a test can replace at any time. */
export interface OpenidProviderOptions {
  keys: SigningKey[];
  /** By default signs with the first key. */
  issue: IssueIdToken;
  subject: string;
  /** Members of the metadata that replace the usual ones. */
  metadata: Record<string, unknown>;
  /** Members of every token response. */
  response: Record<string, unknown>;
}

export function createOpenidProvider(): {
  readonly options: OpenidProviderOptions;
  readonly shape: ProviderShape;
} {
  const key = createSigningKey('first');
  const options: OpenidProviderOptions = {
    keys: [key],
    issue: ({ header, claims }) => signJwt(header, claims, options.keys[0]!),
    subject: 'alice',
    metadata: {},
    response: {},
  };
  const shape: ProviderShape = {
    ...standardProvider,
    revocationPath: '/revoke',
    tokenResponse(grant) {
      const now = Math.floor(Date.now() / 1000);
      const claims = {
        ...{ iss: grant.url, aud: grant.clientId, sub: options.subject, name: options.subject },
        ...{ iat: now, exp: now + 300, nonce: grant.nonce, at_hash: hashLeft(grant.accessToken) },
      };
      const { kid, alg } = options.keys[0]!;
      const idToken = options.issue({ header: { alg, kid, typ: 'JWT' }, claims, grant });
      return {
        access_token: grant.accessToken,
        token_type: 'Bearer',
        expires_in: 3600,
        refresh_token: grant.refreshToken,
        scope: grant.scope,
        ...(idToken !== undefined && { id_token: idToken }),
        ...options.response,
      };
    },
    publicDocuments: {
      '/.well-known/openid-configuration': (url) => ({
        issuer: url,
        authorization_endpoint: `${url}/authorize`,
        token_endpoint: `${url}/token`,
        revocation_endpoint: `${url}/revoke`,
        jwks_uri: `${url}/keys`,
        id_token_signing_alg_values_supported: ['RS256', 'ES256'],
        ...options.metadata,
      }),
      '/keys': () => ({
        keys: options.keys.map(({ kid, alg, publicKey }) => ({
          ...publicKey.export({ format: 'jwk' }),
          ...{ kid, alg, use: 'sig' },
        })),
      }),
    },
  };
  return { options, shape };
}
