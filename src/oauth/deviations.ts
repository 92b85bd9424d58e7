import type { DeviationName } from '../config/presets.ts';

type JsonObject = Readonly<Record<string, unknown>>;

interface TokenAnswer {
  readonly status: number;
  readonly body: JsonObject;
}

/** What providers say in place of a code of RFC 6749 5.2. */
const ownErrorCodes = new Map([
  ['bad_verification_code', 'invalid_grant'],
  ['bad_refresh_token', 'invalid_grant'],
  ['invalid_refresh_token', 'invalid_grant'],
  ['invalid_code', 'invalid_grant'],
  ['code_already_used', 'invalid_grant'],
  ['incorrect_client_credentials', 'invalid_client'],
  ['invalid_client_id', 'invalid_client'],
  ['bad_client_secret', 'invalid_client'],
]);

/** Errors that are no answer to what was asked: as a 500 they leave the login as it is. */
const serverErrorCodes = new Set([
  ...['server_error', 'temporarily_unavailable', 'service_unavailable'],
  ...['internal_error', 'fatal_error', 'request_timeout', 'ratelimited'],
]);

/**
 * Each row reads one deviation as the RFC would have it, and leaves alone what does not deviate. `expired-is-403` is
 * not of the token endpoint but of APIs (`tokenRefusedStatuses`).
 */
const deviationHandlers: Readonly<Partial<Record<DeviationName, (answer: TokenAnswer) => TokenAnswer>>> = {
  'token-type-missing': ({ status, body }) => ({
    status,
    body: typeof body.access_token === 'string' ? { ...body, token_type: body.token_type || 'Bearer' } : body,
  }),
  'scope-with-commas': ({ status, body }) => ({
    status,
    body: typeof body.scope === 'string' ? { ...body, scope: body.scope.split(/[ ,]+/).join(' ') } : body,
  }),
  'error-in-200': ({ status, body }) => {
    const isError = status === 200 && typeof body.error === 'string' && body.access_token === undefined;
    if (!isError) return { status, body };
    return { status: serverErrorCodes.has(String(body.error)) ? 500 : 400, body };
  },
  'own-error-codes': ({ status, body }) => ({
    status,
    body:
      typeof body.error === 'string' ? { ...body, error: ownErrorCodes.get(body.error) ?? body.error } : body,
  }),
};

/** A JSON answer of the token endpoint, read with the deviations declared for its provider; none is looked for. */
export function applyDeviations(declared: readonly DeviationName[], status: number, body: unknown) {
  if (!isJsonObject(body)) return { status, body };
  return declared.reduce((answer, name) => deviationHandlers[name]?.(answer) ?? answer, { status, body });
}

function isJsonObject(body: unknown): body is JsonObject {
  return typeof body === 'object' && body !== null && !Array.isArray(body);
}
