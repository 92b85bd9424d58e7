import { createHash, randomBytes } from 'node:crypto';
import type { TestUser } from './api.ts';

interface User {
  readonly sub: string;
  readonly scope: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

interface IssuedToken {
  readonly user: User;
  readonly expiresAt: number;
}

export type Grants = ReturnType<typeof createGrants>;

const createValue = () => randomBytes(24).toString('base64url');

/** The codes and tokens of the provider for tests. */
export function createGrants(accessTokenMs: number) {
  const codes = new Map<string, { readonly params: URLSearchParams; readonly user: User }>();
  const accessTokens = new Map<string, IssuedToken>();
  const refreshTokens = new Map<string, User>();
  const counts = { logins: 0, refreshes: 0, revocations: 0 };
  let nextUser: TestUser = {};

  function issue(user: User, nonce?: string | null) {
    const [access_token, refresh_token] = [createValue(), createValue()];
    accessTokens.set(access_token, { user, expiresAt: Date.now() + accessTokenMs });
    refreshTokens.set(refresh_token, user);
    const { scope } = user;
    const expires_in = Math.ceil(accessTokenMs / 1000);
    return {
      access_token,
      refresh_token,
      token_type: 'Bearer',
      expires_in,
      scope,
      user,
      nonce: nonce ?? undefined,
    };
  }

  function redeemCode(params: URLSearchParams) {
    const code = params.get('code') ?? '';
    const found = codes.get(code);
    codes.delete(code);
    const challenge = createHash('sha256')
      .update(params.get('code_verifier') ?? '')
      .digest('base64url');
    if (found?.params.get('code_challenge') !== challenge) return undefined;
    if (found.params.get('redirect_uri') !== params.get('redirect_uri')) return undefined;
    counts.logins += 1;
    return issue(found.user, found.params.get('nonce'));
  }

  function refresh(params: URLSearchParams) {
    const token = params.get('refresh_token') ?? '';
    const user = refreshTokens.get(token);
    refreshTokens.delete(token);
    if (!user) return undefined;
    counts.refreshes += 1;
    return issue(user);
  }

  return {
    counts,
    setUser(user: TestUser): void {
      nextUser = user;
    },
    /** Where the browser is sent with a code, for an authorization request with `params`. */
    authorize(params: URLSearchParams, user: TestUser = nextUser): URL {
      const code = createValue();
      const { sub = 'test-user', scope = params.get('scope') ?? '', claims = {} } = user;
      codes.set(code, { params, user: { sub, scope, claims } });
      const url = new URL(params.get('redirect_uri') ?? '');
      url.searchParams.set('code', code);
      url.searchParams.set('state', params.get('state') ?? '');
      return url;
    },
    /** The members of the token response; `undefined` for an invalid grant. */
    redeem: (params: URLSearchParams) =>
      params.get('grant_type') === 'authorization_code'
        ? redeemCode(params)
        : params.get('grant_type') === 'refresh_token'
          ? refresh(params)
          : undefined,
    revoke(token: string): void {
      if (accessTokens.delete(token) || refreshTokens.delete(token)) counts.revocations += 1;
    },
    findToken(accessToken: string) {
      const issued = accessTokens.get(accessToken);
      return issued && issued.expiresAt > Date.now()
        ? { sub: issued.user.sub, scope: issued.user.scope }
        : undefined;
    },
    expireAccessTokens: () => accessTokens.clear(),
    revokeRefreshTokens: () => refreshTokens.clear(),
  };
}
