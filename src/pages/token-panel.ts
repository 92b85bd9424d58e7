import type { Config } from '../config/load.ts';
import type { ResourceServer } from '../config/route-table.ts';
import { paths } from '../paths.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

/** What the token panel shows of a login. Instants are epoch milliseconds. */
export interface TokenPanel {
  readonly tokenType: string;
  /** Granted or not; what is not can be asked for at `grantUrl`. */
  readonly scopes: readonly { readonly name: string; readonly grantUrl?: string }[];
  /** When the access token was issued, by the login or by the last refresh. */
  readonly issuedAt: number;
  readonly isRenewed: boolean;
  /** Absent when the provider did not say how long the access token lives. */
  readonly lifetime?: { readonly totalMs: number; readonly leftMs: number; readonly endsAt: number };
}

/** Many providers do not list these among what they granted, though they did. */
const protocolScopes = new Set(['openid', 'offline_access']);

/** A login as the token panel shows it, with every scope that this app asks for or that a route needs. */
export function describeTokens(
  { tokens, requested, signedInAt }: TokenRecord,
  { provider, routes }: Pick<Config, 'provider' | 'routes'>,
  now: number,
): TokenPanel {
  const { scope, tokenType, issuedAt, expiresAt } = tokens;
  const relevantScopes = [...provider.scopes, ...(requested?.scope ?? []), ...routes.flatMap(scopesOf)];
  const missing = new Set(
    relevantScopes.filter((each) => !scope.includes(each) && !protocolScopes.has(each)),
  );
  return {
    tokenType,
    scopes: [
      ...scope.map((name) => ({ name })),
      ...[...missing].map((name) => ({ name, grantUrl: grantUrlOf(name) })),
    ],
    issuedAt,
    isRenewed: issuedAt > signedInAt,
    ...(expiresAt !== undefined && {
      lifetime: {
        totalMs: Math.max(1, expiresAt - issuedAt),
        leftMs: Math.max(0, expiresAt - now),
        endsAt: expiresAt,
      },
    }),
  };
}

/** What persons must have granted for a route; the scopes of the application's own token are not theirs to give. */
function scopesOf({ token, methods }: ResourceServer): readonly string[] {
  if (token === 'app' || token === 'none') return [];
  return Object.values(methods).flatMap(({ allOf, anyOf }) => [...allOf, ...anyOf]);
}

function grantUrlOf(scope: string): string {
  return `${paths.login}?${new URLSearchParams({ scope, return_to: paths.profile })}`;
}
