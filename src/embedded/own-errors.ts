import { AppError } from '../errors.ts';

/** Which errors an instance has thrown to the app around it, which may contain several instances. */
export function createOwnErrors() {
  const own = new WeakSet<object>();
  return {
    /** `call`, whose errors are remembered. */
    rememberErrors<A extends readonly unknown[], R>(
      call: (...args: A) => Promise<R>,
    ): (...args: A) => Promise<R> {
      return async function remembering(...args) {
        try {
          return await call(...args);
        } catch (error) {
          if (error instanceof AppError) own.add(error);
          throw error;
        }
      };
    },
    isOwnError: (error: unknown): error is AppError => error instanceof AppError && own.has(error),
  };
}
