import type { ErrorCode } from '../errors.ts';
import type { TokenSet } from '../oauth/token-set.ts';

/** What is known of the application's own token for one scope set; both members while a renewal fails ahead of time. */
export interface AppTokenRecord {
  readonly tokens?: TokenSet | undefined;
  /** The API had refused the token that `tokens` came in place of. */
  readonly isReplacement?: boolean;
  readonly failure?: AppTokenFailure | undefined;
}

/** Everyone's answer until `until` (epoch milliseconds); nobody asks the authorization server meanwhile. */
export interface AppTokenFailure {
  readonly code: ErrorCode;
  readonly until: number;
  /** Evidence for the log. */
  readonly reason: string;
}

/**
 * Shares app tokens between those who need the same one. Both verbs reject when the store is away, and only then: what
 * `change` came to is the caller's to keep.
 */
export interface AppTokenStore {
  get(scope: readonly string[]): Promise<AppTokenRecord>;
  /**
   * Calls `change`, which must not reject, with the newest record and keeps what it returns. For one scope set this
   * happens one after another, across instances too.
   */
  update(scope: readonly string[], change: Change): Promise<AppTokenRecord>;
}

type Change = (newest: AppTokenRecord) => Promise<AppTokenRecord>;

/** When nothing in the record is of use any more, epoch milliseconds; `undefined` when nobody can tell. */
export function expiresAtOf({ tokens, failure }: AppTokenRecord): number | undefined {
  if (tokens && tokens.expiresAt === undefined) return undefined;
  return Math.max(tokens?.expiresAt ?? 0, failure?.until ?? 0);
}
