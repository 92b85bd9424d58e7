import type { Metrics } from '../metrics/metrics.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import type { TokenStore } from '../tokens/token-store.ts';
import { measureOAuthClient } from './measured-oauth-client.ts';
import { measureTokenStore } from './measured-token-store.ts';

/** What `app.ts` wraps its parts in, so that they need to know neither metrics nor traces. */
export function createMeasures(metrics: Metrics) {
  return {
    oauthClient: (oauth: OAuthClient) => measureOAuthClient(oauth, metrics),
    tokenStore: (store: TokenStore) => measureTokenStore(store, metrics),
    /** For `onBreakerChange`: shows the state of a circuit breaker of this kind. */
    breaker(kind: string): (isOpen: boolean) => void {
      const series = metrics.openBreakers({ kind, name: '' });
      series.set(0);
      return (isOpen) => series.set(Number(isOpen));
    },
  };
}
