import { generateKeyPairSync } from 'node:crypto';
import type { ClientMetadata, Configuration } from 'oidc-provider';
import { createInteractionPolicy } from './consent.ts';
import type { MemoryAdapter } from './memory-adapter.ts';
import { showError, showLogout, showSignedOut } from './provider-pages.ts';
import { findUser } from './users.ts';

export interface ClientCredentials {
  readonly clientId: string;
  readonly clientSecret: string;
}

export interface ProviderSettings extends ClientCredentials {
  readonly clientName?: string;
  /** How the client authenticates; the library supports one method per client. Default `client_secret_basic`. */
  readonly clientAuth?: 'client_secret_basic' | 'client_secret_post';
  readonly redirectUris: readonly string[];
  readonly postLogoutRedirectUris: readonly string[];
  /** Where the client receives logout tokens; without one, the provider sends none. */
  readonly backchannelLogoutUri?: string;
  /** Whether a logout token ends one session (`sid`) or all of the user (`sub`). Default true. */
  readonly backchannelLogoutSessionRequired?: boolean;
  /** The client of the demo API; it can introspect every token and has no other rights. */
  readonly resourceServer: ClientCredentials;
  /** Scopes to support besides those of the demo API. */
  readonly scopes?: readonly string[];
  /** Default 60. */
  readonly accessTokenSeconds?: number;
  /** Default 14 days. */
  readonly refreshTokenSeconds?: number;
}

const daySeconds = 86_400;

function createClients(settings: ProviderSettings): ClientMetadata[] {
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
      ...(settings.backchannelLogoutUri !== undefined && {
        backchannel_logout_uri: settings.backchannelLogoutUri,
        backchannel_logout_session_required: settings.backchannelLogoutSessionRequired ?? true,
      }),
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

/** What a provider is identified by, so that another one with the same keys and storage continues its sessions. */
export interface ProviderIdentity {
  readonly signingKey: ReturnType<typeof createSigningKey>;
  readonly cookieKey: string;
  /** The storage of the model with this name. */
  readonly adapterOf: (name: string) => MemoryAdapter;
}

export function createSigningKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' };
}

/**
 * The oidc-provider configuration of the demo provider. It sets everything whose default would make the library print a
 * notice (keys, lifetimes, pages, policies), so the console stays quiet.
 */
export function createProviderConfiguration(
  settings: ProviderSettings,
  scopes: readonly string[],
  { signingKey, cookieKey, adapterOf }: ProviderIdentity,
): Configuration {
  const { accessTokenSeconds = 60, refreshTokenSeconds = 14 * daySeconds } = settings;
  return {
    adapter: (name: string) => adapterOf(name),
    clients: createClients(settings),
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    clientBasedCORS: () => false,
    clockTolerance: 0,
    jwks: { keys: [signingKey] },
    cookies: { keys: [cookieKey] },
    responseTypes: ['code'],
    pkce: { required: () => true },
    scopes: [...scopes],
    claims: {
      openid: ['sub'],
      profile: ['name', 'preferred_username'],
      email: ['email', 'email_verified'],
    },
    // The ID token contains the claims of its scopes, so the client needs no userinfo request.
    conformIdTokenClaims: false,
    // The library connects to no address of this machine, but that is where the client receives logout tokens.
    fetch: (url, { dispatcher: _, ...options } = {}) => fetch(url, options),
    findAccount: (_ctx, sub) => {
      const user = findUser(sub);
      if (user === undefined) return undefined;
      const { name, email } = user;
      return {
        accountId: sub,
        claims: () => ({ sub, name, preferred_username: sub, email, email_verified: true }),
      };
    },
    interactions: {
      policy: createInteractionPolicy(),
      url: (_ctx, { uid }) => `/interaction/${uid}`,
    },
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    // Tokens stay valid until they expire or are revoked, even after the provider's own session has ended. Otherwise a
    // logout at the provider would hide a client that does not revoke its tokens.
    expiresWithSession: () => false,
    ttl: {
      AccessToken: accessTokenSeconds,
      AuthorizationCode: 60,
      ClientCredentials: accessTokenSeconds,
      Grant: Math.max(365 * daySeconds, refreshTokenSeconds),
      IdToken: 3_600,
      Interaction: 3_600,
      RefreshToken: refreshTokenSeconds,
      Session: 14 * daySeconds,
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
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: showLogout,
        postLogoutSuccessSource: showSignedOut,
      },
    },
    renderError: showError,
  };
}
