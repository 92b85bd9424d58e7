import { createHash } from 'node:crypto';

interface Registration {
  readonly issuer: URL | undefined;
  readonly endpoints: { readonly token_endpoint: string | undefined };
  readonly clientId: string;
}

/**
 * Identifies a client registration (RFC 6749 2): a client id at one authorization server, which is known by its issuer or
 * else by its token endpoint. 16 base64url characters. It is part of every Redis key and of every key derived from
 * SESSION_SECRET, so that no token, login or form reaches another provider or client than its own (decision 17).
 */
export function hashRegistration({ issuer, endpoints, clientId }: Registration): string {
  const server = issuer?.href ?? endpoints.token_endpoint;
  return createHash('sha256')
    .update(JSON.stringify([server, clientId]))
    .digest('base64url')
    .slice(0, 16);
}
