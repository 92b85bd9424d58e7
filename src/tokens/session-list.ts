import { type SessionIndex, type SessionSelector, selectorsOf } from './indexed-sessions.ts';
import type { SessionEnding } from './session-ending.ts';
import { type EndedBy, type TokenRecord, type TokenStore, UnreadableRecordError } from './token-store.ts';

/** A session that is signed in. */
export interface SessionEntry {
  /** Never leaves the process. */
  readonly id: string;
  /** Epoch milliseconds. */
  readonly signedInAt: number;
  /** Epoch milliseconds, precise to five minutes. */
  readonly lastUsedAt: number;
  /** As the browser sent it at the login, shortened. */
  readonly userAgent?: string;
}

/** A session with its user, for operators. */
export interface UserSessionEntry extends SessionEntry {
  /** Absent if the provider has none (plain OAuth 2.0). */
  readonly sub?: string;
  /** The provider's session. */
  readonly sid?: string;
}

/** The part of the token manager that finds sessions, and ends several at once. */
export interface SessionList {
  /**
   * The sessions of a user that are signed in, last used first; at most `max` (100), among the thousand that were used
   * last. Infinity means all.
   * @param onUnreadable is called for each session whose record cannot be read; it is left out of the list
   * @throws AppError `temporarily_unavailable`
   */
  sessionsOf(
    sub: string,
    max?: number,
    onUnreadable?: (error: unknown) => void,
  ): Promise<readonly UserSessionEntry[]>;
  /**
   * Every session that is signed in, in no order; one may appear twice.
   * @param onUnreadable is called for each session whose record cannot be read, such as one sealed with another secret;
   * without it, the first of them ends the list
   */
  allSessions(onUnreadable?: (error: unknown) => void): AsyncIterable<UserSessionEntry>;
  /**
   * Ends every session of the user, or of the provider's session, as `endBy` does, except `exceptId`; also sessions that
   * are being refreshed, replaced or established.
   * @returns how many were signed in
   * @throws AppError `temporarily_unavailable`: some may not have ended
   */
  endAllOf(selector: SessionSelector, by: EndedBy, exceptId?: string): Promise<number>;
  /**
   * Ends the least recently used sessions of the user that began before session `id`, if there are more than allowed.
   * @returns false when session `id` itself has ended, such as by the limit, in a login at the same moment
   */
  enforceLimit(id: string): Promise<boolean>;
}

interface SessionListParts {
  readonly store: Pick<TokenStore, 'get'>;
  readonly index: SessionIndex;
  readonly ending: Pick<SessionEnding, 'takeBy' | 'processOutbox'>;
  readonly isSignedIn: (record: TokenRecord) => boolean;
  /** Sessions of one user at a time; 0 means no limit. */
  readonly maxPerUser: number;
}

const defaultMax = 100;
/** How many entries are read at once, of which a list that is limited shows some; and how many records at a time. */
const pageSize = 1_000;
const batchSize = 50;
/** One user has fewer sessions than this many pages, unless logins arrive faster than sessions are ended. */
const maxPages = 1_000;
/** Every session of a user. */
const maxEntries = pageSize * maxPages;
/** A login ends this many sessions at most, when the limit has just been introduced; the next login ends more. */
const maxEndedPerLogin = 100;

