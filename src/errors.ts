/** Every code a caller can meet: its HTTP status and the sentence a person reads. */
export const publicErrors = {
  invalid_request: [400, 'This request is not one we understand.'],
  invalid_state: [400, 'This sign-in link is not valid any more. Please start signing in again.'],
  login_failed: [400, 'Signing in did not work. Please try again.'],
  login_required: [401, 'Please sign in to continue.'],
  /** The API refused the access token, which has been renewed meanwhile; what was sent could not be sent again. */
  token_renewed: [401, 'Your access was renewed while this was sent. Please send it again.'],
  /** RFC 9470 3. */
  insufficient_user_authentication: [401, 'This needs you to sign in once more.'],
  access_denied: [403, 'You chose not to give access, so you are not signed in. Nothing was shared.'],
  insufficient_scope: [403, 'This needs a permission you have not given yet.'],
  cross_site_request: [403, 'This request came from another site and was refused.'],
  not_found: [404, 'There is nothing at this address.'],
  method_not_allowed: [405, 'This address does not answer to that method.'],
  request_timeout: [408, 'What you sent did not arrive in time.'],
  session_changed: [409, 'Somebody else has signed in here since this page was opened. Please reload it.'],
  no_refresh_token: [409, 'The provider gave no way to renew this access. Sign in again to renew it.'],
  payload_too_large: [413, 'What you sent is larger than this address takes.'],
  too_many_requests: [429, 'That was a little too often. Please wait a moment and try again.'],
  internal_error: [500, 'Something went wrong on our side.'],
  upstream_unreachable: [502, 'The service behind this address cannot be reached right now.'],
  app_token_refused: [502, 'The service behind this address does not accept this app right now.'],
  temporarily_unavailable: [
    503,
    'This is not available right now. Nothing is lost; please try again in a moment.',
  ],
  upstream_timeout: [504, 'The service behind this address took too long to answer.'],
} as const satisfies Record<string, readonly [status: number, message: string]>;

export type ErrorCode = keyof typeof publicErrors;

export interface AppErrorOptions {
  /** The evidence, for the log only. */
  readonly cause?: unknown;
  readonly retryAfterSeconds?: number;
  /** The scopes an `insufficient_scope` asks for. */
  readonly scope?: readonly string[];
  /** How the person has to sign in, in the words of `acr_values` (RFC 9470 3). */
  readonly acrValues?: string;
  /** How many seconds ago the person may have signed in (RFC 9470 3). */
  readonly maxAge?: number;
  /** True when signing in once more would not help: what is missing has just been asked for, and was not given. */
  readonly declined?: boolean;
  /** The methods a `method_not_allowed` would take. */
  readonly allow?: readonly string[];
}

/** A failure with two readers: the caller gets `code`, the log gets `cause`. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly status: number;
  readonly retryAfterSeconds: number | undefined;
  readonly scope: readonly string[] | undefined;
  readonly acrValues: string | undefined;
  readonly maxAge: number | undefined;
  readonly declined: boolean;
  readonly allow: readonly string[] | undefined;

  constructor(
    readonly code: ErrorCode,
    options: AppErrorOptions = {},
  ) {
    super(code, 'cause' in options ? { cause: options.cause } : undefined);
    this.status = publicErrors[code][0];
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.scope = options.scope;
    this.acrValues = options.acrValues;
    this.maxAge = options.maxAge;
    this.declined = options.declined ?? false;
    this.allow = options.allow;
  }
}

/** The store cannot be asked, so who is signed in is unknown; this never means "nobody is". */
export function storeUnavailable(cause: unknown): AppError {
  return new AppError('temporarily_unavailable', { cause, retryAfterSeconds: 1 });
}
