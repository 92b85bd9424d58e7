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
import { createMetadata, type Provider, usesIdToken } from './metadata.ts';
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

/** The authorization server, in the terms of RFC 6749. Every method rejects with `OAuthError`. */
export interface OAuthClient {
  /** Fetches the server's metadata unless it is cached or fully configured. */
  discover(): Promise<{ readonly canRevoke: boolean }>;
  /** The authorization endpoint's URL with code, PKCE S256 and state, and a nonce with the scope `openid`. */
  authorizationRequest(request: AuthorizationRequest): Promise<URL>;
  /**
   * Checks state, `iss` (RFC 9207) and error of the callback before it redeems the code. An ID token is checked against
   * the requested `maxAge`.
   */
  authorizationCodeGrant(
    callbackQuery: URLSearchParams,
    request: AuthorizationRequest,
  ): Promise<{ readonly tokens: TokenSet; readonly user: User }>;
  /**
   * Redeems the refresh token of `tokens`, through the request policy, because a provider outage affects every session
   * at once. `beforeSending` runs right before the request; its errors pass through unchanged.
   */
  refreshTokenGrant(tokens: TokenSet, beforeSending?: () => Promise<void>): Promise<TokenSet>;
  /** A token for the application itself, not for a user (RFC 6749 4.4), through the same request policy. */
  clientCredentialsGrant(scope: readonly string[]): Promise<TokenSet>;
  /** Revokes a token (RFC 7009); does nothing when the server has no revocation endpoint. */
  revokeToken(token: string, hint: 'refresh_token' | 'access_token'): Promise<void>;
  /**
   * Where the browser ends its session at the provider (OIDC RP-Initiated Logout 1.0). `undefined` while the metadata is
   * not known, or when the provider has no such endpoint. Without `id_token_hint`, which would expose a token to the
   * browser.
   */
  endSessionUrl(): URL | undefined;
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
  const metadata = createMetadata(provider, { authentication, fetch, fallbackIssuer: postLogoutRedirectUri });
  const withRequestPolicy = createRequestPolicy(now);
  const checksIdToken = usesIdToken(provider);
  let endSession: URL | undefined;

  async function server(): Promise<Configuration> {
    const found = await metadata();
    if (found.serverMetadata().end_session_endpoint !== undefined)
      endSession ??= buildEndSessionUrl(found, { post_logout_redirect_uri: postLogoutRedirectUri });
    return found;
  }

  /** Runs `request`; when the server rejects the client secret and there is a second one, runs it again with that. */
  async function withServer<T>(request: (server: Configuration) => Promise<T>): Promise<T> {
    const used = authentication.activeSecret();
    try {
      return await request(await server());
    } catch (error) {
      const failure = toOAuthError(error);
      if (failure.code !== 'invalid_client' || !authentication.hasSecondSecret) throw failure;
      // Otherwise a concurrent request has switched to the other secret already.
      if (authentication.activeSecret() === used) authentication.useSecret(1 - used);
      return retryWithOtherSecret(request, used);
    }
  }

  async function retryWithOtherSecret<T>(
    request: (server: Configuration) => Promise<T>,
    rejected: number,
  ): Promise<T> {
    try {
      const result = await request(await server());
      log.warn(
        { clientId },
        `client secret ${rejected + 1} of 2 was rejected and the other one accepted; remove the rejected one`,
      );
      return result;
    } catch (error) {
      const failure = toOAuthError(error);
      if (failure.code === 'invalid_client') authentication.useSecret(rejected); // neither secret is accepted
      throw failure;
    }
  }

  /** The user by the ID token's claims, else by those of the userinfo endpoint; missing claims never fail a login. */
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

    authorizationRequest: ({ state, codeVerifier, nonce, scope, acrValues, maxAge }) =>
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
        const tokens = readTokenResponse(response, now(), { requested: scope });
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
          return readTokenResponse(response, now(), { requested: scope });
        }),
      ),

    revokeToken: (token, hint) =>
      withServer(async (server) => {
        if (server.serverMetadata().revocation_endpoint === undefined) return;
        await tokenRevocation(server, token, { token_type_hint: hint });
      }),

    endSessionUrl: () => endSession,
  };
}

/** Parameters of the request override those `configured` for every request. */
function withParameters(
  configured: Provider['authorizationParameters'],
  own: Readonly<Record<string, string>>,
): URLSearchParams {
  const parameters = new URLSearchParams(configured);
  for (const [name, value] of Object.entries(own)) parameters.set(name, value);
  return parameters;
}
