import type { RequestHandler } from 'express';
import { AppError } from '../errors.ts';

/** The last handler of a path: 405 with `Allow` for every method no handler before it took. */
export function allowOnly(...methods: readonly string[]): RequestHandler {
  return function allowOnly() {
    throw new AppError('method_not_allowed', { allow: methods });
  };
}
