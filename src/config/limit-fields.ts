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
  MAX_CONNECTIONS: {
    type: type.count.default(4_000),
    example: '4000',
    meaning:
      'Connections to PORT at once, in total; further ones are closed. Every open stream and WebSocket is one of them. 0 means no limit.',
    unset: '4000',
  },
  MAX_CONNECTIONS_PER_ADDRESS: {
    type: type.count.default(1_000),
    example: '1000',
    meaning:
      'Connections to PORT at once from one address (IPv6: one /56 network); further ones are closed. Proxies in TRUST_PROXY are not limited, and if that is a number, no peer is. 0 means no limit.',
    unset: '1000',
  },
} as const satisfies Record<string, Field>;
