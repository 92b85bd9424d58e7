import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose';
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
  /** After a signature that its key does not verify: true if the keys were fetched again, as a key may change under its id. */
  reload(): Promise<boolean>;
}

const timeoutMs = 10_000;
const cacheMs = 600_000;
const maxRefetches = 2;
const refetchIntervalMs = 60_000;
const retryAfterSeconds = 5;

export function createProviderKeys(url: URL, fetch: CustomFetch, now: () => number): ProviderKeys {
  const keySet = createRemoteJWKSet(url, {
    timeoutDuration: timeoutMs,
    cacheMaxAge: cacheMs,
    cooldownDuration: Number.POSITIVE_INFINITY, // this module decides when to fetch keys again
    [customFetch]: (href, { headers, ...options }) =>
      fetch(href, { ...options, headers: Object.fromEntries(headers), body: undefined }),
  });
  let refetchesLeft = maxRefetches;
  let nextRefetchAt = 0;

  async function reload(): Promise<void> {
    try {
      await keySet.reload();
    } catch (error) {
      throw keysUnavailable(error instanceof Error ? error.message : 'unknown error', error);
    }
  }

  function keysUnavailable(reason: string, cause?: unknown): OAuthError {
    const message = `the provider's keys cannot be fetched from ${url.origin}${url.pathname}: ${reason}`;
    return new OAuthError('unavailable', message, { cause, retryAfterSeconds });
  }

  /** True if another fetch is allowed now: joining one in progress, one of two, or one per minute. */
  function mayRefetch(): boolean {
    if (keySet.reloading) return true;
    if (now() >= nextRefetchAt) refetchesLeft = Math.max(refetchesLeft, 1);
    if (refetchesLeft === 0) return false;
    refetchesLeft -= 1;
    nextRefetchAt = now() + refetchIntervalMs;
    return true;
  }

  const getKey: JWTVerifyGetKey = async (header, token) => {
    if (!keySet.fresh) await reload();
    try {
      return await keySet(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
    if (!mayRefetch())
      throw keysUnavailable('a token was signed with an unknown key, and the keys were fetched recently');
    await reload();
    return keySet(header, token);
  };

  return {
    load: async () => {
      if (!keySet.fresh) await reload();
    },
    getKey,
    async reload() {
      if (!mayRefetch()) return false;
      await reload();
      return true;
    },
  };
}
