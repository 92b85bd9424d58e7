import {
  AuthorizationResponseError,
  ClientError,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from 'openid-client';

/**
 * What failed:
 * - `invalid_grant`: the server rejected this code or refresh token for good
 * - `client_misconfigured`: the server rejected our client; the operator has to act
 * - `rejected_other`: the server rejected the request for good, with another error
 * - `denied`: the user declined on the consent page
 * - `authorization`: the authorization response has another error
 * - `invalid_response`: the response failed one of our checks
 * - `unavailable`: the server is unreachable or overloaded and has not processed the request
 * - `outcome_unknown`: the request was sent, and the server may have processed it
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

/** A failed request to the authorization server. `message` is for the log, never for a response. */
export class OAuthError extends Error {
  override readonly name = 'OAuthError';

  constructor(
    readonly kind: OAuthErrorKind,
    message: string,
    readonly options: {
      readonly cause?: unknown;
      /** The `error` of the response; only codes of RFC 6749 5.2, as a server may send any text there. */
      readonly code?: string | undefined;
      /** From the response's `Retry-After` (RFC 9110 10.2.3). */
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

/** Codes that concern our client registration rather than the token (RFC 6749 5.2). */
const clientCodes = new Set([
  'invalid_client',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
]);
/** The library's codes for an OAuth response that failed a check. */
const checkFailures = /INVALID_RESPONSE|COMPARISON|TIMESTAMP|KEY_SELECTION|UNSUPPORTED/;
/** The server has not processed the request (RFC 6585 4, RFC 8470 5.2, RFC 9110 15.6.4). */
const notProcessedStatuses = new Set([425, 429, 503]);
const maxRetryAfterSeconds = 300;
const finalStatuses = new Set([400, 401, 403]);

/** An error that the protocol library threw, as an OAuthError. */
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
    return fromErrorResponse(
      error.response,
      `HTTP ${error.response.status} with a WWW-Authenticate challenge`,
    );
  }
  if (error instanceof ClientError) {
    // When the library cannot parse a response, the response is the error's cause.
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
  return new OAuthError(kind, 'no response from the authorization server', { cause: error });
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
  // Other statuses without an OAuth error come from a proxy in front of the server, not from the server.
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

/** True when no connection was made, by the cause of a `fetch` error (one for each address that it tried). */
function wasNeverSent(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof AggregateError) return cause.errors.every((each) => isConnectFailure(each));
  return isConnectFailure(cause);
}

function isConnectFailure(error: unknown): boolean {
  return error instanceof Error && 'code' in error && connectFailures.has(String(error.code));
}

/** Seconds from now, for both forms of `Retry-After` (RFC 9110 10.2.3); at most five minutes. */
function readRetryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds)
    ? Math.min(Math.max(0, Math.ceil(seconds)), maxRetryAfterSeconds)
    : undefined;
}

/** Code and description for the log, without anything that could be a token or an authorization code. */
function safeErrorDetail(code: string, description: string | undefined): string {
  const text = description === undefined ? code : `${code}: ${description}`;
  return text.replace(/[\w.~+/=-]{20,}/g, '[redacted]').slice(0, 500);
}
