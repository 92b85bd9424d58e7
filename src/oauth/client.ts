import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  buildEndSessionUrl,
  type ClientAuth,
  ClientError,
  ClientSecretPost,
  Configuration,
  type CustomFetch,
  calculatePKCECodeChallenge,
  clientCredentialsGrant,
  customFetch,
  discovery,
  fetchProtectedResource,
  fetchUserInfo,
  refreshTokenGrant,
  type ServerMetadata,
  skipSubjectCheck,
  tokenRevocation,
} from 'openid-client';
import type { Config } from '../config.ts';
import type { Logger } from '../logger.ts';
import type { DeviationName } from '../providers.ts';
import type { Secret } from '../secret.ts';
import { createCircuit } from './circuit.ts';
import { mapClaims } from './claims.ts';
import { asDeclared } from './deviations.ts';
import type { LoginRequirements } from './login-requirements.ts';
import { OAuthError, toOAuthError } from './oauth-error.ts';
import { hasScope, readTokenResponse, type TokenSet, tidyTokenResponse } from './token-set.ts';

const timeoutSeconds = 10;

/** Who signed in, as the provider tells it (OIDC Core 5.1); every member may be missing. */
export interface User {
  readonly sub?: string;
  readonly name?: string;
  readonly email?: string;
  readonly picture?: string;
}

export interface AuthorizationRequest extends LoginRequirements {
  readonly state: string;
  readonly codeVerifier: string;
  readonly nonce: string;
}

/** The authorization server, in the words of RFC 6749. Everything rejects with `OAuthError`. */
export interface OAuthClient {
  /** Settles when the server's metadata is known; without discovery, at once. */
  ready(): Promise<{ readonly canRevoke: boolean }>;
  /** The authorization endpoint's address with code, PKCE S256 and state; a nonce with `openid`. */
  authorizationRequest(request: AuthorizationRequest): Promise<URL>;
  /**
   * Checks state, `iss` (RFC 9207) and error of the callback, and only then spends the code; an ID token is held
   * against the `maxAge` that was asked for.
   */
  authorizationCodeGrant(
    callbackQuery: URLSearchParams,
    request: AuthorizationRequest,
  ): Promise<{ readonly tokens: TokenSet; readonly user: User }>;
  /**
   * Spends the refresh token of `tokens` once `beforeSending` has settled (what it throws passes as it is); through a
   * circuit breaker, as outages meet every session at once.
   */
  refreshTokenGrant(tokens: TokenSet, beforeSending?: () => Promise<void>): Promise<TokenSet>;
  /** A token of the application's own, for no user (RFC 6749 4.4); through the same circuit breaker. */
  clientCredentialsGrant(scope: readonly string[]): Promise<TokenSet>;
  /** RFC 7009; does nothing when the server has no revocation endpoint. */
  revokeToken(token: string, hint: 'refresh_token' | 'access_token'): Promise<void>;
  /**
   * Where the browser ends its session at the provider (OIDC RP-Initiated Logout), if the provider has such a place
   * and is known by now. Without `id_token_hint`: it would hand a token to the browser.
   */
  endSessionUrl(): URL | undefined;
}

interface OAuthClientParts {
  readonly fetch: typeof globalThis.fetch;
  readonly now: () => number;
  readonly log: Logger;
}

/** Of the endpoints those that are needed; the rest is discovered, or not there. */
type Provider = Omit<Config['provider'], 'name' | 'endpoints'> & {
  readonly endpoints: Partial<Config['provider']['endpoints']>;
};

