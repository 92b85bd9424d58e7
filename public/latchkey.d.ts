/** The version of Latchkey that this module belongs to. */
export const version: string;

/** Who is signed in. */
export interface Session {
  /** What the provider says about the user: the claims in OAUTH2_SESSION_CLAIMS. */
  readonly user: {
    readonly [claim: string]: unknown;
    readonly sub?: string;
    readonly name?: string;
    readonly email?: string;
    readonly picture?: string;
  };
  /** The granted scopes. */
  readonly scope: readonly string[];
  /** When the session expires unless it is used, by the clock of this browser. */
  readonly expiresAt: Date;
}

/**
 * Why a session has ended. `expired`: also when the provider ended it without telling Latchkey. `another_user`: another user
 * has signed in in this browser. A newer Latchkey may have further reasons.
 */
export type SessionEndReason =
  | 'signed_out'
  | 'expired'
  | 'another_user'
  | 'ended_by_user'
  | 'ended_by_administrator'
  | 'ended_by_provider'
  | 'ended_by_limit'
  | (string & {});

/** A response of 400 or above, from Latchkey or from an API. */
export class ApiError extends Error {
  readonly status: number;
  /** Latchkey's error code. Undefined if the API sent the response: its own error is in `body`. */
  readonly code: string | undefined;
  /** The JSON or the text of the response. */
  readonly body: unknown;
  readonly requestId: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  /** For `signIn`, if signing in or granting `scope` helps. */
  readonly loginUrl: string | undefined;
  /** For a link: the last login requested the same, and the provider did not grant it. */
  readonly requestAgainUrl: string | undefined;
  /** The missing scopes, separated by spaces. */
  readonly scope: string | undefined;
  /** The request can be sent again at once. */
  readonly retryable: boolean;
}

export interface Latchkey {
  /**
   * `fetch` with the session of the user. `path` begins with a slash, or is a whole URL of Latchkey. Resolves to responses
   * below 400.
   * @throws ApiError for any other response
   * @throws TypeError if there was no response, and for other URLs
   */
  api(path: string, init?: RequestInit): Promise<Response>;
  /**
   * Who is signed in; undefined if nobody is. All callers share one request, and its result while nothing has changed.
   * @throws ApiError, TypeError if Latchkey cannot be asked, so that the answer is unknown
   */
  session(): Promise<Session | undefined>;
  /** Calls `callback` once when the session ends, wherever that happens. Returns a function that cancels this. */
  onSessionEnd(callback: (reason: SessionEndReason) => void): () => void;
  /**
   * Leaves the page to sign in, or to grant what `error` says is missing, and returns to `returnTo` (this page).
   * @throws ApiError the given error, if signing in would not help
   */
  signIn(error?: ApiError, returnTo?: string): void;
  /** Leaves the page to sign out, also at the provider. */
  signOut(): void;
}

/** The functions for the Latchkey at `address`: an origin, a base path (`/portal`), or both. */
export function connect(address?: string): Latchkey;

export const api: Latchkey['api'];
export const session: Latchkey['session'];
export const onSessionEnd: Latchkey['onSessionEnd'];
export const signIn: Latchkey['signIn'];
export const signOut: Latchkey['signOut'];
