import type { RequestHandler } from 'express';
import { AppError } from '../errors.ts';

/** True for safe methods, which change nothing (RFC 9110 9.2.1). */
export function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
}

/** True for methods that have the same effect when they are received twice (RFC 9110 9.2.2). */
export function isIdempotent(method: string): boolean {
  return isSafe(method) || method === 'PUT' || method === 'DELETE';
}

/** The last handler of a path: 405 with `Allow` for every method that the earlier handlers do not handle. */
export function allowOnly(...methods: readonly string[]): RequestHandler {
  return function allowOnly() {
    throw new AppError('method_not_allowed', { allow: methods });
  };
}
