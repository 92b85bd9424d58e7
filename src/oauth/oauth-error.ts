import {
  AuthorizationResponseError,
  ClientError,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from 'openid-client';

/**
 * Who said no:
 * - `invalid_grant`: the server, for good, to this code or refresh token
 * - `client_misconfigured`: the server, to our own registration; the operator must act
 * - `rejected_other`: the server, for good, in words of its own
 * - `denied`: the person, on the consent page
 * - `authorization`: the server, in the authorization response
 * - `invalid_response`: ourselves, to an answer that failed a check
 * - `unavailable`: nobody; the server cannot be reached or has no time, so nothing has happened there
 * - `outcome_unknown`: nobody; the question was sent, and what came of it there nobody can tell
 */
export type OAuthErrorKind =
  | 'invalid_grant'
  | 'client_misconfigured'
  | 'rejected_other'
  | 'denied'
  | 'authorization'
  | 'invalid_response'
  | 'unavailable'
  | 'outcome_unknown';

/** A failure of the authorization server, sorted. `message` is safeErrorDetail for the log, not for an answer. */
export class OAuthError extends Error {
  override readonly name = 'OAuthError';

  constructor(
    readonly kind: OAuthErrorKind,
    message: string,
    readonly options: {
      readonly cause?: unknown;
      /** The `error` of the response, when it is one of RFC 6749 5.2; a server may say anything there. */
      readonly code?: string | undefined;
      /** The wait the server asked for (RFC 9110 10.2.3). */
      readonly retryAfterSeconds?: number | undefined;
    } = {},
  ) {
    super(message, { cause: options.cause });
  }

  get code(): string | undefined {
    return this.options.code;
  }

  get retryAfterSeconds(): number | undefined {
    return this.options.retryAfterSeconds;
  }
}

/** Codes that speak of our registration rather than of the token (RFC 6749 5.2). */
const clientCodes = new Set([
  'invalid_client',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
]);
/** The library's codes for an answer that was OAuth, and wrong. */
const checkFailures = /INVALID_RESPONSE|COMPARISON|TIMESTAMP|KEY_SELECTION|UNSUPPORTED/;
/** The server has not taken the request up (RFC 6585 4, RFC 8470 5.2, RFC 9110 15.6.4). */
const notProcessedStatuses = new Set([425, 429, 503]);
const maxRetryAfterSeconds = 300;
const finalStatuses = new Set([400, 401, 403]);

/** Sorts whatever the protocol library threw while the server was asked at an endpoint. */
export function toOAuthError(error: unknown): OAuthError {
  if (error instanceof OAuthError) return error;
  if (error instanceof AuthorizationResponseError) {
    const kind = error.error === 'access_denied' ? 'denied' : 'authorization';
    return new OAuthError(kind, safeErrorDetail(error.error, error.error_description));
  }
  if (error instanceof ResponseBodyError) {
    return fromErrorResponse(
      error.response,
      safeErrorDetail(error.error, error.error_description),
      error.error,
    );
  }
  if (error instanceof WWWAuthenticateChallengeError) {
    return fromErrorResponse(error.response, `HTTP ${error.response.status} with a challenge`);
  }
  if (error instanceof ClientError) {
    // The library keeps a response it could make nothing of as the cause.
    if (error.cause instanceof Response && error.cause.status >= 400) {
      return fromErrorResponse(error.cause, `HTTP ${error.cause.status} without an OAuth error`);
    }
    const isCheckFailed = error.code !== undefined && checkFailures.test(error.code);
    return new OAuthError(
      isCheckFailed ? 'invalid_response' : 'outcome_unknown',
      `${error.code ?? 'OAUTH'}: ${error.message}`,
    );
  }
  const kind = wasNeverSent(error) ? 'unavailable' : 'outcome_unknown';
  return new OAuthError(kind, 'the authorization server does not answer', { cause: error });
}

function fromErrorResponse(response: Response, message: string, code?: string): OAuthError {
  return new OAuthError(kindOfErrorResponse(response.status, code), message, {
    code: code === 'invalid_grant' || (code !== undefined && clientCodes.has(code)) ? code : undefined,
    retryAfterSeconds: readRetryAfter(response.headers.get('retry-after')),
  });
}

function kindOfErrorResponse(status: number, code: string | undefined): OAuthErrorKind {
  if (notProcessedStatuses.has(status)) return 'unavailable';
  if (status >= 500 || status === 408) return 'outcome_unknown';
  if (code === 'invalid_grant') return 'invalid_grant';
  if (code !== undefined && clientCodes.has(code)) return 'client_misconfigured';
  // Other statuses without an OAuth error come from something in front of the server, not from the server.
  return code !== undefined || finalStatuses.has(status) ? 'rejected_other' : 'outcome_unknown';
}

const connectFailures = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** `fetch` says why it failed in its cause, which can be several attempts (one per address). */
function wasNeverSent(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof AggregateError) return cause.errors.every((each) => isConnectFailure(each));
  return isConnectFailure(cause);
}

function isConnectFailure(error: unknown): boolean {
  return error instanceof Error && 'code' in error && connectFailures.has(String(error.code));
}

/** Seconds from now, for both forms of the header (RFC 9110 10.2.3); five minutes for what asks for more. */
function readRetryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds)
    ? Math.min(Math.max(0, Math.ceil(seconds)), maxRetryAfterSeconds)
    : undefined;
}

/** Code and description for the log; whatever could be a token or a code in it is taken out. */
function safeErrorDetail(code: string, description: string | undefined): string {
  const text = description === undefined ? code : `${code}: ${description}`;
  return text.replace(/[\w.~+/=-]{20,}/g, '[redacted]').slice(0, 500);
}
