import { selectClaims } from '../claims/read-claim.ts';
import type { Config } from '../config/load.ts';
import { isExpired } from '../oauth/token-set.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import { claimsOf } from '../tokens/token-store.ts';
import type { PageUserTags } from './page-user-tag.ts';
import { toReasonCode } from './visitor-of-error.ts';

interface SessionInfoParts {
  readonly tokens: Pick<TokenManager, 'peek' | 'endsAt' | 'endedBy'>;
  readonly pageUserTags: Pick<PageUserTags, 'tagFor'>;
  readonly now: () => number;
  readonly config: Pick<Config, 'access'>;
}

/**
 * The JSON of `/auth/session`: user, scopes and expiry, never a token. The clock of the browser may be wrong, so
 * countdowns use differences to `server_time`.
 */
export async function describeSession({ tokens, pageUserTags, now, config }: SessionInfoParts, id: string) {
  const { sessionClaims } = config.access;
  const [record, endsAt] = await Promise.all([tokens.peek(id), tokens.endsAt(id)]);
  if (!record || endsAt === undefined) {
    const endedBy = await tokens.endedBy(id);
    return { authenticated: false, ...(endedBy && { reason: toReasonCode(endedBy) }) } as const;
  }
  const { scope, tokenType, issuedAt, expiresAt } = record.tokens;
  return {
    authenticated: true,
    user: selectClaims(claimsOf(record), sessionClaims),
    session_mark: pageUserTags.tagFor(id, record),
    scope,
    requested_scope: record.requested?.scope,
    token_type: tokenType,
    access_token_issued_at: new Date(issuedAt).toISOString(),
    access_token_expires_at: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
    /** Seconds; `null` without a stated lifetime. */
    expires_in: expiresAt === undefined ? null : Math.max(0, Math.floor((expiresAt - now()) / 1000)),
    is_expired: isExpired(record.tokens, now()),
    session_expires_at: new Date(endsAt).toISOString(),
    server_time: new Date(now()).toISOString(),
  } as const;
}
