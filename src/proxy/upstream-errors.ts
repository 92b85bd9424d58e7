import { AppError } from '../errors.ts';

/** The statuses with which an API, or the gateway in front of it, reports that it is temporarily unavailable. */
export const unavailableStatuses: ReadonlySet<number> = new Set([502, 503, 504]);

const timeoutCodes = /_TIMEOUT$|^ETIMEDOUT$/;
const disconnectCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_SOCKET',
]);

/** True when the connection to the API failed or was lost before the response. */
export function isDisconnected(error: unknown): boolean {
  return disconnectCodes.has(getErrorCode(error));
}

/** True when the API did not respond in time. */
export function isTimeout(error: unknown): boolean {
  return timeoutCodes.test(getErrorCode(error));
}

/** The error for the client when the API did not respond. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AppError(isTimeout(error) ? 'upstream_timeout' : 'upstream_unreachable', { cause: error });
}

function getErrorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
