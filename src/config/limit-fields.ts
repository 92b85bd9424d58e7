import type { z } from 'zod';
import type { Field } from './field-types.ts';
import * as type from './field-types.ts';

/** Limits that an operator may have a reason to change; `docs/limits.md` lists them with those that are fixed. */
export const limitFields = {
  AUTH_RATE_LIMIT: {
    type: type.count.default(600),
    example: '600',
    meaning:
      'Requests per minute, per session or (without a session) per client address, to /auth/login, /auth/callback, /auth/refresh and /auth/session; sign-out is not limited. Further requests get 429 with Retry-After. 0 means no limit.',
    unset: '600',
  },
  SAVED_FORMS_MAX_BYTES: {
    type: type.count.default(16_777_216),
    example: '16777216',
    meaning:
      'Bytes that the saved forms of all users take in Redis, or in the memory of the process, at most; of one user, 1 MiB. Further forms are not saved, and the error page says so. 0 saves none.',
    unset: '16777216 (16 MiB)',
  },
} as const satisfies Record<string, Field>;

type LimitValues = { readonly [K in keyof typeof limitFields]: z.output<(typeof limitFields)[K]['type']> };

/** The limits on streams, slow clients, connections to APIs and saved forms. */
export function readLimits(values: LimitValues) {
  return {
    /** Bytes of all saved forms; 0 saves none. */
    savedFormsBytes: values.SAVED_FORMS_MAX_BYTES,
  };
}

export type Limits = ReturnType<typeof readLimits>;
