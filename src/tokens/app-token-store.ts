import type { ErrorCode } from '../errors.ts';
import type { TokenSet } from '../oauth/token-set.ts';

/**
 * The application's own token for one scope set. `tokens` and `failure` are both set when an early refresh has failed
 * but the old token is still valid.
 */
export interface AppTokenRecord {
  readonly tokens?: TokenSet | undefined;
  /** True when `tokens` replaced a token that an API had rejected. */
  readonly isReplacement?: boolean;
  readonly failure?: AppTokenFailure | undefined;
}

/** A failure that all callers get until `until` (on the clock of `elapsedMs`); no token is requested before then. */
export interface AppTokenFailure {
  readonly code: ErrorCode;
  readonly until: number;
  /** For the log only. */
  readonly reason: string;
}

/**
 * Shares app tokens between all callers that need the same scopes. Both methods reject only when the store is
 * unavailable; the caller then has to keep what `change` returned.
 */
export interface AppTokenStore {
  get(scope: readonly string[]): Promise<AppTokenRecord>;
  /**
   * Calls `change`, which must not reject, with the newest record, and stores what it returns. Updates of one scope
   * set run one at a time, across instances too.
   */
  update(scope: readonly string[], change: Change): Promise<AppTokenRecord>;
}

type Change = (newest: AppTokenRecord) => Promise<AppTokenRecord>;
