import type { Metrics } from '../metrics/metrics.ts';
import type { SessionEndReason, TokenStore } from '../tokens/token-store.ts';
import { withSpan } from '../tracing.ts';

/** Not those that an administrator ends: the process of the command has no metrics. */
const reasons = [
  ...['signed_out', 'superseded', 'refresh_rejected'],
  ...['ended_by_user', 'ended_by_provider', 'ended_by_limit'],
];

/** `store`, which counts the logins that are stored and the sessions that end, with a trace span for each operation. */
export function measureTokenStore(store: TokenStore, { logins, sessionsEnded }: Metrics): TokenStore {
  const stored = logins({ outcome: 'success' });
  const notStored = logins({ outcome: 'not_stored' });
  for (const reason of reasons) sessionsEnded({ reason });

  return {
    ...store,
    get: (id, options) => withSpan('session read', 'internal', {}, () => store.get(id, options)),

    endReason: (id) => store.endReason(id),
    endsAt: (id) => store.endsAt(id),

    put: (id, record) =>
      withSpan('session write', 'internal', {}, async () => {
        try {
          await store.put(id, record);
          stored.increment();
        } catch (error) {
          notStored.increment();
          throw error;
        }
      }),

    update: (id, change, onDiscarded) =>
      withSpan('session refresh', 'internal', {}, () =>
        store.update(
          id,
          async (newest, confirmAndExtend) => {
            const changed = await change(newest, confirmAndExtend);
            if (!changed) sessionsEnded({ reason: 'refresh_rejected' }).increment();
            return changed;
          },
          onDiscarded,
        ),
      ),

    take: (id, reason, beforeRemoval) =>
      withSpan('session end', 'internal', {}, async () => {
        const record = await store.take(id, reason, beforeRemoval);
        if (record) sessionsEnded({ reason: nameOf(reason) }).increment();
        return record;
      }),
  };
}

function nameOf(reason: SessionEndReason): string {
  return 'by' in reason ? `${reason.kind}_by_${reason.by}` : reason.kind;
}
