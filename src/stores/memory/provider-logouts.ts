import {
  type LogoutProgress,
  loginsEndedForMs,
  type ProviderLogouts,
  selectorsOfLogin,
  selectorsOfLogout,
} from '../../tokens/provider-logouts.ts';
import { type HandOverMap, notHandedOver } from './hand-over.ts';

/** The oldest entries are forgotten beyond this number, which only a provider can reach. */
const maxEntries = 65_536;

interface Until<T> {
  readonly value: T;
  readonly until: number;
}

/** The logouts of the last minutes in the memory of this process. */
export function createMemoryProviderLogouts(
  now: () => number,
  handOver: HandOverMap = notHandedOver,
): ProviderLogouts {
  const progress = handOver('logout-progress', new Map<string, Until<LogoutProgress>>());
  const ended = handOver('ended-logins', new Map<string, Until<number>>());

  function store<T>(map: Map<string, Until<T>>, key: string, value: T, until: number): void {
    map.delete(key);
    for (const [other, each] of map) {
      if (each.until > now() && map.size < maxEntries) break; // most others are newer
      map.delete(other);
    }
    map.set(key, { value, until });
  }

  return {
    async progressOf(id) {
      const found = progress.get(id);
      return found && found.until > now() ? found.value : undefined;
    },
    async remember({ id, validUntil }, value) {
      store(progress, id, value, validUntil);
    },
    async endLogins({ receivedAt, ...logout }) {
      for (const selector of selectorsOfLogout(logout))
        store(ended, JSON.stringify(selector), receivedAt, receivedAt + loginsEndedForMs);
    },
    async isLoginEnded(identity, startedAt) {
      const keys = selectorsOfLogin(identity).map((selector) => JSON.stringify(selector));
      return keys.some((key) => startedAt <= (ended.get(key)?.value ?? Number.NEGATIVE_INFINITY));
    },
  };
}
