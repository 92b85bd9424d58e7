import type { TokenStore } from '../tokens/token-store.ts';
import { withSpan } from '../tracing.ts';

/** `store`, with a trace span for each operation. */
export function traceTokenStore(store: TokenStore): TokenStore {
  return {
    ...store,
    get: (id, options) => withSpan('session read', 'internal', {}, () => store.get(id, options)),
    put: (id, record) => withSpan('session write', 'internal', {}, () => store.put(id, record)),
    update: (id, change, onDiscarded) =>
      withSpan('session refresh', 'internal', {}, () => store.update(id, change, onDiscarded)),
    take: (id, reason, beforeRemoval) =>
      withSpan('session end', 'internal', {}, () => store.take(id, reason, beforeRemoval)),
  };
}
