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
import type { ClientAuthentication } from './client-authentication.ts';
import { normalizeResponse } from './token-response.ts';

const timeoutSeconds = 10;

/** A provider's settings. Missing endpoints are discovered; a feature whose endpoint is not found is off. */
export type Provider = Omit<Config['provider'], 'name' | 'endpoints'> & {
  readonly endpoints: Partial<Config['provider']['endpoints']>;
};

interface MetadataParts {
  readonly authentication: ClientAuthentication;
  readonly fetch: typeof globalThis.fetch;
  /** The issuer to assume for a provider that has neither an issuer nor an authorization endpoint. */
  readonly fallbackIssuer: string;
}

/**
 * `loadMetadata()`: the server's metadata (OpenID Connect Discovery 4, RFC 8414) and our client, as the protocol
 * library needs them. Discovered once; after a failure, the next call tries again. Configured endpoints override
 * discovered ones.
 */
export function createMetadataLoader(
  provider: Provider,
  { authentication, fetch, fallbackIssuer }: MetadataParts,
): () => Promise<Configuration> {
  const { issuer, clientId } = provider;
  const endpoints = Object.fromEntries(
    Object.entries(provider.endpoints).filter(([, value]) => value !== undefined),
  );
  // Only an endpoint that the operator configured may be http; metadata of an https issuer may not introduce one.
  const allowsHttp = [issuer?.href, ...Object.values(endpoints)].some((each) => each?.startsWith('http:'));
  const idToken = usesIdToken(provider) ? 'use' : 'drop';
  let cached: Configuration | undefined;
  let pending: Promise<Configuration> | undefined;

  const plainFetch: CustomFetch = (url, { body, signal, ...options }) =>
    fetch(url, { ...options, body: body ?? null, signal: signal ?? null });

  async function discover(from: URL): Promise<Configuration> {
    const options = {
      [customFetch]: plainFetch,
      timeout: timeoutSeconds,
      execute: allowsHttp ? [allowInsecureRequests] : [],
    };
    const attempt = (algorithm: 'oidc' | 'oauth2') =>
      discovery(from, clientId, undefined, authentication.authenticate, { ...options, algorithm });
    const found = await attempt('oidc').catch((error: unknown) =>
      // A server without OpenID Connect metadata may publish OAuth's own (RFC 8414).
      isMetadataNotFound(error) ? attempt('oauth2') : Promise.reject(error),
    );
    return configure(found.serverMetadata());
  }

  function configure(discovered: ServerMetadata | undefined): Configuration {
    const metadata = {
      issuer: new URL(provider.endpoints.authorization_endpoint ?? fallbackIssuer).origin,
      ...discovered,
      ...endpoints,
    };
    const configured = new Configuration(metadata, clientId, {}, authentication.authenticate);
    if (allowsHttp) allowInsecureRequests(configured);
    configured.timeout = timeoutSeconds;
    configured[customFetch] = async (url, options) => {
      if (url !== metadata.token_endpoint) return plainFetch(url, options);
      if (options.body instanceof URLSearchParams)
        for (const [name, value] of provider.tokenParameters) options.body.append(name, value);
      const response = await plainFetch(url, options);
      return normalizeResponse(response, provider.deviations, isCodeGrant(options.body) ? idToken : 'drop');
    };
    return configured;
  }

  return function loadMetadata() {
    if (cached) return Promise.resolve(cached);
    pending ??= (issuer ? discover(issuer) : Promise.resolve(configure(undefined)))
      .then((found) => {
        cached = found;
        return found;
      })
      .finally(() => {
        pending = undefined;
      });
    return pending;
  };
}

/** False without an issuer, because an ID token could not be checked, and without `openid`, which requests one. */
export function usesIdToken({ issuer, scopes }: Pick<Provider, 'issuer' | 'scopes'>): boolean {
  return issuer !== undefined && scopes.includes('openid');
}

/** ID tokens of other grants are dropped: they are not used, and a failed check would discard the other tokens. */
function isCodeGrant(body: unknown): boolean {
  return body instanceof URLSearchParams && body.get('grant_type') === 'authorization_code';
}

function isMetadataNotFound(error: unknown): boolean {
  return error instanceof ClientError && error.cause instanceof Response && error.cause.status < 500;
}
