import type { TokenManager } from '../tokens/token-manager.ts';
import type { SessionMarks } from '../web/session-mark.ts';

/** What `/auth/session` tells of a session: who, what and until when, never a token. */
export async function describeSession(
  tokens: Pick<TokenManager, 'peek' | 'endsAt'>,
  marks: SessionMarks,
  id: string,
) {
  const [record, endsAt] = await Promise.all([tokens.peek(id), tokens.endsAt(id)]);
  if (!record || endsAt === undefined) return { authenticated: false } as const;
  const { scope, tokenType, expiresAt } = record.tokens;
  return {
    authenticated: true,
    user: record.user,
    session_mark: marks.of(id, record),
    scope,
    requested_scope: record.requested?.scope,
    token_type: tokenType,
    access_token_expires_at: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
    session_expires_at: new Date(endsAt).toISOString(),
  } as const;
}
