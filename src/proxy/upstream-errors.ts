import { types } from 'node:util';
import { AppError } from '../errors.ts';

const { isNativeError } = types; // also for errors of another realm, unlike `instanceof`

/** The statuses with which an API, or the gateway in front of it, reports that it is temporarily unavailable. */
export const unavailableStatuses: ReadonlySet<number> = new Set([502, 503, 504]);

const timeoutCodes = /_TIMEOUT$|^ETIMEDOUT$/;
const connectFailureCodes = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
]);
const lostConnectionCodes = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

/** True when no connection to the API could be made, which does not depend on the request. */
export function isConnectFailure(error: unknown): boolean {
  return connectFailureCodes.has(getErrorCode(error));
}

/** True when the connection to the API failed or was lost before the response. */
export function isDisconnected(error: unknown): boolean {
  return isConnectFailure(error) || lostConnectionCodes.has(getErrorCode(error));
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
  return isNativeError(error) && 'code' in error ? String(error.code) : '';
}
