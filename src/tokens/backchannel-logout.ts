import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../logger.ts';
import type { LogoutToken } from '../oauth/jwt/logout-token.ts';
import type { ProviderLogout, ProviderLogouts } from './provider-logouts.ts';
import type { TokenManager } from './token-manager.ts';

/** Ends sessions when the provider says so, with logout tokens that have been verified. */
export interface BackchannelLogout {
  /**
   * Ends the session or the sessions that the token is about, on every instance.
   * @returns how many sessions have ended; `undefined`, and ends nothing, when this token has been applied before
   * @throws AppError `temporarily_unavailable`: the store is unavailable, and the logout is queued until it is available
   */
  receive(token: LogoutToken): Promise<number | undefined>;
  /** Applies what is queued, or reports in the log that it is lost. */
  drain(): Promise<void>;
}

interface BackchannelLogoutParts {
  readonly logouts: ProviderLogouts;
  readonly tokens: Pick<TokenManager, 'endAllOf' | 'sessionsOf' | 'endBy'>;
  /** How long a session lives at most. */
  readonly absoluteSeconds: number;
  readonly now: () => number;
  readonly log: Logger;
}

/** Over this number, the oldest is dropped. Each takes less than a kilobyte, and only the provider can send one. */
const maxQueued = 10_000;
const retryIntervalMs = 500;
/** How many are applied at a time. One that fails must not delay the others for long. */
const batchSize = 16;
const maxDrainAttempts = 3;

export function createBackchannelLogout(parts: BackchannelLogoutParts): BackchannelLogout {
  const { logouts, tokens, absoluteSeconds, now, log } = parts;
  const queue = new Map<string, ProviderLogout>();
  const inProgress = new Map<string, Promise<number | undefined>>();
  let isRetrying = false;

  /** Logins in progress first: each either sees that it has ended, or has its session in the index by then. */
  async function apply({ of, sub, receivedAt }: ProviderLogout, isLate: boolean): Promise<number> {
    await logouts.endLogins({ of, sub, receivedAt });
    let ended = !isLate || sub === undefined ? await tokens.endAllOf(of, 'provider') : 0;
    if (sub === undefined || (!isLate && 'sub' in of)) return ended;
    // Without a sid, nobody knows whether a session is the one that has ended. A late logout ends nothing that has begun
    // since: instances that had not lost the store may have signed the user in again, in the same session of the provider.
    const sessions = await tokens.sessionsOf(sub, Number.POSITIVE_INFINITY);
    const kept = sessions.find(({ signedInAt }) => signedInAt > receivedAt);
    for (const { id, sid, signedInAt } of sessions) {
      const isMeant = !('sid' in of) || sid === undefined || sid === of.sid;
      if (!isMeant || signedInAt > receivedAt) continue;
      if (await tokens.endBy(id, 'provider', kept?.id)) ended += 1;
    }
    return ended;
  }

  async function applyOnce(logout: ProviderLogout): Promise<number | undefined> {
    const queued = queue.get(logout.id);
    try {
      const progress = await logouts.progressOf(logout.id);
      const ended = progress === undefined ? await apply(queued ?? logout, queued !== undefined) : 0;
      if (progress !== 'applied') await logouts.remember(logout, 'applied');
      queue.delete(logout.id);
      return progress === 'applied' ? undefined : ended;
    } catch (error) {
      enqueue(queued ?? logout);
      throw error;
    }
  }

  function enqueue(logout: ProviderLogout): void {
    if (queue.size === 0)
      log.warn('cannot apply a logout of the provider now; it and those that follow are queued in memory');
    queue.delete(logout.id);
    queue.set(logout.id, logout);
    if (queue.size > maxQueued) {
      const [oldest] = queue.keys();
      queue.delete(oldest!);
      log.error({ maxQueued }, 'a logout of the provider is lost: too many are queued');
    }
    if (!isRetrying) void retry();
  }

  async function retry(): Promise<void> {
    isRetrying = true;
    let applied = 0;
    while (queue.size > 0) {
      await delay(retryIntervalMs, undefined, { ref: false });
      applied += await applyQueued();
    }
    isRetrying = false;
    if (applied > 0) log.info({ applied }, 'the queued logouts of the provider have been applied');
  }

  /** One attempt for each that is queued, as long as any attempt succeeds. Never rejects. */
  async function applyQueued(): Promise<number> {
    let applied = 0;
    const waiting = [...queue.values()];
    for (let start = 0; start < waiting.length; start += batchSize) {
      const batch = waiting.slice(start, start + batchSize);
      const outcomes = await Promise.allSettled(batch.map(applyLate));
      const successes = outcomes.filter(({ status }) => status === 'fulfilled').length;
      applied += successes;
      if (successes === 0) break;
    }
    return applied;
  }

  async function applyLate(logout: ProviderLogout): Promise<void> {
    if (queue.get(logout.id) !== logout) return; // the provider has repeated it meanwhile
    const isPointless = now() > logout.receivedAt + absoluteSeconds * 1000; // no session is that old
    // Behind the others, in case it fails: it may not be the store that is the reason.
    queue.delete(logout.id);
    queue.set(logout.id, logout);
    if (!isPointless && (await logouts.progressOf(logout.id)) === undefined) {
      await apply(logout, true);
      await logouts.remember(logout, 'deferred');
    }
    queue.delete(logout.id);
  }

  return {
    receive({ id, sid, sub, validUntil }) {
      const pending = inProgress.get(id);
      if (pending) return pending;
      const of = sid === undefined ? { sub: sub ?? '' } : { sid };
      const started = applyOnce({ id, of, sub, validUntil, receivedAt: now() }).finally(() =>
        inProgress.delete(id),
      );
      inProgress.set(id, started);
      return started;
    },

    async drain() {
      await Promise.allSettled(inProgress.values());
      for (let attempts = 0; attempts < maxDrainAttempts && queue.size > 0; attempts += 1)
        await applyQueued();
      if (queue.size > 0)
        log.error({ lost: queue.size }, 'queued logouts of the provider are lost: their sessions continue');
      queue.clear();
    },
  };
}
