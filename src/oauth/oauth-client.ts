import {
  authorizationCodeGrant,
  buildAuthorizationUrl,
  buildEndSessionUrl,
  type Configuration,
  calculatePKCECodeChallenge,
  clientCredentialsGrant,
  refreshTokenGrant,
  tokenRevocation,
} from 'openid-client';
import type { Logger } from '../logger.ts';
import { createClientAuthentication } from './client-authentication.ts';
import type { LoginRequirements } from './login-requirements.ts';
import { createMetadataLoader, type Provider, usesIdToken } from './metadata.ts';
import { OAuthError, toOAuthError } from './oauth-error.ts';
import { createRequestPolicy } from './request-policy.ts';
import { readTokenResponse } from './token-response.ts';
import type { TokenSet } from './token-set.ts';
import { type Claims, fetchClaims, needsUserinfo, readUser, type User } from './userinfo.ts';

export interface AuthorizationRequest extends LoginRequirements {
  readonly state: string;
  readonly codeVerifier: string;
  readonly nonce: string;
}

/** The authorization server, in the terms of RFC 6749. Every promise rejects with `OAuthError`. */
export interface OAuthClient {
  /** Whether tokens can be revoked; fetches the server's metadata unless it is cached or configured. */
  discover(): Promise<{ readonly canRevoke: boolean }>;
  /** The authorization endpoint's URL, with code, PKCE S256 and state, and a nonce with the scope `openid`. */
  createAuthorizationUrl(request: AuthorizationRequest): Promise<URL>;
  /**
   * The tokens and the user. The callback's state, `iss` (RFC 9207) and error are checked before the code is redeemed,
   * and an ID token is checked against the requested `maxAge`.
   */
  authorizationCodeGrant(
    callbackQuery: URLSearchParams,
    request: AuthorizationRequest,
  ): Promise<{ readonly tokens: TokenSet; readonly user: User }>;
  /**
   * The tokens for the refresh token of `tokens` (RFC 6749 6), through the request policy, because an outage of the
   * provider affects every session at once. `beforeSending` runs right before each attempt; its errors pass unchanged.
   */
  refreshTokenGrant(tokens: TokenSet, beforeSending?: () => Promise<void>): Promise<TokenSet>;
  /** An app token (RFC 6749 4.4), through the same request policy. */
  clientCredentialsGrant(scope: readonly string[]): Promise<TokenSet>;
  /** Revokes a token (RFC 7009); does nothing when the server has no revocation endpoint. */
  revokeToken(token: string, hint: 'refresh_token' | 'access_token'): Promise<void>;
  /**
   * The URL at which the browser ends its session at the provider (OIDC RP-Initiated Logout 1.0); `undefined` until the
   * metadata is loaded, or when the provider has no such endpoint. Without `id_token_hint`, which would expose a token
   * to the browser.
   */
  getEndSessionUrl(): URL | undefined;
}

interface OAuthClientParts {
  readonly fetch: typeof globalThis.fetch;
  readonly now: () => number;
  readonly log: Logger;
}

/**
 * The client for one provider; requests go through `fetch`.
 * @param postLogoutRedirectUri the URL on our origin to which the provider sends the browser after sign-out
 */
