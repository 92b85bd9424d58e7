import { AppError } from '../errors.ts';
import type { User } from '../oauth/client.ts';
import type { LoginRequirements } from '../oauth/login-requirements.ts';
import type { TokenSet } from '../oauth/token-set.ts';
import type { SessionEnds } from './session-ends.ts';
import { createTurns, untilQuiet } from './turns.ts';

/** What a session that is logged in is logged in with. */
export interface TokenRecord {
  readonly tokens: TokenSet;
  readonly user: User;
  /** Epoch milliseconds of the login; the session's absolute limit counts from here. */
  readonly signedInAt: number;
  /** What the login asked for, beside what `tokens` were granted; absent in records of older versions. */
  readonly requested?: LoginRequirements;
  /** Epoch milliseconds at which the access token was last renewed because an API had refused it. */
  readonly replacedAt?: number;
}

/** How long a session lives: `idleSeconds` after its last use, `absoluteSeconds` after its login. */
export interface Lifetime {
  readonly idleSeconds: number;
  readonly absoluteSeconds: number;
}

/**
 * Keeps the record of each session; a session is logged in exactly while there is one under its id.
 * For one id `put`, `update` and `take` happen one after another, across instances too.
 * Every verb rejects with `temporarily_unavailable` when the store cannot tell, and never means "absent" by it.
 */
export interface TokenStore {
  /**
   * The newest record. With `slide` this counts as use of the session: its idle time starts anew, at most once a
   * minute and for the session's other data as well.
   */
  get(id: string, options?: { readonly slide?: boolean }): Promise<TokenRecord | undefined>;
  /** @throws AppError `login_required`: the session has been ended, and nothing brings it back */
  put(id: string, record: TokenRecord): Promise<void>;
  /**
   * Calls `change` with the newest record and keeps what it returns; `undefined` removes the record, and when
   * `change` rejects nothing changes. Without a record it does nothing, so nothing is ever brought back.
   * An AppError with `retryAfterSeconds` is everyone's answer for that long, and `change` is not called meanwhile.
   * When the store goes away after `change`, this rejects, and what `change` returned is written as soon as the store is
   * back: it may hold the only refresh token there is.
   * @param refused is called with what `change` returned when the session was ended meanwhile
   * @returns what is kept afterwards: not what `change` returned, when the session ended or moved on meanwhile
   */
  update(
    id: string,
    change: Change,
    refused?: (changed: TokenRecord) => void,
  ): Promise<TokenRecord | undefined>;
  /**
   * Ends the session: removes and returns the record; when an update is under way, what that update leaves. An update
   * that takes longer than two seconds is not waited for, and what it brings is refused.
   */
  take(id: string): Promise<TokenRecord | undefined>;
  /** When the session ends unless it is used (epoch milliseconds); `undefined` without a record. */
  endsAt(id: string): Promise<number | undefined>;
}

/** @param holdOn settles when nobody else can be at the same session for the next seconds; see `Lease` */
export type Change = (newest: TokenRecord, holdOn: () => Promise<void>) => Promise<TokenRecord | undefined>;

/** A session slides no more often than this: once a minute, or four times in its idle time when that is short. */
export function slideEveryMs({ idleSeconds }: Lifetime): number {
  return Math.min(60_000, (idleSeconds * 1000) / 4);
}

/** `take` waits no longer than this for an update under way. */
export const longestTakeWaitMs = 2_000;

/** True once the session's absolute limit is reached, whatever the store still holds. */
export function isOver(record: TokenRecord, lifetime: Lifetime, now: number): boolean {
  return now >= record.signedInAt + lifetime.absoluteSeconds * 1000;
}

interface Entry {
  record: TokenRecord;
  usedAt: number;
  failure?: { readonly error: AppError; readonly until: number };
}

/** A store that lives and ends with this process; `ends` is told of each session it ends before its time. */
export function createMemoryTokenStore(
  lifetime: Lifetime,
  now: () => number,
  ends: Pick<SessionEnds, 'tell'>,
): TokenStore {
  const entries = new Map<string, Entry>();
  const ended = new Map<string, number>(); // the ends of sessions, oldest first, until nothing of them can come back
  const inTurn = createTurns();

  function endOf({ record, usedAt }: Entry): number {
    return Math.min(
      usedAt + lifetime.idleSeconds * 1000,
      record.signedInAt + lifetime.absoluteSeconds * 1000,
    );
  }

  function live(id: string): Entry | undefined {
    const entry = entries.get(id);
    if (entry && now() >= endOf(entry)) {
      entries.delete(id);
      return undefined;
    }
    return entry;
  }

  function forgetThePast(): void {
    for (const id of entries.keys()) live(id); // nobody else asks after sessions that were left
    for (const [id, at] of ended) {
      if (now() < at + lifetime.absoluteSeconds * 1000) break;
      ended.delete(id);
    }
  }

  return {
    async get(id, { slide = false } = {}) {
      const entry = live(id);
      if (slide && entry && now() - entry.usedAt >= slideEveryMs(lifetime)) entry.usedAt = now();
      return entry?.record;
    },

    put: (id, record) =>
      inTurn(id, async () => {
        forgetThePast();
        if (ended.has(id)) throw new AppError('login_required');
        entries.set(id, { record, usedAt: now() });
      }),

    update: (id, change, refused = () => {}) =>
      inTurn(id, async () => {
        const entry = live(id);
        if (!entry) return undefined;
        if (entry.failure && now() < entry.failure.until) throw entry.failure.error;
        const changed = await change(entry.record, async () => {}).catch((error: unknown) => {
          if (error instanceof AppError && error.retryAfterSeconds !== undefined)
            entry.failure = { error, until: now() + error.retryAfterSeconds * 1000 };
          throw error;
        });
        if (entries.get(id) !== entry) {
          if (changed) refused(changed);
          return undefined; // ended meanwhile
        }
        if (changed) entry.record = changed;
        else {
          entries.delete(id);
          ends.tell(id);
        }
        return changed;
      }),

    async take(id) {
      await untilQuiet(inTurn, id, longestTakeWaitMs);
      const entry = live(id);
      entries.delete(id);
      ended.set(id, now());
      ends.tell(id);
      return entry?.record;
    },

    async endsAt(id) {
      const entry = live(id);
      return entry && endOf(entry);
    },
  };
}
