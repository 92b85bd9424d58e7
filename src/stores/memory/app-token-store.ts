import { elapsedMs } from '../../time/elapsed.ts';
import type { AppTokenRecord, AppTokenStore } from '../../tokens/app-token-store.ts';
import { createKeyedMutex } from '../keyed-mutex.ts';

/** An app token store in the memory of this process. */
export function createMemoryAppTokenStore(
  now: () => number,
  elapsed: () => number = elapsedMs,
): AppTokenStore {
  const records = new Map<string, AppTokenRecord>();
  const runExclusive = createKeyedMutex();

  async function get(scope: readonly string[]): Promise<AppTokenRecord> {
    const { tokens, failure, ...record } = records.get(keyOf(scope)) ?? {};
    const hasTokens = tokens && (tokens.expiresAt ?? Number.POSITIVE_INFINITY) > now();
    const hasFailure = failure && failure.until > elapsed();
    return hasTokens || hasFailure ? { ...record, tokens, failure } : {};
  }

  return {
    get,
    update: (scope, change) =>
      runExclusive(keyOf(scope), async () => {
        const changed = await change(await get(scope));
        records.set(keyOf(scope), changed);
        return changed;
      }),
  };
}

const keyOf = (scope: readonly string[]) => scope.join(' ');
