import { generateKeyPairSync, randomBytes } from 'node:crypto';
import type { ClientMetadata, Configuration } from 'oidc-provider';
import { consentEveryMissingScope } from './consent.ts';
import { MemoryAdapter } from './memory-adapter.ts';
import { findPerson } from './people.ts';
import { showError, showLogout, showSignedOut } from './provider-pages.ts';
import { scopeNames } from './scopes.ts';

export interface ClientCredentials {
  readonly clientId: string;
  readonly clientSecret: string;
}

export interface ProviderSettings extends ClientCredentials {
  readonly clientName?: string;
  /** How the client authenticates; the library takes one method per client. Default `client_secret_basic`. */
  readonly clientAuth?: 'client_secret_basic' | 'client_secret_post';
  readonly redirectUris: readonly string[];
  readonly postLogoutRedirectUris: readonly string[];
  /** May introspect every token, and do nothing else. */
  readonly resourceServer: ClientCredentials;
  /** Default 60. */
  readonly accessTokenSeconds?: number;
  /** Default 14 days. */
  readonly refreshTokenSeconds?: number;
}

const day = 86_400;

function clients(settings: ProviderSettings): ClientMetadata[] {
  return [
    {
      client_id: settings.clientId,
      client_secret: settings.clientSecret,
      client_name: settings.clientName ?? 'Latchkey',
      token_endpoint_auth_method: settings.clientAuth ?? 'client_secret_basic',
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
      response_types: ['code'],
      redirect_uris: [...settings.redirectUris],
      post_logout_redirect_uris: [...settings.postLogoutRedirectUris],
    },
    {
      client_id: settings.resourceServer.clientId,
      client_secret: settings.resourceServer.clientSecret,
      client_name: 'Demo API',
      grant_types: [],
      response_types: [],
      redirect_uris: [],
    },
  ];
}

function signingKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' };
}

/**
 * What makes oidc-provider the demo provider. Everything the library would print a notice about is said here, so the
 * console stays quiet: keys, lifetimes, pages, policies.
 */
export function providerConfiguration(settings: ProviderSettings): Configuration {
  const { accessTokenSeconds = 60, refreshTokenSeconds = 14 * day } = settings;
  return {
    adapter: MemoryAdapter,
    clients: clients(settings),
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    clientBasedCORS: () => false,
    clockTolerance: 0,
    jwks: { keys: [signingKey()] },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    responseTypes: ['code'],
    pkce: { required: () => true },
    scopes: [...scopeNames],
    claims: {
      openid: ['sub'],
      profile: ['name', 'preferred_username'],
      email: ['email', 'email_verified'],
    },
    // The ID token carries the claims of its scopes, so that a client needs no second call.
    conformIdTokenClaims: false,
    findAccount: (_ctx, sub) => {
      const person = findPerson(sub);
      if (person === undefined) return undefined;
      const { name, email } = person;
      return {
        accountId: sub,
        claims: () => ({ sub, name, preferred_username: sub, email, email_verified: true }),
      };
    },
    interactions: {
      policy: consentEveryMissingScope(),
      url: (_ctx, { uid }) => `/interaction/${uid}`,
    },
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    // Tokens live until they expire or are revoked. Ending the provider's own session does not end them: a client that
    // forgets to revoke is not saved by the logout page.
    expiresWithSession: () => false,
    ttl: {
      AccessToken: accessTokenSeconds,
      AuthorizationCode: 60,
      ClientCredentials: accessTokenSeconds,
      Grant: Math.max(365 * day, refreshTokenSeconds),
      IdToken: 3_600,
      Interaction: 3_600,
      RefreshToken: refreshTokenSeconds,
      Session: 14 * day,
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: false },
      introspection: {
        enabled: true,
        allowedPolicy: (_ctx, client) => client.clientId === settings.resourceServer.clientId,
      },
      revocation: {
        enabled: true,
        allowedPolicy: (_ctx, client, token) => client.clientId === token.clientId,
      },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: showLogout,
        postLogoutSuccessSource: showSignedOut,
      },
    },
    renderError: showError,
  };
}
