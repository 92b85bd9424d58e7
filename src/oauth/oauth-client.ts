import { setTimeout as delay } from 'node:timers/promises';
import {
  authorizationCodeGrant,
  buildAuthorizationUrl,
  buildEndSessionUrl,
  calculatePKCECodeChallenge,
  clientCredentialsGrant,
  refreshTokenGrant,
  tokenRevocation,
} from 'openid-client';
import type { Caller } from '../circuit-breaker.ts';
import type { Logger } from '../logger.ts';
import { elapsedMs } from '../time/elapsed.ts';
import { createClientAuthentication } from './client-authentication.ts';
import type { Identity } from './id-token.ts';
import { createIdTokenChecks } from './id-token-checks.ts';
import type { LogoutToken } from './jwt/logout-token.ts';
import { type AuthorizationRequest, toRequestParameters } from './login-requirements.ts';
import { createMetadataLoader, type Provider, type Server } from './metadata.ts';
import { OAuthError, toOAuthError } from './oauth-error.ts';
import { createRequestPolicy } from './request-policy.ts';
import { readTokenResponse, requireBearer } from './token-response.ts';
import { isExpired, type TokenSet } from './token-set.ts';
import { createClaimReader, type LoginGrant, type UserClaims } from './userinfo.ts';

/** The authorization server, in the terms of RFC 6749. Every promise rejects with `OAuthError`. */
export interface OAuthClient {
  /**
   * Whether tokens can be revoked and ID tokens, if they are used, can be verified; fetches the server's metadata unless it
   * is cached.
   */
  discover(): Promise<{ readonly canRevoke: boolean; readonly canVerify: boolean }>;
  /** The authorization endpoint's URL, with code, PKCE S256 and state, and a nonce with the scope `openid`. */
  createAuthorizationUrl(request: AuthorizationRequest): Promise<URL>;
  /**
   * The tokens and the user. The callback's state, `iss` (RFC 9207) and error are checked, and the provider's keys are
   * fetched, before the code is redeemed. With the scope `openid` there is an identity: that of the verified ID token.
   */
  authorizationCodeGrant(callbackQuery: URLSearchParams, request: AuthorizationRequest): Promise<LoginGrant>;
  /**
   * The tokens for the refresh token of `tokens` (RFC 6749 6), through the request policy, because an outage of the
   * provider affects every session at once. An ID token in the response must be that of `identity` (OIDC Core 12.2); if
   * the provider's keys cannot be fetched, it is ignored.
   * @throws OAuthError with `untrustedTokens`: a check of the response failed
   */
  refreshTokenGrant(tokens: TokenSet, options?: RefreshOptions): Promise<TokenSet>;
  /** What a refresh from `previous` to `tokens` changes in `known`; see `createClaimReader`. */
  followClaims(known: UserClaims, previous: TokenSet, tokens: TokenSet): Promise<Partial<UserClaims>>;
  /** An app token (RFC 6749 4.4), through the same request policy. */
  clientCredentialsGrant(scope: readonly string[]): Promise<TokenSet>;
  /** Revokes a token (RFC 7009); does nothing when the server has no revocation endpoint. */
  revokeToken(token: string, hint: 'refresh_token' | 'access_token'): Promise<void>;
  /**
   * What a logout token says (OpenID Connect Back-Channel Logout 1.0), after every check of the specification but that of
   * repetition. Anybody can send one, so a wrong one costs little.
   */
  verifyLogoutToken(token: string): Promise<LogoutToken>;
  /**
   * The URL at which the browser ends its session at the provider (OIDC RP-Initiated Logout 1.0), with the parameters in
   * `hint`; `undefined` when the provider has no such endpoint, or its metadata cannot be fetched in two seconds.
   */
  getEndSessionUrl(hint?: Readonly<Record<string, string>>): Promise<URL | undefined>;
}

export interface RefreshOptions {
  readonly identity?: Identity | undefined;
  /** Whose tokens these are: what the provider answers to one user holds for no other. By default an unknown user's. */
  readonly caller?: Caller;
  /** Runs right before each attempt; its errors pass unchanged. */
  readonly beforeSending?: () => Promise<void>;
}

interface OAuthClientParts {
  readonly fetch: typeof globalThis.fetch;
  readonly now: () => number;
  /** As `elapsedMs`. */
  readonly elapsed?: () => number;
  readonly log: Logger;
  /** The names of the claims that settings and rules depend on. */
  readonly neededClaims?: ReadonlySet<string>;
  /** Called when the circuit breaker of the token endpoint opens and when it closes. */
  readonly onBreakerChange?: (isOpen: boolean) => void;
}

/** How long a sign-out waits for the provider's metadata. */
const maxEndSessionWaitMs = 2_000;

/**
 * The client for one provider; requests go through `fetch`.
 * @param postLogoutRedirectUri the URL on our origin to which the provider sends the browser after sign-out
 */
