import { createLocalJWKSet, createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose';
import type { CustomFetch } from 'openid-client';
import { OAuthError } from './oauth-error.ts';

/** The keys with which a provider signs ID tokens (RFC 7517). */
export interface ProviderKeys {
  /** Settles when the keys have been fetched in the last ten minutes. @throws OAuthError `unavailable` */
  load(): Promise<void>;
  /**
   * The key for a JWS header. An unknown key is fetched: twice at once, then once a minute, so that a provider can change
   * its keys at any time, and no token can cause many requests.
   * @throws OAuthError `unavailable`: the keys cannot be fetched now
   */
  readonly getKey: JWTVerifyGetKey;
  /**
   * Fetches the keys again after a signature that its key does not verify, because a key may change under its id.
   * @throws OAuthError `unavailable`, as `getKey`
   */
  refetch(): Promise<void>;
  /**
   * The same for tokens that anybody can send. They cause one request for keys a minute at most, and do not use up those
   * of the tokens that the provider itself has sent. While no keys can be fetched, those of the last day are used.
   */
  readonly unsolicited: Pick<ProviderKeys, 'getKey' | 'refetch'>;
}

const timeoutMs = 10_000;
const cacheMs = 600_000;
const maxRefetches = 2;
const refetchIntervalMs = 60_000;
const retryAfterSeconds = 5;
/** How long keys that cannot be fetched again are used for unsolicited tokens: a logout must not get lost. */
const maxStaleMs = 86_400_000;

/**
 * @param now as `elapsedMs`
 * @param onUnknownKey is called when the keys do not fit a token: their address may have changed
 */
export function createProviderKeys(
  url: URL,
  fetch: CustomFetch,
  now: () => number,
  onUnknownKey: () => void,
): ProviderKeys {
  const keySet = createRemoteJWKSet(url, {
    timeoutDuration: timeoutMs,
    cacheMaxAge: cacheMs,
    cooldownDuration: Number.POSITIVE_INFINITY, // this module decides when to fetch keys again
    [customFetch]: (href, { headers, ...options }) =>
      fetch(href, { ...options, headers: Object.fromEntries(headers), body: undefined }),
  });
  let refetchesLeft = maxRefetches;
  let nextRefetchAt = Number.NEGATIVE_INFINITY;
  let failedAt = Number.NEGATIVE_INFINITY;
  let loadedAt = Number.NEGATIVE_INFINITY;

  /** On both clocks: jose uses the time of day, and the other one stands still while a computer is suspended. */
  const isFresh = () => keySet.fresh && now() - loadedAt < cacheMs;

  async function reload(): Promise<void> {
    // Otherwise every refresh would wait for an address that does not respond.
    if (now() - failedAt < retryAfterSeconds * 1000)
      throw keysUnavailable('the last attempt has just failed');
    try {
      await keySet.reload();
      loadedAt = now();
    } catch (error) {
      failedAt = now();
      refetchesLeft = maxRefetches; // nothing was fetched
      throw keysUnavailable(error instanceof Error ? error.message : 'unknown error', error);
    }
  }

  function keysUnavailable(reason: string, cause?: unknown): OAuthError {
    const message = `the provider's keys cannot be fetched from ${url.origin}${url.pathname}: ${reason}`;
    return new OAuthError('unavailable', message, { cause, retryAfterSeconds });
  }

  /** Fetches the keys again: joining a fetch in progress, one of two, or one per minute. */
  async function refetch(): Promise<void> {
    if (!keySet.reloading) {
      if (now() >= nextRefetchAt) refetchesLeft = Math.max(refetchesLeft, 1);
      if (refetchesLeft === 0)
        throw keysUnavailable('a token does not fit the keys, and they were fetched a moment ago');
      refetchesLeft -= 1;
      nextRefetchAt = now() + refetchIntervalMs;
    }
    onUnknownKey();
    await reload();
  }

  const getKey: JWTVerifyGetKey = async (header, token) => {
    if (!isFresh()) await reload();
    try {
      return await keySet(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
    await refetch();
    return keySet(header, token);
  };

  async function refetchForUnsolicited(): Promise<void> {
    if (now() - loadedAt < refetchIntervalMs) return;
    onUnknownKey();
    await reload();
  }

  const getKeyForUnsolicited: JWTVerifyGetKey = async (header, token) => {
    if (!isFresh())
      try {
        await reload();
      } catch (error) {
        const stale = keySet.jwks();
        if (!stale || now() - loadedAt > maxStaleMs) throw error;
        return createLocalJWKSet(stale)(header, token);
      }
    try {
      return await keySet(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
    await refetchForUnsolicited();
    return keySet(header, token);
  };

  return {
    unsolicited: { getKey: getKeyForUnsolicited, refetch: refetchForUnsolicited },
    load: async () => {
      if (!isFresh()) await reload();
    },
    getKey,
    refetch,
  };
}
