import { AppError } from '../errors.ts';

/** Statuses of a host that cannot answer just now, or of what stands in front of it. */
export const unavailableStatuses: ReadonlySet<number> = new Set([502, 503, 504]);

const timeouts = /_TIMEOUT$|^ETIMEDOUT$/;
const disconnections = new Set([
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

/** True when there was no connection to the API, or it ended before the answer. */
export function isDisconnected(error: unknown): boolean {
  return disconnections.has(codeOf(error));
}

/** True when the API had no time for an answer. */
export function isTimeout(error: unknown): boolean {
  return timeouts.test(codeOf(error));
}

/** What the caller hears when an API gave no answer. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AppError(isTimeout(error) ? 'upstream_timeout' : 'upstream_unreachable', { cause: error });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
