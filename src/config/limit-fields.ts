import type { z } from 'zod';
import type { Field } from './field-types.ts';
import * as type from './field-types.ts';

/** Limits that an operator may have a reason to change; `docs/limits.md` lists them with those that are fixed. */
export const limitFields = {
  AUTH_RATE_LIMIT: {
    type: type.count.default(600),
    example: '600',
    meaning:
      'Maximum number of requests per minute to /auth/login, /auth/callback, /auth/refresh, /auth/session, /auth/sessions and /auth/console together: per user (in all sessions) or, without a live session, per client address. Sign-outs have the same limit and are counted separately. Further requests get 429 with Retry-After. 0 means no limit.',
    unset: '600',
  },
  MAX_CONNECTIONS: {
    type: type.count.default(4_000),
    example: '4000',
    meaning:
      'Maximum number of open connections to PORT, including those of streams and WebSockets. Further connections are closed. 0 means no limit.',
    unset: '4000',
  },
  MAX_CONNECTIONS_PER_ADDRESS: {
    type: type.count.default(2_000),
    example: '2000',
    meaning:
      'Maximum number of open connections to PORT from one address (IPv6: one /56 network). Further connections are closed. 2000 allows four connections each for 500 users behind one NAT, three of them for streams. The limit does not apply to proxies in TRUST_PROXY; if TRUST_PROXY is a number, it applies to no peer. 0 means no limit.',
    unset: '2000',
  },
  MAX_STREAMS: {
    type: type.count.default(2_000),
    example: '2000',
    meaning:
      'Maximum number of open streams of one process: event streams, other responses of routes with stream, and WebSockets. Further requests get 429. Each stream uses two connections and about 25 KiB of memory. 0 means no limit.',
    unset: '2000',
  },
  MAX_STREAMS_PER_ADDRESS: {
    type: type.count.default(1_500),
    example: '1500',
    meaning:
      'Maximum number of open streams per client address (IPv6: per /56 network). 1500 allows three streams each for 500 users behind one NAT. 0 means no limit.',
    unset: '1500',
  },
  MAX_STREAMS_PER_USER: {
    type: type.count.default(60),
    example: '60',
    meaning: 'Maximum number of open streams per user, in all sessions of the user. 0 means no limit.',
    unset: '60',
  },
  MAX_STREAMS_PER_SESSION: {
    type: type.count.default(20),
    example: '20',
    meaning: 'Maximum number of open streams per session, in all tabs of the browser. 0 means no limit.',
    unset: '20',
  },
  MAX_UPSTREAM_CONNECTIONS: {
    type: type.count.default(2_500),
    example: '2500',
    meaning:
      'Maximum number of open connections of one process to one API host, including those of streams. Further requests get 503 with Retry-After. 0 means no limit.',
    unset: '2500',
  },
  MAX_UPSTREAM_CONNECTIONS_PER_USER: {
    type: type.count.default(200),
    example: '200',
    meaning:
      'The same per user, in all sessions of the user, so that one user cannot take all connections. Further requests get 429 with Retry-After. 0 means no limit.',
    unset: '200',
  },
  MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS: {
    type: type.count.default(1_500),
    example: '1500',
    meaning:
      'The same per client address (IPv6: per /56 network), for requests without a user whom the provider identifies: three connections each for 500 users behind one NAT. 0 means no limit.',
    unset: '1500',
  },
  CLIENT_READ_TIMEOUT_SECONDS: {
    type: type.seconds.default(60),
    example: '60',
    meaning:
      'A client that reads nothing of its response, event stream or WebSocket for this many seconds is disconnected. A client that reads slowly, or that waits for data, stays connected.',
    unset: '60',
  },
  SESSION_MAX_PER_USER: {
    type: type.count.default(0),
    example: '10',
    meaning:
      'Maximum number of sessions of one user. When a sign-in exceeds it, the least recently used session ends, and its tabs show why. 0 means no limit.',
    unset: '0 (no limit)',
  },
  SAVED_FORMS_MAX_BYTES: {
    type: type.count.default(16_777_216),
    example: '16777216',
    meaning:
      'Maximum number of bytes for the saved forms of all users, in Redis or in the memory of the process. The limit for one user is 1 MiB. Further forms are not saved, and the error page says so. 0 means that no forms are saved.',
    unset: '16777216 (16 MiB)',
  },
} as const satisfies Record<string, Field>;

type LimitValues = { readonly [K in keyof typeof limitFields]: z.output<(typeof limitFields)[K]['type']> };

/** The limits on streams, slow clients, connections to APIs and saved forms. */
export function readLimits(values: LimitValues) {
  return {
    /** Connections to `PORT`; 0 means no limit. */
    connections: { total: values.MAX_CONNECTIONS, perAddress: values.MAX_CONNECTIONS_PER_ADDRESS },
    /** Streams that are open at a time; 0 means no limit. */
    streams: values.MAX_STREAMS,
    streamsPerAddress: values.MAX_STREAMS_PER_ADDRESS,
    streamsPerUser: values.MAX_STREAMS_PER_USER,
    streamsPerSession: values.MAX_STREAMS_PER_SESSION,
    /** Connections to one API host; 0 means no limit. */
    upstreamConnections: values.MAX_UPSTREAM_CONNECTIONS,
    upstreamConnectionsPerUser: values.MAX_UPSTREAM_CONNECTIONS_PER_USER,
    upstreamConnectionsPerAddress: values.MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS,
    /** Sessions of one user at a time; 0 means no limit. */
    sessionsPerUser: values.SESSION_MAX_PER_USER,
    clientReadTimeoutMs: values.CLIENT_READ_TIMEOUT_SECONDS * 1000,
    /** Bytes of all saved forms; 0 saves none. */
    savedFormsBytes: values.SAVED_FORMS_MAX_BYTES,
  };
}

export type Limits = ReturnType<typeof readLimits>;
