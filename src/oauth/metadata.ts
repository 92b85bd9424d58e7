import {
  allowInsecureRequests,
  ClientError,
  Configuration,
  type CustomFetch,
  customFetch,
  discovery,
  type ServerMetadata,
} from 'openid-client';
import type { Config } from '../config/load.ts';
import type { Logger } from '../logger.ts';
import type { ClientAuthentication } from './client-authentication.ts';
import { OAuthError, toOAuthError } from './oauth-error.ts';
import { createHttpRule, createProviderFetch } from './provider-fetch.ts';
import { createProviderKeys, type ProviderKeys } from './provider-keys.ts';
import { normalizeResponse } from './token-response.ts';

const timeoutSeconds = 10;
/** The least time between two attempts to fetch the metadata again. */
const refetchIntervalMs = 60_000;
/** Metadata that is older than this is fetched again when it is used. */
const maxAgeMs = 600_000;
/** Statuses of an endpoint that has moved. */
const movedStatuses = new Set([404, 405, 410]);

/** A provider's settings. Missing endpoints are discovered; a feature whose endpoint is not found is off. */
export type Provider = Omit<
  Config['provider'],
  'name' | 'endpoints' | 'logoutHint' | 'isLogoutSidRequired'
> & {
  readonly endpoints: Partial<Config['provider']['endpoints']>;
  readonly isLogoutSidRequired?: boolean;
  /** True if Latchkey gets only app tokens there, so that it needs no authorization endpoint. */
  readonly isForAppTokens?: boolean;
};

interface MetadataParts {
  readonly authentication: ClientAuthentication;
  readonly fetch: typeof globalThis.fetch;
  /** The issuer to assume for a provider that has neither an issuer nor an authorization endpoint. */
  readonly fallbackIssuer: string;
  /** As `elapsedMs`. */
  readonly elapsed: () => number;
  readonly log: Logger;
}

/** The server's metadata and our client, as the protocol library needs them, and the keys of ID tokens. */
export interface Server {
  readonly configuration: Configuration;
  readonly metadata: ServerMetadata;
  /** How the issuer may be written in an ID token. */
  readonly issuers: readonly string[];
  /** Absent if the metadata names no keys. */
  readonly keys: ProviderKeys | undefined;
}

/**
 * `loadMetadata()`: the server's metadata (OpenID Connect Discovery 4, RFC 8414). Configured endpoints override discovered
 * ones, and if all the necessary ones are configured, a failed discovery does not matter. The metadata is fetched again
 * after ten minutes and, at most once a minute, after a failed discovery, after an endpoint has returned 404, 405 or 410, and
 * after an ID token with an unknown key.
 * @throws OAuthError the metadata cannot be fetched, and is necessary; the next call tries again
 */
