import { type ClientAuth, ClientSecretPost } from 'openid-client';
import type { Config } from '../config/load.ts';
import type { Secret } from '../crypto/secret.ts';

/** The client's credentials at the provider's endpoints (RFC 6749 2.3.1): one secret or, during a rotation, two. */
export interface ClientAuthentication {
  /** Adds the client id and the active secret to a request. */
  readonly authenticate: ClientAuth;
  /** 0 for the first secret, 1 for the second. */
  getActiveIndex(): number;
  /** False when there is only one secret, so that there is nothing to switch to. */
  readonly hasSecondSecret: boolean;
  activate(index: number): void;
}

/** The credentials of a client; the first of `clientSecrets` is active. */
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
    getActiveIndex: () => active,
    hasSecondSecret: methods.length > 1,
    activate(index) {
      active = index;
    },
  };
}

/**
 * HTTP Basic authentication that deployed servers understand. RFC 6749 2.3.1 requires both parts to be form-encoded,
 * but many servers do not decode them, so only characters that would break the header are encoded.
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
