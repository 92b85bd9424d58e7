import {
  AuthorizationResponseError,
  ClientError,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from 'openid-client';
import type { TokenSet } from './token-set.ts';

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
      /** The `error` of the response, if it is one of `knownCodes`: a server may send any text there. */
      readonly code?: string | undefined;
      /** From the response's `Retry-After` (RFC 9110 10.2.3). */
      readonly retryAfterSeconds?: number | undefined;
      /** No connection was made, which does not depend on whose request it was. */
      readonly isUnreachable?: boolean;
      /** The tokens of a refresh response that failed a check. They have to be revoked, never used. */
      readonly untrustedTokens?: TokenSet;
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
/** The codes on which behaviour depends: RFC 6749 4.1.2.1 and 5.2, RFC 7009 2.2.1, OIDC Core 3.1.2.6. */
const knownCodes = new Set([
  ...clientCodes,
  ...['invalid_grant', 'unsupported_token_type', 'invalid_token'],
  ...['access_denied', 'temporarily_unavailable', 'server_error', 'authentication_expired'],
  ...['login_required', 'interaction_required', 'consent_required', 'account_selection_required'],
]);
/** The library's codes for an OAuth response that failed a check. */
const checkFailures = /INVALID_RESPONSE|COMPARISON|TIMESTAMP|KEY_SELECTION|UNSUPPORTED|SERVER_METADATA/;
/** The server has not processed the request (RFC 6585 4, RFC 8470 5.2, RFC 9110 15.6.4). */
const notProcessedStatuses = new Set([425, 429, 503]);
const maxRetryAfterSeconds = 300;
/** The statuses of OAuth errors (RFC 6749 5.2, and what servers send instead); all others come from something in between. */
const finalStatuses = new Set([400, 401, 403, 422]);
/** Codes of a server that cannot process the request now, whatever the status. */
const temporaryCodes = new Set(['server_error', 'temporarily_unavailable', 'slow_down']);

/** An error that the protocol library threw, as an OAuthError. */
export function toOAuthError(error: unknown): OAuthError {
  if (error instanceof OAuthError) return error;
  if (error instanceof AuthorizationResponseError)
    return fromAuthorizationResponse(error.error, error.error_description);
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
    // The library wraps what our `fetch` throws.
    if (error.cause instanceof OAuthError) return error.cause;
    // When the library cannot parse a response, the response is the error's cause.
    if (error.cause instanceof Response && error.cause.status >= 400) {
      return fromErrorResponse(error.cause, `HTTP ${error.cause.status} without an OAuth error`);
    }
    const isCheckFailed = error.code !== undefined && checkFailures.test(error.code);
    return new OAuthError(isCheckFailed ? 'invalid_response' : 'outcome_unknown', describeCheck(error));
  }
  return new OAuthError('outcome_unknown', 'request to the authorization server failed', { cause: error });
}

/** The error of an authorization response (RFC 6749 4.1.2.1). */
export function fromAuthorizationResponse(error: string, description: string | undefined): OAuthError {
  // Keycloak reports this as `temporarily_unavailable`, and asks clients to start the login again.
  const code = description === 'authentication_expired' ? description : error;
  return new OAuthError(
    code === 'access_denied' ? 'denied' : 'authorization',
    safeErrorDetail(error, description),
    {
      code: knownCodes.has(code) ? code : undefined,
    },
  );
}

function fromErrorResponse(response: Response, message: string, code?: string): OAuthError {
  const retryAfterSeconds = readRetryAfter(response.headers.get('retry-after'));
  return new OAuthError(kindOfErrorResponse(response.status, code, retryAfterSeconds), message, {
    code: code !== undefined && knownCodes.has(code) ? code : undefined,
    retryAfterSeconds,
  });
}

function kindOfErrorResponse(
  status: number,
  code: string | undefined,
  retryAfterSeconds: number | undefined,
): OAuthErrorKind {
  if (notProcessedStatuses.has(status)) return 'unavailable';
  if (status >= 500 || status === 408) return 'outcome_unknown';
  if (code === 'invalid_grant') return 'invalid_grant';
  if (code !== undefined && clientCodes.has(code)) return 'client_misconfigured';
  const isTemporary = retryAfterSeconds !== undefined || temporaryCodes.has(code ?? '');
  return finalStatuses.has(status) && !isTemporary ? 'rejected_other' : 'outcome_unknown';
}

/** Seconds from now, for both forms of `Retry-After` (RFC 9110 10.2.3); at most five minutes. */
function readRetryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds)
    ? Math.min(Math.max(0, Math.ceil(seconds)), maxRetryAfterSeconds)
    : undefined;
}

/** Words, joined to a code or a name: what a server means to say, never a token. */
const words = /^([a-z]{1,24}|[A-Z]{1,24})([_.-]([a-z]{1,24}|[A-Z]{1,24}))*$/;

/** Code and description for the log, without anything that could be a token or an authorization code. */
function safeErrorDetail(code: string, description: string | undefined): string {
  const text = description === undefined ? code : `${code}: ${description}`;
  const redact = (run: string) => (words.test(run) && run.length <= 64 ? run : '[redacted]');
  return text.replace(/[\w.~+/=%$|@-]{16,}/g, redact).slice(0, 500);
}

/** Values of these members prove a login; a log must not contain them. */
const secretMembers = new Set(['state', 'nonce', 'code', 'access_token', 'refresh_token', 'id_token']);

/** What the library found wrong: which member or claim, what was expected and what was received. */
function describeCheck(error: ClientError): string {
  const detail = error.cause instanceof Error ? error.cause : undefined;
  const prefix = `${error.code ?? 'OAUTH'}: ${detail?.message ?? error.message}`;
  const facts = detail ? detail.cause : error.cause;
  if (typeof facts !== 'object' || facts === null || !('expected' in facts)) return prefix;
  const { claim, attribute, claims, body, parameters, expected } = facts as Readonly<Record<string, unknown>>;
  const name = claim ?? attribute ?? /"(\w+)"/.exec(prefix)?.[1];
  if (typeof name !== 'string' || secretMembers.has(name)) return prefix;
  const actual =
    parameters instanceof URLSearchParams ? parameters.get(name) : Reflect.get(Object(claims ?? body), name);
  return `${prefix}: ${describeMismatch(name, expected, actual)}`;
}

/** `name` with both values, each at most 200 characters long, for the log. */
export function describeMismatch(name: string, expected: unknown, actual: unknown): string {
  const show = (value: unknown) => (JSON.stringify(value) ?? 'nothing').slice(0, 200);
  return `${name}: expected ${show(expected)}, received ${show(actual)}`;
}
