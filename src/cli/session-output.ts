import { describeDevice } from '../pages/device-name.ts';
import type { UserSessionEntry } from '../tokens/session-list.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import { toPrintable } from './printable.ts';

/**
 * What `list` prints of a session. Never its id or a token: with the id and SESSION_SECRET, anyone could use the
 * session.
 */
export interface SessionSummary {
  readonly session: string;
  readonly subject: string | null;
  readonly signed_in_at: string;
  readonly last_used_at: string;
  readonly browser: string | null;
  readonly os: string | null;
  readonly device: string | null;
}

/** What `show` prints of a session. */
export interface SessionDetails extends SessionSummary {
  readonly name: string | null;
  readonly email: string | null;
  readonly scope: readonly string[];
  readonly user_agent: string | null;
  readonly access_token_expires_at: string | null;
  readonly has_refresh_token: boolean;
  readonly session_expires_at: string | null;
}

export function summarize(tag: string, entry: UserSessionEntry): SessionSummary {
  const { browser = null, os = null, kind = null } = describeDevice(entry.userAgent);
  return {
    session: tag,
    subject: entry.sub ?? null,
    signed_in_at: new Date(entry.signedInAt).toISOString(),
    last_used_at: new Date(entry.lastUsedAt).toISOString(),
    browser,
    os,
    device: kind,
  };
}

export function describe(
  summary: SessionSummary,
  { user, tokens, userAgent }: TokenRecord,
  endsAt: number | undefined,
): SessionDetails {
  return {
    ...summary,
    name: user.name ?? null,
    email: user.email ?? null,
    scope: tokens.scope,
    user_agent: userAgent ?? null,
    access_token_expires_at: toInstant(tokens.expiresAt),
    has_refresh_token: tokens.refreshToken !== undefined,
    session_expires_at: toInstant(endsAt),
  };
}

export const listHeading = `${'SESSION'.padEnd(16)}  ${'SIGNED IN'.padEnd(20)}  ${'LAST USED'.padEnd(20)}  ${'BROWSER'.padEnd(28)}  SUBJECT\n`;

/** One line for a session. The subject is last, because its length varies. */
export function toLine({
  session,
  signed_in_at,
  last_used_at,
  browser,
  os,
  subject,
}: SessionSummary): string {
  const device = [browser ?? 'unknown', ...(os === null ? [] : ['on', os])].join(' ').padEnd(28);
  const times = [signed_in_at, last_used_at].map((each) => each.replace(/\.\d+Z$/, 'Z')).join('  ');
  return `${session}  ${times}  ${device}  ${subject === null ? '-' : toPrintable(subject)}\n`;
}

/** One line for each member, followed by an empty line. */
export function toBlock(details: SessionDetails): string {
  const lines = Object.entries(details).map(([name, value]) => {
    const text = Array.isArray(value) ? value.join(' ') : String(value ?? '-');
    return `${`${name.replaceAll('_', ' ')}:`.padEnd(26)}${toPrintable(text)}\n`;
  });
  return `${lines.join('')}\n`;
}

function toInstant(epochMs: number | undefined): string | null {
  return epochMs === undefined ? null : new Date(epochMs).toISOString();
}