/** The `provider` part of a configuration, against the server behind `fetch`. */
export function createOAuthClient(
  provider: Provider,
  publicOrigin: string,
  { fetch, now, log }: OAuthClientParts,
): OAuthClient {
  const { issuer, redirectUri } = provider;
  const endpoints = Object.fromEntries(
    Object.entries(provider.endpoints).filter(([, value]) => value !== undefined),
  );
  // Only what the operator gave may be http; what an https issuer publishes may not fall back to it.
  const mayBeHttp = [issuer?.href, ...Object.values(endpoints)].some((each) => each?.startsWith('http:'));
  const authentications = provider.clientSecrets.map((secret) =>
    provider.clientAuth === 'client_secret_post'
      ? ClientSecretPost(secret.reveal())
      : clientSecretBasic(provider.clientId, secret),
  );
  let valid = 0;
  const authentication: ClientAuth = (...request) => authentications[valid]?.(...request);
  const circuit = createCircuit(now);

  // Without an issuer there is nothing to hold an ID token against; without `openid` nobody asked for one.
  const idToken = issuer && provider.scopes.includes('openid') ? 'use' : 'drop';

  const ask: CustomFetch = (url, { body, signal, ...options }) =>
    fetch(url, { ...options, body: body ?? null, signal: signal ?? null });

  let endSession: URL | undefined;
  let known: Configuration | undefined;
  let underWay: Promise<Configuration> | undefined;

  function configuration(): Promise<Configuration> {
    if (known) return Promise.resolve(known);
    underWay ??= (issuer ? discover(issuer) : Promise.resolve(configure(undefined)))
      .then((found) => {
        known = found;
        if (found.serverMetadata().end_session_endpoint !== undefined)
          endSession = buildEndSessionUrl(found, { post_logout_redirect_uri: `${publicOrigin}/signed-out` });
        return found;
      })
      .finally(() => {
        underWay = undefined; // a failed discovery is tried again by the next who needs it
      });
    return underWay;
  }

  async function discover(from: URL): Promise<Configuration> {
    const options = {
      [customFetch]: ask,
      timeout: timeoutSeconds,
      execute: mayBeHttp ? [allowInsecureRequests] : [],
    };
    const attempt = (algorithm: 'oidc' | 'oauth2') =>
      discovery(from, provider.clientId, undefined, authentication, { ...options, algorithm });
    const found = await attempt('oidc').catch((error: unknown) =>
      // No OpenID Connect metadata: the server may publish OAuth's own (RFC 8414).
      isAbsence(error) ? attempt('oauth2') : Promise.reject(error),
    );
    return configure(found.serverMetadata());
  }

  function configure(discovered: ServerMetadata | undefined): Configuration {
    const metadata = {
      issuer: new URL(provider.endpoints.authorization_endpoint ?? publicOrigin).origin,
      ...discovered,
      ...endpoints,
    };
    const configured = new Configuration(metadata, provider.clientId, {}, authentication);
    if (mayBeHttp) allowInsecureRequests(configured);
    configured.timeout = timeoutSeconds;
    configured[customFetch] = async (url, options) => {
      if (url !== metadata.token_endpoint) return ask(url, options);
      if (options.body instanceof URLSearchParams)
        for (const [name, value] of provider.tokenParameters) options.body.append(name, value);
      const response = await ask(url, options);
      return tidied(response, provider.deviations, isLogin(options.body) ? idToken : 'drop');
    };
    return configured;
  }

  async function asked<T>(question: (server: Configuration) => Promise<T>): Promise<T> {
    const tried = valid;
    try {
      return await question(await configuration());
    } catch (error) {
      const failure = toOAuthError(error);
      if (failure.code !== 'invalid_client' || authentications.length === 1) throw failure;
      if (valid === tried) valid = 1 - tried; // else another request has found out already
      return askedAgain(question, tried);
    }
  }

  /** With the other of two client secrets, which from now on is the one. */
  async function askedAgain<T>(question: (server: Configuration) => Promise<T>, tried: number): Promise<T> {
    try {
      const answer = await question(await configuration());
      const { clientId } = provider;
      log.warn(
        { clientId },
        'the provider has changed to the other of two client secrets; remove the old one',
      );
      return answer;
    } catch (error) {
      const failure = toOAuthError(error);
      if (failure.code === 'invalid_client') valid = tried; // neither is right
      throw failure;
    }
  }

  /** What a userinfo endpoint that is not OpenID Connect's says, in the words of OpenID Connect. */
  async function fetchMapped(
    server: Configuration,
    accessToken: string,
    subject: string | typeof skipSubjectCheck,
  ): Promise<Claims> {
    const endpoint = new URL(server.serverMetadata().userinfo_endpoint ?? '');
    const headers = new Headers({ accept: 'application/json' });
    const response = await fetchProtectedResource(server, accessToken, endpoint, 'GET', null, headers);
    if (response.status !== 200) throw new OAuthError('refused', `HTTP ${response.status}`);
    const claims = mapClaims(await response.json(), provider.userinfoClaims ?? {});
    if (subject !== skipSubjectCheck && claims.sub !== undefined && claims.sub !== subject)
      throw new OAuthError('invalid_response', 'the claims are of another subject than the ID token');
    return claims;
  }

  /** The ID token's claims, else what the userinfo endpoint says; a login does not fail for want of a name. */
  async function userOf(server: Configuration, tokens: TokenSet, idTokenClaims: Claims): Promise<User> {
    const endpoint = server.serverMetadata().userinfo_endpoint;
    // Discovered ones answer to `openid` only (OIDC Core 5.3); one that the operator gave is meant to be asked.
    const mayAsk = endpoint === endpoints.userinfo_endpoint || hasScope(tokens, 'openid');
    if (typeof idTokenClaims.name === 'string' || endpoint === undefined || !mayAsk)
      return readUser(idTokenClaims);
    const { sub } = idTokenClaims;
    try {
      const fetchClaims = provider.userinfoClaims ? fetchMapped : fetchUserInfo;
      const claims = await fetchClaims(
        server,
        tokens.accessToken,
        typeof sub === 'string' ? sub : skipSubjectCheck,
      );
      return readUser({ ...idTokenClaims, ...claims });
    } catch (error) {
      log.debug(
        { err: toOAuthError(error) },
        'a login stands without a name: the userinfo endpoint gave none',
      );
      return readUser(idTokenClaims);
    }
  }

  return {
    ready: () =>
      asked(async (server) => ({ canRevoke: server.serverMetadata().revocation_endpoint !== undefined })),

    authorizationRequest: ({ state, codeVerifier, nonce, scope, acrValues, maxAge }) =>
      asked(async (server) =>
        buildAuthorizationUrl(
          server,
          withParameters(provider.authorizationParameters, {
            redirect_uri: redirectUri.href,
            scope: scope.join(' '),
            state,
            code_challenge: await calculatePKCECodeChallenge(codeVerifier),
            code_challenge_method: 'S256',
            ...(idToken === 'use' && { nonce }),
            ...(acrValues !== undefined && { acr_values: acrValues }),
            ...(maxAge !== undefined && { max_age: String(maxAge) }),
          }),
        ),
      ),

    authorizationCodeGrant: (callbackQuery, { state, codeVerifier, nonce, scope, maxAge }) =>
      asked(async (server) => {
        const callbackUrl = new URL(redirectUri);
        callbackUrl.search = callbackQuery.toString();
        if (!issuer) callbackUrl.searchParams.delete('iss'); // there is no issuer to compare it with
        const response = await authorizationCodeGrant(server, callbackUrl, {
          expectedState: state,
          pkceCodeVerifier: codeVerifier,
          ...(idToken === 'use' && { expectedNonce: nonce, ...(maxAge !== undefined && { maxAge }) }),
        });
        const tokens = readTokenResponse(response, now(), { asked: scope });
        return { tokens, user: await userOf(server, tokens, response.claims() ?? {}) };
      }),

    refreshTokenGrant: (tokens, beforeSending = async () => {}) =>
      circuit(async () => {
        await beforeSending();
        return asked(async (server) => {
          if (tokens.refreshToken === undefined) throw new OAuthError('refused', 'there is no refresh token');
          const response = await refreshTokenGrant(server, tokens.refreshToken);
          return readTokenResponse(response, now(), { previous: tokens });
        });
      }),

    clientCredentialsGrant: (scope) =>
      circuit(() =>
        asked(async (server) => {
          const response = await clientCredentialsGrant(
            server,
            scope.length > 0 ? { scope: scope.join(' ') } : {},
          );
          return readTokenResponse(response, now(), { asked: scope });
        }),
      ),

    revokeToken: (token, hint) =>
      asked(async (server) => {
        if (server.serverMetadata().revocation_endpoint === undefined) return;
        await tokenRevocation(server, token, { token_type_hint: hint });
      }),

    endSessionUrl: () => endSession,
  };
}

