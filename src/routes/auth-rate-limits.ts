import { type Response, Router } from 'express';
import type { createRateLimits } from '../middleware/rate-limit.ts';
import { paths } from '../paths.ts';

interface AuthRateLimitParts {
  readonly limit: ReturnType<typeof createRateLimits>;
  readonly config: {
    /** Requests per minute (AUTH_RATE_LIMIT); 0 means no limit. */
    readonly authRateLimit: number;
  };
}

/** The paths that share AUTH_RATE_LIMIT. Sign-outs have a count of their own, so that a user over the limit can sign out. */
const limitedPaths = [
  ...[paths.login, paths.callback, paths.refresh, paths.session, paths.sessions, paths.console],
];
/**
 * Rejected callbacks per minute. With a valid state, each of them costs a key in Redis and a request to the provider, and
 * anybody can get a state and invent a code. Far more than the users behind one address ever cause.
 */
const maxRejectedCallbacks = 100;
/** Forms that are saved, and requests for saved forms: each costs up to 256 KiB of memory for a moment. */
export const savedFormRate = { limit: 120, windowSeconds: 60 };

/** AUTH_RATE_LIMIT for the login and session endpoints, and the limit of saved forms. */
export function createAuthRateLimits({ limit, config: { authRateLimit } }: AuthRateLimitParts): Router {
  const limits = Router({ caseSensitive: true });
  if (authRateLimit > 0) {
    limits.use(limitedPaths, limit('auth', { limit: authRateLimit, windowSeconds: 60 }));
    limits.use(paths.logout, limit('sign-out', { limit: authRateLimit, windowSeconds: 60 }));
    const rejected = { limit: Math.min(authRateLimit, maxRejectedCallbacks), windowSeconds: 60 };
    const isRejected = ({ statusCode }: Response) => statusCode === 400;
    limits.use(paths.callback, limit('rejected-callbacks', rejected, { countsOnly: isRejected }));
  }
  return limits.use(paths.savedForms, limit('saved-forms', savedFormRate));
}
