import type { Field } from './field-types.ts';
import * as type from './field-types.ts';

/** Limits that an operator may have a reason to change; `docs/limits.md` lists them with those that are fixed. */
export const limitFields = {
  AUTH_RATE_LIMIT: {
    type: type.count.default(600),
    example: '600',
    meaning:
      'Requests per minute to /auth/login, /auth/callback, /auth/refresh, /auth/session and /console, per user (all sessions together) or, without a live session, per client address; as many sign-outs, counted separately. Further requests get 429 with Retry-After. 0 means no limit.',
    unset: '600',
  },
} as const satisfies Record<string, Field>;