export function createSessionList(parts: SessionListParts): SessionList {
  const { store, index, ending, isSignedIn, maxPerUser } = parts;

  /** The entries among `found` that are signed in, in the same order. */
  async function* withRecords(
    found: readonly { readonly id: string; readonly lastUsedAt: number }[],
    onUnreadable?: (error: unknown) => void,
  ): AsyncGenerator<UserSessionEntry> {
    const read = (id: string) =>
      store.get(id).catch((error: unknown) => {
        if (!onUnreadable) throw error;
        onUnreadable(error);
        return undefined;
      });
    for (let start = 0; start < found.length; start += batchSize) {
      const batch = found.slice(start, start + batchSize);
      const records = await Promise.all(batch.map(({ id }) => read(id)));
      for (const [position, record] of records.entries())
        if (record && isSignedIn(record)) yield toEntry(batch[position]!, record);
    }
  }

  async function sessionsOf(
    sub: string,
    max = defaultMax,
    onUnreadable: (error: unknown) => void = () => undefined,
  ): Promise<readonly UserSessionEntry[]> {
    const entries: UserSessionEntry[] = [];
    const skipUnreadable = (error: unknown) => {
      if (!isUnreadable(error)) throw error;
      onUnreadable(error);
    };
    // Sessions that are no longer signed in take places too. A user who has made many of them must not make each request
    // read all.
    const found = await index.find({ sub }, max === Number.POSITIVE_INFINITY ? maxEntries : pageSize);
    for await (const each of withRecords(found, skipUnreadable)) {
      entries.push(each);
      if (entries.length >= max) return entries;
    }
    return entries;
  }

  async function isAboutToReplace(id: string, oldId: string): Promise<boolean> {
    const record = await store.get(id).catch(() => undefined); // if it can be ended, it ends
    return record?.replacedId === oldId;
  }

  async function endAllOf(selector: SessionSelector, by: EndedBy, exceptId?: string): Promise<number> {
    let count = 0;
    const failures: unknown[] = [];
    const seen = new Set<string>(exceptId === undefined ? [] : [exceptId]);
    const endOne = async (id: string) => {
      if (exceptId !== undefined && (await isAboutToReplace(id, exceptId))) return; // it is in the same browser
      if (await ending.takeBy(id, by, exceptId)) count += 1;
      await index.forget(id, selector); // also when there was no record: nothing can be stored under this id any more
    };
    // Until a look finds nothing new: a login that began before the last look has its entry by then.
    for (let page = 0; page < maxPages; page += 1) {
      const found = await index.find(selector, pageSize + seen.size);
      const ids = found.map(({ id }) => id).filter((id) => !seen.has(id));
      if (ids.length === 0) break;
      for (let start = 0; start < ids.length; start += batchSize) {
        const batch = ids.slice(start, start + batchSize);
        for (const id of batch) seen.add(id);
        const outcomes = await Promise.allSettled(batch.map(endOne));
        for (const each of outcomes) if (each.status === 'rejected') failures.push(each.reason);
      }
    }
    if (count > 0) await ending.processOutbox(by);
    if (failures.length > 0) throw failures[0]; // after the others have ended
    return count;
  }

  return {
    sessionsOf,
    endAllOf,

    async *allSessions(onUnreadable) {
      let batch: { readonly id: string; readonly lastUsedAt: number }[] = [];
      for await (const each of index.all()) {
        batch.push(each);
        if (batch.length < batchSize) continue;
        yield* withRecords(batch, onUnreadable);
        batch = [];
      }
      yield* withRecords(batch, onUnreadable);
    },

    async enforceLimit(id) {
      if (maxPerUser === 0) return true;
      const record = await store.get(id);
      const sub = record && selectorsOf(record).find((each) => 'sub' in each)?.sub;
      if (!record || sub === undefined) return record !== undefined;
      const all = await sessionsOf(sub, Number.POSITIVE_INFINITY);
      // Only older ones, so that of two logins at the same moment one stays.
      const isOlder = (each: UserSessionEntry) =>
        each.signedInAt < record.signedInAt || (each.signedInAt === record.signedInAt && each.id < id);
      const older = all.filter((each) => each.id !== id && isOlder(each));
      const excess = Math.min(all.length - maxPerUser, maxEndedPerLogin);
      if (excess > 0)
        await Promise.all(older.slice(-excess).map((each) => ending.takeBy(each.id, 'limit', id)));
      return true;
    },
  };
}

function isUnreadable(error: unknown): boolean {
  return error instanceof Error && error.cause instanceof UnreadableRecordError;
}

function toEntry(
  { id, lastUsedAt }: { readonly id: string; readonly lastUsedAt: number },
  record: TokenRecord,
): UserSessionEntry {
  const { signedInAt, userAgent, user, identity } = record;
  const sub = user.sub ?? identity?.subject;
  return {
    id,
    signedInAt,
    lastUsedAt: Math.max(signedInAt, lastUsedAt),
    ...(userAgent !== undefined && { userAgent }),
    ...(sub !== undefined && { sub }),
    ...(identity?.sid !== undefined && { sid: identity.sid }),
  };
}
