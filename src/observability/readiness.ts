import { setTimeout as delay } from 'node:timers/promises';
import { elapsedMs } from '../time/elapsed.ts';

interface ReadinessParts {
  /** Rejects while sessions cannot be read. */
  readonly checkStore: () => Promise<unknown>;
  /** Resolves when the provider's metadata is known. Sends no request if it is known already. */
  readonly checkProvider: () => Promise<unknown>;
}

/** For each part that a login needs: true if it works. */
export type Readiness = Readonly<Record<'store' | 'provider', boolean>>;

/** For how long a result is reused: frequent requests cause one check per second at most. */
const maxAgeMs = 1_000;
/** The interval between requests for the provider's metadata while it is unavailable. */
const providerIntervalMs = 5_000;
/** A part whose check takes longer is not ready. */
const timeoutMs = 1_000;

/** Returns a function that returns the state of the parts, at most a second old. Concurrent callers share one check. */
export function createReadiness({ checkStore, checkProvider }: ReadinessParts): () => Promise<Readiness> {
  let pending: Promise<Readiness> | undefined;
  let checkedAt = Number.NEGATIVE_INFINITY;
  let last: Readiness = { store: false, provider: false };
  let providerCheckedAt = Number.NEGATIVE_INFINITY;
  let isProviderKnown = false;

  function checkProviderIfDue(): Promise<boolean> {
    if (isProviderKnown || elapsedMs() - providerCheckedAt < providerIntervalMs)
      return Promise.resolve(isProviderKnown);
    providerCheckedAt = elapsedMs();
    const check = checkProvider().then(
      () => {
        isProviderKnown = true;
        return true;
      },
      () => false,
    );
    return withTimeout(check);
  }

  async function check(): Promise<Readiness> {
    const isStoreReady = checkStore().then(
      () => true,
      () => false,
    );
    const [store, provider] = await Promise.all([withTimeout(isStoreReady), checkProviderIfDue()]);
    last = { store, provider };
    checkedAt = elapsedMs();
    return last;
  }

  return async function readReadiness() {
    if (elapsedMs() - checkedAt < maxAgeMs) return last;
    pending ??= check().finally(() => {
      pending = undefined;
    });
    return pending;
  };
}

function withTimeout(check: Promise<boolean>): Promise<boolean> {
  return Promise.race([check, delay(timeoutMs, false, { ref: false })]);
}
