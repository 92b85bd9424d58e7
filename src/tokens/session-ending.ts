import { setTimeout as delay } from 'node:timers/promises';
import type { AuditReason } from '../audit/audit-events.ts';
import type { Audit } from '../audit/audit-log.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { TokenSet } from '../oauth/token-set.ts';
import type { User } from '../oauth/userinfo.ts';
import { type RevocationOutbox, retryDelayMs } from './revocation-outbox.ts';
import {
  type EndedBy,
  endedByOf,
  type SessionEndReason,
  type TokenRecord,
  type TokenStore,
} from './token-store.ts';

interface SessionEndingParts {
  readonly store: TokenStore;
  readonly outbox: RevocationOutbox;
  readonly now: () => number;
  readonly log: Logger;
  readonly audit: Audit;
  readonly runInBackground: (work: Promise<unknown>) => void;
}

/** The part of the token manager that ends sessions. */
export interface SessionEnding {
  /**
   * Ends the session `id` for good, and the session of the same user that has replaced it in the last minutes, and revokes their tokens,
   * including those of a refresh in progress, at the provider: now if possible, otherwise as soon as the provider can.
   * @returns the last record; `undefined` when no user was signed in
   * @throws AppError `session_changed`: a login of another user has replaced the session in the last minutes
   */
  end(id: string): Promise<TokenRecord | undefined>;
  /**
   * Ends the session `id` from elsewhere, and the session of the same user that has replaced it in the last minutes, as
   * `end` does; their tabs can learn by whom. Tokens that may share the grant of the session `keptId`, which the user
   * keeps, are not revoked (decision 20).
   * For the limit, the session that has replaced it stays: it is the one that was used last.
   * @returns the last record; `undefined` when no user was signed in
   */
  endBy(id: string, by: EndedBy, keptId?: string): Promise<TokenRecord | undefined>;
  /** As `endBy`, but leaves the revocation to `processOutbox`, so that ending many sessions does not wait for the provider. */
  takeBy(id: string, by: EndedBy, keptId?: string): Promise<TokenRecord | undefined>;
  /**
   * Sends what is queued for revocation; settles after two seconds at most, and at once if the provider has ended the
   * session `by` a logout. The outbox continues.
   */
  processOutbox(by?: EndedBy): Promise<void>;
  /** Who ended the session `id` from elsewhere, if it ended in this way; `undefined` while it is signed in. */
  endedBy(id: string): Promise<EndedBy | undefined>;
  /**
   * Ends the session `id`, which a login in the same browser replaced by the session `successorId` of `successor`; revokes
   * only another user's tokens.
   * @returns who has ended the session `id` from elsewhere before, if somebody has
   */
  endReplaced(id: string, successorId: string, successor: User): Promise<EndedBy | undefined>;
  /**
   * Rolls back an incomplete login: ends the session `id`. Its tokens are dropped without being revoked: the user will
   * sign in again, and a revocation could end the tokens of that login too (decision 3).
   */
  discard(id: string): Promise<void>;
  /** Revokes tokens that no caller waits for, and that are stored nowhere. */
  revoke(tokens: TokenSet): Promise<void>;
}

/** For about an hour, tokens that have to be revoked are offered to an outbox that is unavailable. */
const maxQueueAttempts = 65;
/** A sign-out waits no longer than this for the provider; the revocation itself continues. */
const maxRevocationWaitMs = 2_000;
/** How long a request with the id of a replaced session may still sign its successor out. */
const successorMs = 600_000;
/** How many logins in one browser may follow one another while a request is in flight. */
const maxSuccessors = 10;