export function createOAuthClient(
  provider: Provider,
  postLogoutRedirectUri: string,
  { fetch, now, log }: OAuthClientParts,
): OAuthClient {
  const { issuer, redirectUri, clientId } = provider;
  const authentication = createClientAuthentication(provider);
  const loadMetadata = createMetadataLoader(provider, {
    authentication,
    fetch,
    fallbackIssuer: postLogoutRedirectUri,
  });
  const withRequestPolicy = createRequestPolicy(now);
  const checksIdToken = usesIdToken(provider);
  let endSession: URL | undefined;

  async function loadServer(): Promise<Configuration> {
    const found = await loadMetadata();
    if (found.serverMetadata().end_session_endpoint !== undefined)
      endSession ??= buildEndSessionUrl(found, { post_logout_redirect_uri: postLogoutRedirectUri });
    return found;
  }

  /** Runs `request`, and again with the other client secret when the server rejects the active one. */
  async function withServer<T>(request: (server: Configuration) => Promise<T>): Promise<T> {
    const used = authentication.getActiveIndex();
    try {
      return await request(await loadServer());
    } catch (error) {
      const failure = toOAuthError(error);
      if (failure.code !== 'invalid_client' || !authentication.hasSecondSecret) throw failure;
      // Otherwise a concurrent request has already switched to the other secret.
      if (authentication.getActiveIndex() === used) authentication.activate(1 - used);
      return retryWithOtherSecret(request, used);
    }
  }

  async function retryWithOtherSecret<T>(
    request: (server: Configuration) => Promise<T>,
    rejected: number,
  ): Promise<T> {
    try {
      const result = await request(await loadServer());
      log.warn(
        { clientId },
        `the provider rejected client secret ${rejected + 1} of 2 and accepted the other; remove the rejected one`,
      );
      return result;
    } catch (error) {
      const failure = toOAuthError(error);
      if (failure.code === 'invalid_client') authentication.activate(rejected); // the server accepts neither
      throw failure;
    }
  }

  /** The user, from the ID token and if necessary the userinfo endpoint. Missing claims never fail a login. */
  async function fetchUser(server: Configuration, tokens: TokenSet, idTokenClaims: Claims): Promise<User> {
    if (!needsUserinfo(server, provider, tokens, idTokenClaims)) return readUser(idTokenClaims);
    try {
      return readUser({ ...idTokenClaims, ...(await fetchClaims(server, provider, tokens, idTokenClaims)) });
    } catch (error) {
      log.debug(
        { err: toOAuthError(error) },
        'userinfo request failed; continuing the login without profile claims',
      );
      return readUser(idTokenClaims);
    }
  }

  return {
    discover: () =>
      withServer(async (server) => ({
        canRevoke: server.serverMetadata().revocation_endpoint !== undefined,
      })),

    createAuthorizationUrl: ({ state, codeVerifier, nonce, scope, acrValues, maxAge }) =>
      withServer(async (server) =>
        buildAuthorizationUrl(
          server,
          withParameters(provider.authorizationParameters, {
            redirect_uri: redirectUri.href,
            scope: scope.join(' '),
            state,
            code_challenge: await calculatePKCECodeChallenge(codeVerifier),
            code_challenge_method: 'S256',
            ...(checksIdToken && { nonce }),
            ...(acrValues !== undefined && { acr_values: acrValues }),
            ...(maxAge !== undefined && { max_age: String(maxAge) }),
          }),
        ),
      ),

    authorizationCodeGrant: (callbackQuery, { state, codeVerifier, nonce, scope, maxAge }) =>
      withServer(async (server) => {
        const callbackUrl = new URL(redirectUri);
        callbackUrl.search = callbackQuery.toString();
        if (!issuer) callbackUrl.searchParams.delete('iss'); // there is no issuer to compare it with
        const response = await authorizationCodeGrant(server, callbackUrl, {
          expectedState: state,
          pkceCodeVerifier: codeVerifier,
          ...(checksIdToken && { expectedNonce: nonce, ...(maxAge !== undefined && { maxAge }) }),
        });
        const tokens = readTokenResponse(response, now(), { requestedScope: scope });
        return { tokens, user: await fetchUser(server, tokens, response.claims() ?? {}) };
      }),

    refreshTokenGrant: (tokens, beforeSending = async () => {}) =>
      withRequestPolicy(async () => {
        await beforeSending();
        return withServer(async (server) => {
          if (tokens.refreshToken === undefined) throw new OAuthError('rejected_other', 'no refresh token');
          const response = await refreshTokenGrant(server, tokens.refreshToken);
          return readTokenResponse(response, now(), { previous: tokens });
        });
      }),

    clientCredentialsGrant: (scope) =>
      withRequestPolicy(() =>
        withServer(async (server) => {
          const parameters: Record<string, string> = scope.length > 0 ? { scope: scope.join(' ') } : {};
          const response = await clientCredentialsGrant(server, parameters);
          return readTokenResponse(response, now(), { requestedScope: scope });
        }),
      ),

    revokeToken: (token, hint) =>
      withServer(async (server) => {
        if (server.serverMetadata().revocation_endpoint === undefined) return;
        await tokenRevocation(server, token, { token_type_hint: hint });
      }),

    getEndSessionUrl: () => endSession,
  };
}

/** The `configured` parameters, overridden by those of the request. */
function withParameters(
  configured: Provider['authorizationParameters'],
  own: Readonly<Record<string, string>>,
): URLSearchParams {
  const parameters = new URLSearchParams(configured);
  for (const [name, value] of Object.entries(own)) parameters.set(name, value);
  return parameters;
}
