import { type AppTokenRecord, type AppTokenStore, expiresAtOf } from '../../tokens/app-token-store.ts';
import { createKeyedMutex } from '../keyed-mutex.ts';

/** An app token store in the memory of this process. */
export function createMemoryAppTokenStore(now: () => number): AppTokenStore {
  const records = new Map<string, AppTokenRecord>();
  const runExclusive = createKeyedMutex();

  async function get(scope: readonly string[]): Promise<AppTokenRecord> {
    const record = records.get(keyOf(scope)) ?? {};
    return (expiresAtOf(record) ?? Number.POSITIVE_INFINITY) > now() ? record : {};
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