export function createSessionEnding(parts: SessionEndingParts): SessionEnding {
  const { store, outbox, now, log, audit, runInBackground } = parts;
  const takes = new Map<string, Promise<TokenRecord | undefined>>();

  async function revoke(tokens: TokenSet): Promise<void> {
    for (let attempts = 1; ; attempts += 1) {
      try {
        await outbox.add(tokens);
        break;
      } catch (error) {
        if (attempts === 1) log.warn({ err: error }, 'failed to queue tokens for revocation; will retry');
        if (attempts === maxQueueAttempts) {
          log.error(
            { err: error },
            'failed to queue tokens for revocation; they stay valid until they expire',
          );
          audit.record('revocation_abandoned', { reason: 'queue_unavailable' });
          return;
        }
        await delay(retryDelayMs(attempts), undefined, { ref: false });
      }
    }
    await processOutbox();
  }

  /**
   * Ends a session. Its tokens are queued before the record is removed, so that no failure in between forgets them, and
   * queued once when two requests end it for the same reason (a double click).
   */
  function takeAndQueue(id: string, reason: SessionEndReason): Promise<TokenRecord | undefined> {
    const key = JSON.stringify([id, reason]);
    const pending = takes.get(key);
    if (pending) return pending;
    const queue = async (record: TokenRecord) => {
      if (isToBeRevoked(record, reason)) await outbox.add(record.tokens);
    };
    const started = takeAndRecord(id, reason, queue).finally(() => takes.delete(key));
    takes.set(key, started);
    return started;
  }

  async function takeAndRecord(
    id: string,
    reason: SessionEndReason,
    queue: (record: TokenRecord) => Promise<void>,
  ): Promise<TokenRecord | undefined> {
    const record = await store.take(id, reason, queue);
    if (record)
      audit.record('session_ended', { reason: auditReasonOf(reason), sessionId: id, sub: record.user.sub });
    return record;
  }

  /** Sends the revocations at once, which a sign-out waits for briefly; the outbox retries those that fail. */
  async function processOutbox(by?: EndedBy): Promise<void> {
    const work = outbox.processNew().catch((error: unknown) => {
      log.warn({ err: error }, 'processing the revocation outbox failed; entries remain queued');
    });
    runInBackground(work);
    if (by === 'provider') return; // it waits for our response, and may respond to nothing else meanwhile
    await Promise.race([work, delay(maxRevocationWaitMs, undefined, { ref: false })]);
  }

  /**
   * The session that replaced this one lately, in a login of the same user.
   * @throws AppError `session_changed`: another user's session did, which the user of this one must not end
   */
  async function successorOf(id: string): Promise<string | undefined> {
    const reason = await store.endReason(id);
    if (reason?.kind !== 'replaced' || now() >= (reason.at ?? 0) + successorMs) return undefined;
    if (reason.successorId === undefined) throw new AppError('session_changed');
    return reason.successorId;
  }

  async function end(
    id: string,
    reason: SessionEndReason,
    findNext: (id: string) => Promise<string | undefined>,
  ): Promise<TokenRecord | undefined> {
    let ended: TokenRecord | undefined;
    let next: string | undefined = id;
    for (let count = 0; next !== undefined && count < maxSuccessors; count += 1) {
      ended = (await takeAndQueue(next, reason)) ?? ended;
      next = await findNext(next);
    }
    return ended;
  }

  async function revokeNow(ended: TokenRecord | undefined, by?: EndedBy): Promise<TokenRecord | undefined> {
    if (ended) await processOutbox(by);
    return ended;
  }

  async function endedBy(id: string): Promise<EndedBy | undefined> {
    return endedByOf(await store.endReason(id));
  }

  async function takeBy(id: string, by: EndedBy, keptId?: string): Promise<TokenRecord | undefined> {
    const keptSid = keptId === undefined ? undefined : (await store.get(keptId))?.identity?.sid;
    const findNext = async (each: string) => {
      if (by === 'limit') return undefined; // a login that has replaced the session enforces the limit itself
      const reason = await store.endReason(each);
      const next = reason?.kind === 'replaced' ? reason.successorId : undefined; // another user's session stays
      return next === keptId ? undefined : next;
    };
    return end(id, { kind: 'ended', by, ...(keptSid !== undefined && { keptSid }) }, findNext);
  }

  return {
    revoke,
    end: async (id) => revokeNow(await end(id, { kind: 'signed_out' }, successorOf)),
    endBy: async (id, by, keptId) => revokeNow(await takeBy(id, by, keptId), by),
    takeBy,
    processOutbox,
    endedBy,

    async endReplaced(id, successorId, { sub }) {
      const old = await store.get(id);
      // Another user's sign-out must not end the new session.
      const isSameUser = sub !== undefined && sub === old?.user.sub;
      const successor = { successor: sub, at: now(), ...(isSameUser && { successorId }) };
      const record = await takeAndQueue(id, { kind: 'replaced', ...successor });
      if (!record) return endedBy(id);
      runInBackground(processOutbox());
      return undefined;
    },

    async discard(id) {
      try {
        const record = await store.take(id, { kind: 'signed_out' });
        if (record)
          audit.record('session_ended', { reason: 'login_incomplete', sessionId: id, sub: record.user.sub });
      } catch (error) {
        log.warn({ err: error }, 'failed to clean up after an incomplete login');
      }
    },
  };
}

function auditReasonOf(reason: SessionEndReason): AuditReason<'session_ended'> {
  return reason.kind === 'ended' ? `ended_by_${reason.by}` : reason.kind;
}

/**
 * Whether the tokens of a session that ended must not outlive it. Providers revoke by grant, and a new login of the
 * same user often shares the grant of the old one (decision 3). Those of an expired session expire on their own.
 */
export function isToBeRevoked(
  { user, identity }: TokenRecord,
  reason: SessionEndReason | undefined,
): boolean {
  if (reason?.kind === 'ended') {
    const { by, keptSid } = reason;
    // The newest session must survive the limit, so that it needs certainty.
    if (keptSid === undefined || identity?.sid === undefined) return by !== 'limit';
    return identity.sid !== keptSid;
  }
  if (reason?.kind !== 'replaced') return reason !== undefined;
  return user.sub !== undefined && reason.successor !== undefined && user.sub !== reason.successor;
}
