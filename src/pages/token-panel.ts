import type { Config } from '../config/load.ts';
import { listUserScopes } from '../login/login-parameters.ts';
import { paths } from '../paths.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

/** The content of the token panel. Instants are epoch milliseconds. */
export interface TokenPanel {
  readonly tokenType: string;
  /** Granted and missing scopes. A missing one can be requested at `grantUrl`; `wasRequested`: a login has done so already. */
  readonly scopes: readonly {
    readonly name: string;
    readonly grantUrl?: string;
    readonly wasRequested?: boolean;
  }[];
  readonly issuedAt: number;
  /** True when the access token was issued by a refresh, false when by the login. */
  readonly isRefreshed: boolean;
  /** Absent when the provider did not say how long the access token is valid. */
  readonly lifetime?: { readonly totalMs: number; readonly leftMs: number; readonly endsAt: number };
}

/** Never shown as missing: many providers grant these without listing them. */
const protocolScopes = new Set(['openid', 'offline_access']);

/**
 * The token panel of a login, with every scope that was granted, that Latchkey requests or that a route requires.
 * @param returnPath the page to which the browser returns after a scope was requested
 */
export function describeTokens(
  { tokens, requested, signedInAt }: TokenRecord,
  { provider, routes, basePath }: Pick<Config, 'provider' | 'routes' | 'basePath'>,
  now: number,
  returnPath: string = paths.profile,
): TokenPanel {
  const { scope, tokenType, issuedAt, expiresAt } = tokens;
  const requestedScopes = new Set([...provider.scopes, ...(requested?.scope ?? [])]);
  const relevantScopes = [...requestedScopes, ...routes.flatMap(listUserScopes)];
  const missing = new Set(
    relevantScopes.filter((each) => !scope.includes(each) && !protocolScopes.has(each)),
  );
  return {
    tokenType,
    scopes: [
      ...scope.map((name) => ({ name })),
      ...[...missing].map((name) => ({
        name,
        grantUrl: createGrantUrl(name, basePath, returnPath),
        wasRequested: requestedScopes.has(name),
      })),
    ],
    issuedAt,
    isRefreshed: issuedAt > signedInAt,
    ...(expiresAt !== undefined && {
      lifetime: {
        totalMs: Math.max(1, expiresAt - issuedAt),
        leftMs: Math.max(0, expiresAt - now),
        endsAt: expiresAt,
      },
    }),
  };
}

function createGrantUrl(scope: string, basePath: string, returnPath: string): string {
  return `${basePath}${paths.login}?${new URLSearchParams({ scope, return_to: basePath + returnPath })}`;
}
