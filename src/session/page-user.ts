import { type Claims, selectClaims } from '../claims/read-claim.ts';
import { claimsOf, type TokenRecord } from '../tokens/token-store.ts';
import type { PageUserTags } from './page-user-tag.ts';

/** What views know of the user who is signed in. */
export interface PageUser {
  readonly user: TokenRecord['user'];
  readonly pageUserTag: string;
  /** Those of `OAUTH2_SESSION_CLAIMS`. */
  readonly claims: Claims;
  readonly session: {
    /** Epoch milliseconds. */
    readonly signedInAt: number;
    readonly scopes: readonly string[];
  };
}

/** Describes the user of session `id` for views. */
export type DescribePageUser = (id: string, login: TokenRecord) => PageUser;

export function createPageUser(
  pageUserTags: Pick<PageUserTags, 'tagFor'>,
  sessionClaims: readonly string[],
): DescribePageUser {
  return (id, login) => ({
    user: login.user,
    pageUserTag: pageUserTags.tagFor(id, login),
    claims: selectClaims(claimsOf(login), sessionClaims),
    session: { signedInAt: login.signedInAt, scopes: login.tokens.scope },
  });
}