export function createOAuthClient(
  provider: Provider,
  postLogoutRedirectUri: string,
  {
    fetch,
    now,
    elapsed = elapsedMs,
    log,
    neededClaims: needed = new Set(),
    onBreakerChange,
  }: OAuthClientParts,
): OAuthClient {
  const { issuer, redirectUri, clientId } = provider;
  const authentication = createClientAuthentication(provider);
  const loadMetadata = createMetadataLoader(provider, {
    authentication,
    fetch,
    fallbackIssuer: postLogoutRedirectUri,
    elapsed,
    log,
  });
  const withRequestPolicy = createRequestPolicy(elapsed, onBreakerChange);
  const idTokens = createIdTokenChecks(provider, log);
  const claimReader = createClaimReader({ provider, needed, log });

  /** Runs `request`, and again with the other client secret when the server rejects the active one. */
  async function withServer<T>(request: (server: Server) => Promise<T>): Promise<T> {
    const used = authentication.getActiveIndex();
    try {
      return await request(await loadMetadata());
    } catch (error) {
      const failure = toOAuthError(error);
      if (failure.code !== 'invalid_client' || !authentication.hasSecondSecret) throw failure;
      // Otherwise a concurrent request has already switched to the other secret.
      if (authentication.getActiveIndex() === used) authentication.activate(1 - used);
      return retryWithOtherSecret(request, used);
    }
  }

  async function retryWithOtherSecret<T>(
    request: (server: Server) => Promise<T>,
    rejected: number,
  ): Promise<T> {
    try {
      const result = await request(await loadMetadata());
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

  return {
    discover: () =>
      withServer(async (server) => {
        const { revocation_endpoint: revocation } = server.metadata;
        return { canRevoke: revocation !== undefined, canVerify: idTokens.canVerify(server) };
      }),

    createAuthorizationUrl: (request) =>
      withServer(async (server) => {
        idTokens.requireKeys(server); // otherwise the login would fail after the user has signed in
        const { state, codeVerifier, nonce, scope } = request;
        const parameters = toRequestParameters(provider.authorizationParameters, request);
        const own = {
          redirect_uri: redirectUri.href,
          scope: scope.join(' '),
          state,
          code_challenge: await calculatePKCECodeChallenge(codeVerifier),
          code_challenge_method: 'S256',
          ...(idTokens.areUsed && { nonce }),
        };
        for (const [name, value] of Object.entries(own)) parameters.set(name, value);
        return buildAuthorizationUrl(server.configuration, parameters);
      }),

    authorizationCodeGrant: (callbackQuery, request) =>
      withServer(async (server) => {
        const callbackUrl = new URL(redirectUri);
        callbackUrl.search = callbackQuery.toString();
        if (!issuer) callbackUrl.searchParams.delete('iss'); // there is no issuer to compare it with
        if (callbackQuery.has('code')) await idTokens.requireKeys(server)?.load();
        const response = await authorizationCodeGrant(server.configuration, callbackUrl, {
          expectedState: request.state,
          pkceCodeVerifier: request.codeVerifier,
        });
        requireBearer(response);
        const granted = readTokenResponse(response, now(), { requestedScope: request.scope });
        const { idToken, identity, claims } = await idTokens.verifyLogin(server, response, granted, request);
        const tokens = idToken === undefined ? granted : { ...granted, idToken };
        if (tokens.refreshToken === undefined && isExpired(tokens, now()))
          throw new OAuthError(
            'invalid_response',
            'the access token has already expired (expires_in 0), and there is no refresh token',
          );
        return {
          tokens,
          identity,
          ...(await claimReader.fetchUser(server.configuration, { tokens, claims })),
        };
      }),

    refreshTokenGrant: (tokens, { identity, caller, beforeSending } = {}) =>
      withRequestPolicy(caller ?? { name: tokens.refreshToken ?? '', isUser: false }, async () => {
        await beforeSending?.();
        return withServer(async (server) => {
          if (tokens.refreshToken === undefined) throw new OAuthError('rejected_other', 'no refresh token');
          const response = await refreshTokenGrant(server.configuration, tokens.refreshToken);
          const granted = readTokenResponse(response, now(), { previous: tokens });
          try {
            requireBearer(response);
            const idToken = await idTokens.verifyRefreshed(server, response, granted, identity);
            return idToken === undefined ? granted : { ...granted, idToken };
          } catch (error) {
            const { message } = toOAuthError(error);
            throw new OAuthError('invalid_response', message, { cause: error, untrustedTokens: granted });
          }
        });
      }),

    followClaims: async (...change) =>
      claimReader.followClaims((await loadMetadata()).configuration, ...change),

    clientCredentialsGrant: (scope) =>
      withRequestPolicy({ name: 'the application', isUser: true }, () =>
        withServer(async (server) => {
          const parameters: Record<string, string> = scope.length > 0 ? { scope: scope.join(' ') } : {};
          const response = await clientCredentialsGrant(server.configuration, parameters);
          requireBearer(response);
          return readTokenResponse(response, now(), { requestedScope: scope });
        }),
      ),

    revokeToken: (token, hint) =>
      withServer(async (server) => {
        if (server.metadata.revocation_endpoint === undefined) return;
        await tokenRevocation(server.configuration, token, { token_type_hint: hint });
      }),

    verifyLogoutToken: (token) => withServer((server) => idTokens.verifyLogout(server, token, now())),

    async getEndSessionUrl(hint = {}) {
      const loaded = await Promise.race([
        loadMetadata(),
        delay(maxEndSessionWaitMs, undefined, { ref: false }),
      ]).catch(
        () => undefined, // signing out here does not depend on the provider
      );
      if (loaded?.metadata.end_session_endpoint === undefined) return undefined;
      const parameters = { post_logout_redirect_uri: postLogoutRedirectUri, ...hint };
      return buildEndSessionUrl(loaded.configuration, parameters);
    },
  };
}
