import type { DeviationName } from '../config/presets.ts';

type JsonObject = Readonly<Record<string, unknown>>;

interface JsonResponse {
  readonly status: number;
  readonly body: JsonObject;
}

type Handler = (response: JsonResponse) => JsonResponse;

/** Codes that providers send instead of those of RFC 6749 5.2. */
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

/** Codes of server errors, which are read as a 500 and so end no session. */
const serverErrorCodes = new Set([
  ...['server_error', 'temporarily_unavailable', 'service_unavailable'],
  ...['internal_error', 'fatal_error', 'request_timeout', 'ratelimited'],
]);

/**
 * Each handler corrects one deviation and returns every other response unchanged. `expired-is-403` has none: it
 * concerns APIs, not the token endpoint (`tokenRefusedStatuses`).
 */
const deviationHandlers: Readonly<Partial<Record<DeviationName, Handler>>> = {
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

/** A JSON response of the token endpoint with the declared deviations corrected. No others are detected. */
export function applyDeviations(declared: readonly DeviationName[], status: number, body: unknown) {
  if (!isJsonObject(body)) return { status, body };
  const response: JsonResponse = { status, body };
  return declared.reduce((current, name) => deviationHandlers[name]?.(current) ?? current, response);
}

function isJsonObject(body: unknown): body is JsonObject {
  return typeof body === 'object' && body !== null && !Array.isArray(body);
}
