import type { ErrorCode } from '../errors.ts';
import type { TokenSet } from '../oauth/token-set.ts';
import { createTurns } from './turns.ts';

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
export function endOf({ tokens, failure }: AppTokenRecord): number | undefined {
  if (tokens && tokens.expiresAt === undefined) return undefined;
  return Math.max(tokens?.expiresAt ?? 0, failure?.until ?? 0);
}

/** A store that lives and ends with this process. */
export function createMemoryAppTokenStore(now: () => number): AppTokenStore {
  const records = new Map<string, AppTokenRecord>();
  const inTurn = createTurns();

  async function get(scope: readonly string[]): Promise<AppTokenRecord> {
    const record = records.get(keyOf(scope)) ?? {};
    return (endOf(record) ?? Number.POSITIVE_INFINITY) > now() ? record : {};
  }

  return {
    get,
    update: (scope, change) =>
      inTurn(keyOf(scope), async () => {
        const changed = await change(await get(scope));
        records.set(keyOf(scope), changed);
        return changed;
      }),
  };
}

const keyOf = (scope: readonly string[]) => scope.join(' ');
