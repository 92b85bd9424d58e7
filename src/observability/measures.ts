import type { Metrics } from '../metrics/metrics.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { measureOAuthClient } from './measured-oauth-client.ts';
import { traceTokenStore } from './traced-token-store.ts';

type OnBreakerChange = (isOpen: boolean) => void;

/** Wrappers with which `app.ts` adds metrics and traces to parts that know neither. */
export function createMeasures(metrics: Metrics) {
  /** Returns a function that sets the metric of a circuit breaker of this kind. */
  function breaker(kind: string): OnBreakerChange {
    const series = metrics.openBreakers({ kind, name: '' });
    series.set(0);
    return (isOpen) => series.set(Number(isOpen));
  }

  return {
    /** @param create creates a client that reports the state of its circuit breaker, which is of this kind */
    oauthClient: (kind: string, create: (onBreakerChange: OnBreakerChange) => OAuthClient) =>
      measureOAuthClient(create(breaker(kind)), metrics),
    tokenStore: traceTokenStore,
    breaker,
  };
}
