import type { SessionTags } from '../crypto/session-tag.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import { type Device, describeDevice } from './device-name.ts';

/** A session as its user sees it. Instants are epoch milliseconds. */
export interface SessionRow {
  readonly tag: string;
  /** True for the session of the request. */
  readonly isCurrent: boolean;
  readonly device: Device;
  readonly signedInAt: number;
  /** Precise to five minutes. */
  readonly lastUsedAt: number;
}

export interface SessionRows {
  /** This session first, then the others, last used first. */
  readonly rows: readonly SessionRow[];
  /** True when there are further sessions. */
  readonly hasMore: boolean;
  /** False when the other sessions of this user cannot be found, because the provider does not say who the user is. */
  readonly canFindOthers: boolean;
}

interface SessionRowParts {
  readonly tokens: Pick<TokenManager, 'sessionsOf'>;
  readonly sessionTags: SessionTags;
  readonly now: () => number;
}

/** As many as a page can show; a user with more can still sign out all others. */
const maxRows = 50;

/** The sessions of the user of session `id`. Without a subject, nothing says which other sessions are theirs. */
export async function listSessionRows(
  { tokens, sessionTags, now }: SessionRowParts,
  id: string,
  login: TokenRecord,
): Promise<SessionRows> {
  const sub = subjectOf(login);
  const found = sub === undefined ? [] : await tokens.sessionsOf(sub, maxRows + 1);
  const others = found.filter((each) => each.id !== id);
  // Not from the list, which lacks this session if its entry has been lost or it is too long.
  const { signedInAt, userAgent } = login;
  const entries = [{ id, signedInAt, lastUsedAt: now(), userAgent }, ...others.slice(0, maxRows - 1)];
  return {
    rows: entries.map((each) => ({
      tag: sessionTags.tagFor(each.id),
      isCurrent: each.id === id,
      device: describeDevice(each.userAgent),
      signedInAt: each.signedInAt,
      lastUsedAt: each.lastUsedAt,
    })),
    hasMore: others.length > maxRows - 1,
    canFindOthers: sub !== undefined,
  };
}

/** By what the sessions of a user are found. */
export function subjectOf({ user, identity }: TokenRecord): string | undefined {
  return user.sub ?? identity?.subject;
}
