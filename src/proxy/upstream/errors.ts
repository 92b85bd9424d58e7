import { AppError } from '../../errors.ts';

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

/** The largest request that the operating system accepts as a whole or not at all. */
const maxAtomicWriteBytes = 16_384;

/** True when the API has received nothing of the request, whose body had `bodyBytes`. */
export function isUnsent(error: unknown, bodyBytes: number): boolean {
  const code = getErrorCode(error);
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return true;
  if (!isObject(error)) return false;
  const syscall = 'syscall' in error ? error.syscall : undefined;
  // The connection was closed already. What could be written goes to the API, and then the error is another one.
  if (code === 'EPIPE' && syscall === 'write') return bodyBytes <= maxAtomicWriteBytes;
  // An AggregateError: none of the addresses of the host could be connected to.
  return isDisconnected(error) && (syscall === 'connect' || syscall === 'getaddrinfo' || 'errors' in error);
}

/** True when the API did not respond in time. */
export function isTimeout(error: unknown): boolean {
  return timeoutCodes.test(getErrorCode(error));
}

/** An error for which `isTimeout` is true. */
export function createTimeoutError(): Error {
  return Object.assign(new Error('no final response in time'), { code: 'ETIMEDOUT' });
}

/** The error for the client when the API did not respond. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AppError(isTimeout(error) ? 'upstream_timeout' : 'upstream_unreachable', { cause: error });
}

function getErrorCode(error: unknown): string {
  return isObject(error) && 'code' in error ? String(error.code) : '';
}

/** Not `instanceof Error`, which is false for errors of Node.js when a test runs this module in a context of its own. */
function isObject(error: unknown): error is object {
  return typeof error === 'object' && error !== null;
}