/** Of other grants nobody reads the ID token; one that fails a check would cost the tokens beside it. */
function isLogin(body: unknown): boolean {
  return body instanceof URLSearchParams && body.get('grant_type') === 'authorization_code';
}

function isAbsence(error: unknown): boolean {
  return error instanceof ClientError && error.cause instanceof Response && error.cause.status < 500;
}

/** What a request says for itself wins over what is `configured` for every request. */
function withParameters(
  configured: Config['provider']['authorizationParameters'],
  own: Readonly<Record<string, string>>,
): URLSearchParams {
  const parameters = new URLSearchParams(configured);
  for (const [name, value] of Object.entries(own)) parameters.set(name, value);
  return parameters;
}

type Claims = Readonly<Record<string, unknown>>;

function readUser(claims: Claims): User {
  const members = ['sub', 'name', 'email', 'picture'] as const;
  return Object.fromEntries(
    members.flatMap((member) => (typeof claims[member] === 'string' ? [[member, claims[member]]] : [])),
  );
}

/**
 * The token endpoint's answer as the protocol library can read it. `WWW-Authenticate` goes, because the library
 * then skips the body that holds the error code, although RFC 6749 5.2 has servers send both.
 */
async function tidied(
  response: Response,
  deviations: readonly DeviationName[],
  idToken: 'use' | 'drop',
): Promise<Response> {
  const text = await response.text();
  const headers = new Headers(response.headers);
  for (const name of ['www-authenticate', 'content-encoding', 'content-length']) headers.delete(name);
  try {
    const { status, body } = asDeclared(deviations, response.status, JSON.parse(text));
    return new Response(JSON.stringify(tidyTokenResponse(body, idToken)), { status, headers });
  } catch {
    headers.delete('content-type'); // whatever it calls itself, it is not JSON
    return new Response(text, { status: response.status, headers });
  }
}

/**
 * HTTP Basic as servers in the field read it: RFC 6749 2.3.1 wants both parts form-encoded, many servers do not
 * decode them, so only what would break the header is encoded.
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
