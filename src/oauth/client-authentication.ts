import { type ClientAuth, ClientSecretPost } from 'openid-client';
import type { Config } from '../config/load.ts';
import type { Secret } from '../crypto/secret.ts';

/** How the client proves its identity at the token endpoint (RFC 6749 2.3.1), with one secret or, during a rotation, two. */
export interface ClientAuthentication {
  /** Adds the credentials of the active secret to a token request. */
  readonly authenticate: ClientAuth;
  /** The index of the secret in use: 0, or 1 once the provider has accepted the second. */
  activeSecret(): number;
  /** False when there is only one secret, so there is nothing to switch to. */
  readonly hasSecondSecret: boolean;
  useSecret(index: number): void;
}

/** Starts with the first of `clientSecrets`. */
export function createClientAuthentication({
  clientId,
  clientSecrets,
  clientAuth,
}: Pick<Config['provider'], 'clientId' | 'clientSecrets' | 'clientAuth'>): ClientAuthentication {
  const methods = clientSecrets.map((secret) =>
    clientAuth === 'client_secret_post'
      ? ClientSecretPost(secret.reveal())
      : clientSecretBasic(clientId, secret),
  );
  let active = 0;
  return {
    authenticate: (...request) => methods[active]?.(...request),
    activeSecret: () => active,
    hasSecondSecret: methods.length > 1,
    useSecret(index) {
      active = index;
    },
  };
}

/**
 * HTTP Basic as deployed servers read it. RFC 6749 2.3.1 wants both parts form-encoded, but many servers do not decode
 * them, so only characters that would break the header are encoded.
 */
export function clientSecretBasic(clientId: string, secret: Secret): ClientAuth {
  const encode = (part: string) =>
    encodeURIComponent(part).replace(
      /[!'()~]/g,
      (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  const credentials = Buffer.from(`${encode(clientId)}:${encode(secret.reveal())}`).toString('base64');
  return (_server, _client, _body, headers) => {
    headers.set('authorization', `Basic ${credentials}`);
  };
}
