/** The HTTP status of every error code. The messages are in `views/texts/<language>.json`, under `error.<code>`. */
export const errorStatuses = {
  invalid_request: 400,
  invalid_state: 400,
  login_failed: 400,
  login_required: 401,
  /** The API rejected the access token; it was replaced, but the request body could not be sent again. */
  token_renewed: 401,
  /** RFC 9470 3. */
  insufficient_user_authentication: 401,
  access_denied: 403,
  insufficient_scope: 403,
  /** The user is signed in, but their claims do not satisfy the rule of the route. */
  insufficient_claims: 403,
  /** The provider has signed the user in, but LOGIN_ALLOWED does not let them in. */
  login_not_allowed: 403,
  cross_site_request: 403,
  /** The browser would run or embed what an API returns. */
  forbidden_destination: 403,
  not_found: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  /** The page belongs to another user than the one who is signed in now. */
  session_changed: 409,
  no_refresh_token: 409,
  payload_too_large: 413,
  /** The request is for a host that is not ours (RFC 9110 15.5.20). */
  misdirected_request: 421,
  /** A WebSocket handshake that cannot be performed (RFC 9110 15.5.22). */
  upgrade_required: 426,
  too_many_requests: 429,
  internal_error: 500,
  upstream_unreachable: 502,
  app_token_refused: 502,
  temporarily_unavailable: 503,
  upstream_timeout: 504,
} as const satisfies Record<string, number>;

export type ErrorCode = keyof typeof errorStatuses;

export interface AppErrorOptions {
  /** For the log only. */
  readonly cause?: unknown;
  readonly retryAfterSeconds?: number;
  /** The setting whose limit is reached. */
  readonly limit?: string;
  /** The required scopes, for an `insufficient_scope`. */
  readonly scope?: readonly string[];
  /** The required authentication method, as `acr_values` (RFC 9470 3). */
  readonly acrValues?: string;
  /** The maximum age of the sign-in, seconds (RFC 9470 3). */
  readonly maxAge?: number;
  /** True when the last login requested what is missing and did not get it, so that another login would not help. */
  readonly alreadyRequested?: boolean;
  /** Where the login that failed would have led, as an absolute URL; a new login leads there. */
  readonly returnTo?: string;
  /** True if the user is still signed in, although this login failed. */
  readonly isSignedIn?: boolean;
  /** The address that does not respond, to be shown to a developer. */
  readonly address?: string;
  /** The allowed methods, for a `method_not_allowed`. */
  readonly allow?: readonly string[];
}

/** A failure: the caller gets `code`, the log gets `cause`. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly status: number;
  readonly retryAfterSeconds: number | undefined;
  readonly limit: string | undefined;
  readonly scope: readonly string[] | undefined;
  readonly acrValues: string | undefined;
  readonly maxAge: number | undefined;
  readonly alreadyRequested: boolean;
  readonly allow: readonly string[] | undefined;
  readonly address: string | undefined;
  readonly returnTo: string | undefined;
  readonly isSignedIn: boolean;

  constructor(
    readonly code: ErrorCode,
    options: AppErrorOptions = {},
  ) {
    super(code, 'cause' in options ? { cause: options.cause } : undefined);
    this.status = errorStatuses[code];
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.limit = options.limit;
    this.scope = options.scope;
    this.acrValues = options.acrValues;
    this.maxAge = options.maxAge;
    this.alreadyRequested = options.alreadyRequested ?? false;
    this.allow = options.allow;
    this.address = options.address;
    this.returnTo = options.returnTo;
    this.isSignedIn = options.isSignedIn ?? false;
  }
}

/** The error of an unavailable store: whether the session exists is unknown, so the user must not be signed out. */
export function storeUnavailable(cause: unknown): AppError {
  return new AppError('temporarily_unavailable', { cause, retryAfterSeconds: 1 });
}
