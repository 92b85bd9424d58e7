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

/** True if no connection to the API could be made. The cause is then not the request. */
export function isConnectFailure(error: unknown): boolean {
  return connectFailureCodes.has(getErrorCode(error));
}

/** True if no connection to the API could be made, or it was lost before the response. */
export function isDisconnected(error: unknown): boolean {
  return isConnectFailure(error) || lostConnectionCodes.has(getErrorCode(error));
}

/** A body up to this size is written in a single call, which the operating system accepts completely or not at all. */
const maxAtomicWriteBytes = 16_384;

/** True if the API has received nothing of the request. `bodyBytes` is the length of its body. */
export function isUnsent(error: unknown, bodyBytes: number): boolean {
  const code = getErrorCode(error);
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return true;
  if (!isObject(error)) return false;
  const syscall = 'syscall' in error ? error.syscall : undefined;
  // The connection was closed before the write. If a part had been written, the error would have another code.
  if (code === 'EPIPE' && syscall === 'write') return bodyBytes <= maxAtomicWriteBytes;
  // `errors` is in an AggregateError: no address of the host accepted the connection.
  return isDisconnected(error) && (syscall === 'connect' || syscall === 'getaddrinfo' || 'errors' in error);
}

/** True if the API did not respond in time. */
export function isTimeout(error: unknown): boolean {
  return timeoutCodes.test(getErrorCode(error));
}

/** An error for which `isTimeout` is true. */
export function createTimeoutError(): Error {
  return Object.assign(new Error('no final response in time'), { code: 'ETIMEDOUT' });
}

/** The error for the client if the API did not respond. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AppError(isTimeout(error) ? 'upstream_timeout' : 'upstream_unreachable', { cause: error });
}

function getErrorCode(error: unknown): string {
  return isObject(error) && 'code' in error ? String(error.code) : '';
}

/** Not `instanceof Error`, which is false for errors of Node.js if a test runs this module in a separate context. */
function isObject(error: unknown): error is object {
  return typeof error === 'object' && error !== null;
}