export function createMetadataLoader(
  provider: Provider,
  { authentication, fetch, fallbackIssuer, elapsed, log }: MetadataParts,
): () => Promise<Server> {
  const { issuer, clientId } = provider;
  const endpoints = Object.fromEntries(
    Object.entries(provider.endpoints).filter(([, value]) => value !== undefined),
  );
  const isHttpAllowed = createHttpRule(issuer, Object.values(endpoints));
  const allowsHttp = [issuer?.href, ...Object.values(endpoints)].some((each) => each?.startsWith('http:'));
  const providerFetch = createProviderFetch(fetch, isHttpAllowed);
  const needsDiscovery =
    endpoints.token_endpoint === undefined ||
    (endpoints.authorization_endpoint === undefined && !provider.isForAppTokens);
  let cached: Server | undefined;
  let keys: { readonly url: string; readonly keys: ProviderKeys } | undefined;
  let pending: Promise<Server> | undefined;
  let isOutdated = false;
  let lastAttemptAt = Number.NEGATIVE_INFINITY;

  /** The library's own object: some of what it knows about a provider is not in the metadata. */
  async function discover(from: URL): Promise<Configuration> {
    const attempts: string[] = [];
    const discoveryFetch: CustomFetch = async (url, options) => {
      const response = await providerFetch(url, options);
      const location = response.headers.get('location');
      attempts.push(
        `${url} returned HTTP ${response.status}${location ? ` to ${location.slice(0, 200)}` : ''}`,
      );
      return response.status === 200 ? overrideEndpoints(response) : response;
    };
    const attempt = (algorithm: 'oidc' | 'oauth2', url = from) =>
      discovery(url, clientId, undefined, authentication.authenticate, {
        [customFetch]: discoveryFetch,
        timeout: timeoutSeconds,
        execute: allowsHttp ? [allowInsecureRequests] : [],
        algorithm,
      });
    try {
      return await attempt('oidc').catch((error: unknown) => {
        // A server without OpenID Connect metadata may publish OAuth's own (RFC 8414).
        if (isMetadataNotFound(error)) return attempt('oauth2');
        // The address of the metadata is the same with and without a slash at the end; the issuer is as the metadata says.
        const other = new URL(from.href.endsWith('/') ? from.href.slice(0, -1) : `${from.href}/`);
        const isOtherSpelling = error instanceof ClientError && issuerInMetadata(error) === other.href;
        if (isOtherSpelling) return attempt('oidc', other);
        throw error;
      });
    } catch (error) {
      const { kind, message, retryAfterSeconds, options } = toOAuthError(error);
      // Whatever is wrong with the metadata, it is not the user's login.
      const discoveryKind =
        kind === 'invalid_response'
          ? 'client_misconfigured'
          : kind === 'unavailable'
            ? kind
            : 'outcome_unknown';
      const details = [...attempts, message].join('; ');
      throw new OAuthError(discoveryKind, `discovery failed: ${details}`, {
        cause: error,
        retryAfterSeconds,
        isUnreachable: options.isUnreachable ?? false,
      });
    }
  }

  /** The metadata document with the configured endpoints, and without http endpoints that nobody configured. */
  async function overrideEndpoints(response: Response): Promise<Response> {
    const document: unknown = await response
      .clone()
      .json()
      .catch(() => undefined);
    if (typeof document !== 'object' || document === null || Array.isArray(document)) return response;
    const metadata: Record<string, unknown> = { ...document, ...endpoints };
    for (const [name, value] of Object.entries(metadata)) {
      if (!name.endsWith('_endpoint') && name !== 'jwks_uri') continue;
      if (typeof value === 'string' && URL.canParse(value) && isHttpAllowed(new URL(value))) continue;
      if (value !== null)
        log.error(
          { member: name, issuer: issuer?.href },
          'ignoring an endpoint in the metadata: its URL is not https',
        );
      delete metadata[name];
    }
    return Response.json(metadata, { headers: response.headers });
  }

  /** The configured endpoints alone. Every algorithm with a public key is accepted, as the keys decide. */
  function configureWithoutDiscovery(): Configuration {
    const fallback = new URL(endpoints.authorization_endpoint ?? fallbackIssuer).origin;
    // The issuer of a host is written without a slash by most providers, but URLs have one.
    const name = issuer?.pathname === '/' ? issuer.origin : issuer?.href;
    return new Configuration(
      { issuer: name ?? fallback, ...endpoints },
      clientId,
      {},
      authentication.authenticate,
    );
  }

  function toServer(configuration: Configuration, isDiscovered: boolean): Server {
    const metadata = configuration.serverMetadata();
    // Without discovery nobody knows whether the issuer of a host is written with the slash that URLs have.
    const issuers = isDiscovered || !issuer ? [metadata.issuer] : [metadata.issuer, issuer.href];
    const required = provider.isForAppTokens ? [] : (['authorization_endpoint'] as const);
    for (const name of ['token_endpoint', ...required] as const)
      if (metadata[name] === undefined)
        throw new OAuthError('client_misconfigured', `the metadata has no ${name} that may be used`);
    if (allowsHttp) allowInsecureRequests(configuration);
    configuration.timeout = timeoutSeconds;
    configuration[customFetch] = createRequestFetch(metadata);
    const { jwks_uri: keysUrl } = metadata;
    if (keysUrl !== undefined && keysUrl !== keys?.url)
      keys = {
        url: keysUrl,
        keys: createProviderKeys(new URL(keysUrl), endpointFetch, elapsed, markOutdated),
      };
    return { configuration, metadata, issuers, keys: keysUrl === undefined ? undefined : keys?.keys };
  }

  const endpointFetch: CustomFetch = async (url, options) => {
    const response = await providerFetch(url, options);
    if (movedStatuses.has(response.status)) markOutdated();
    return response;
  };

  function createRequestFetch({ token_endpoint: tokenEndpoint }: ServerMetadata): CustomFetch {
    const tokenUrl = tokenEndpoint === undefined ? undefined : new URL(tokenEndpoint).href;
    return async (url, options) => {
      const isTokenRequest = new URL(url).href === tokenUrl;
      if (isTokenRequest && options.body instanceof URLSearchParams)
        for (const [name, value] of provider.tokenParameters) options.body.append(name, value);
      const response = await endpointFetch(url, options);
      return isTokenRequest ? normalizeResponse(response, provider.deviations) : response;
    };
  }

  function fetchMetadata(): Promise<Server> {
    lastAttemptAt = elapsed();
    pending ??= (issuer ? discover(issuer) : Promise.resolve(configureWithoutDiscovery()))
      .then((found) => {
        isOutdated = false;
        cached = toServer(found, true);
        return cached;
      })
      .catch((error: unknown) => {
        if (!cached && needsDiscovery) throw error;
        isOutdated = true;
        const consequence = cached ? 'using the previous metadata' : 'using only the configured endpoints';
        log.warn({ err: error }, `provider metadata is not available: ${consequence}`);
        cached ??= toServer(configureWithoutDiscovery(), false);
        return cached;
      })
      .finally(() => {
        pending = undefined;
      });
    return pending;
  }

  function markOutdated(): void {
    if (!issuer) return; // there is nothing to discover
    isOutdated = true;
    refetchIfDue();
  }

  /** In the background: what is cached may still be right. */
  function refetchIfDue(): void {
    if (elapsed() - lastAttemptAt >= refetchIntervalMs) fetchMetadata().catch(() => undefined);
  }

  return async function loadMetadata() {
    if (!cached) return fetchMetadata();
    if (isOutdated || (issuer && elapsed() - lastAttemptAt >= maxAgeMs)) refetchIfDue();
    return cached;
  };
}

function isMetadataNotFound(error: unknown): boolean {
  return error instanceof ClientError && error.cause instanceof Response && error.cause.status < 500;
}

/** The issuer that the metadata names instead of the expected one, if that was the error. */
function issuerInMetadata({ cause }: ClientError): unknown {
  if (typeof cause !== 'object' || cause === null || !('body' in cause)) return undefined;
  return Reflect.get(Object(cause.body), 'issuer');
}
