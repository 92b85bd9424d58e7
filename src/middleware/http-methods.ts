import type { RequestHandler } from 'express';
import { AppError } from '../errors.ts';

/** True for safe methods, which change nothing (RFC 9110 9.2.1). */
export function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
}

/** The last handler of a path: 405 with `Allow` for every method that the earlier handlers do not handle. */
export function allowOnly(...methods: readonly string[]): RequestHandler {
  return function allowOnly() {
    throw new AppError('method_not_allowed', { allow: methods });
  };
}
