import { z } from 'zod';
import { paths } from '../paths.ts';
import type { Field } from './field-types.ts';
import * as type from './field-types.ts';
import { basePath } from './reading/base-path.ts';
import { sessionSecrets } from './secret-types.ts';

/** Sessions and where they are stored. */
export const sessionFields = {
  SESSION_SECRET: {
    type: z.string('is missing').pipe(sessionSecrets),
    example: 'the output of: openssl rand -hex 32',
    meaning:
      'At least 32 random characters, with which Latchkey signs cookies and encrypts tokens. It can contain several secrets, separated by commas: Latchkey uses the first one for new data, and accepts all of them. To change it without signing anyone out, deploy on every instance (1) old,new; (2) then new,old; (3) after SESSION_ABSOLUTE_SECONDS, but at least a day, new (docs/deployment.md).',
    unset: 'required',
    isSecret: true,
  },
  SESSION_COOKIE_SECURE: {
    type: type.flag.optional(),
    example: 'true',
    meaning:
      'Whether browsers send the cookies over https only. With an https OAUTH2_REDIRECT_URI, false exposes the session cookie on http.',
    unset: 'true if OAUTH2_REDIRECT_URI is https, otherwise false',
  },
  SESSION_COOKIE_SAMESITE: {
    type: type.choice(['lax', 'strict'], 'must be lax or strict').default('lax'),
    example: 'lax',
    meaning: 'lax or strict. With strict, users who follow a link from another site arrive signed out.',
    unset: 'lax',
  },
  SESSION_IDLE_SECONDS: {
    type: type.seconds.default(86_400),
    example: '86400',
    meaning: 'A session ends this many seconds after its last request.',
    unset: '86400 (one day)',
  },
  SESSION_ABSOLUTE_SECONDS: {
    type: type.seconds.default(604_800),
    example: '604800',
    meaning: 'A session ends this many seconds after the sign-in, even if it is in use.',
    unset: '604800 (one week)',
  },
  SESSION_CACHE_MS: {
    type: type.count.max(500, 'must be 500 or less').default(500),
    example: '500',
    meaning:
      'How many milliseconds an instance may use a session that it has read from Redis, instead of reading it for every request that needs a token. Other instances announce what they change, usually within milliseconds; if an announcement is lost, a request can still succeed this long after a sign-out on another instance. 0 reads every time.',
    unset: '500',
  },
  REDIS_URL: {
    type: type.redisUrl.optional(),
    example: 'redis://127.0.0.1:6379',
    meaning:
      'Where sessions are stored, one of: redis://host:port/database | redis+sentinel://host:port,host:port/name | redis+cluster://host:port,host:port (each with rediss instead of redis for TLS) | unix:///path/to/socket; with user:password@ before the host if needed, special characters percent-encoded. docs/redis.md explains each form. Docker compose sets it.',
    unset: 'in memory, lost on restart; required when NODE_ENV is production',
    isSecret: true,
  },
  REDIS_SENTINEL_PASSWORD: {
    isSecret: true,
    type: type.password.optional(),
    example: 'a-password',
    meaning:
      'The password of the sentinels, if they need one. The password in REDIS_URL is sent to the Redis servers only.',
    unset: 'none',
  },
  REDIS_SENTINEL_USERNAME: {
    type: z.string().optional(),
    example: 'latchkey',
    meaning: 'The ACL user for the sentinels.',
    unset: 'the default user',
  },
  REDIS_PREFIX: {
    type: type.keyPrefix.default('latchkey:'),
    example: 'latchkey:',
    meaning:
      'The beginning of the names of all keys and channels in Redis, so that the rights of an ACL user can be limited to them.',
    unset: 'latchkey:',
  },
  REDIS_WAIT_REPLICAS: {
    type: type.count.default(0),
    example: '1',
    meaning:
      'How many Redis replicas must confirm a sign-in or a refreshed token, so that a failover does not lose it. If you have replicas, set 1. Latchkey waits half a second at most for the confirmation. Not available with Redis Cluster.',
    unset: '0',
  },
} as const satisfies Record<string, Field>;

/** The process, and how requests reach it. */
export const serverFields = {
  BASE_PATH: {
    type: basePath.optional(),
    example: '/portal',
    meaning:
      'The path below which the whole app is, if it shares a host with others. It follows from OAUTH2_REDIRECT_URI; if you set it as well, startup fails when the two differ.',
    unset: `the path of OAUTH2_REDIRECT_URI before ${paths.callback}`,
  },
  PORT: {
    type: type.port.default(3000),
    example: '3000',
    meaning: 'The port to listen on. Docker compose always uses 3000.',
    unset: '3000',
  },
  HOST: {
    type: type.host.default('127.0.0.1'),
    example: '0.0.0.0',
    meaning: 'The address to listen on. In a container it must be 0.0.0.0, which docker compose sets.',
    unset: '127.0.0.1, this machine only',
  },
  TRUST_PROXY: {
    type: type.trustedProxies.default(0),
    example: '1, or 10.0.0.0/8',
    meaning:
      'The proxies in front whose X-Forwarded-* headers Latchkey trusts: their number (1) or their addresses (10.0.0.0/8). Required with an https OAUTH2_REDIRECT_URI, because a proxy has to terminate TLS.',
    unset: '0, none',
  },
  NODE_ENV: {
    type: type
      .choice(['development', 'production', 'test'], 'must be development, production or test')
      .default('development'),
    example: 'production',
    meaning:
      'development, production or test. production requires REDIS_URL and caches compiled views. Docker compose sets it.',
    unset: 'development',
  },
  LOG_LEVEL: {
    type: type
      .choice(
        ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
        'must be trace, debug, info, warn, error, fatal or silent',
      )
      .default('info'),
    example: 'info',
    meaning:
      'trace, debug, info, warn, error, fatal or silent. debug shows each step of a login and of a refresh, and requests for static files.',
    unset: 'info',
  },
  LOG_FORMAT: {
    type: type.choice(['json', 'pretty'], 'must be json or pretty').optional(),
    example: 'json',
    meaning: 'json: one JSON object per line, for a log collector. pretty: text for a terminal.',
    unset: 'pretty when NODE_ENV is development, otherwise json',
  },
  AUDIT_LOG: {
    type: type.auditDestination.default('log'),
    example: '/var/log/latchkey/audit.log',
    meaning:
      'Where security events are written (docs/audit-log.md): log (to the log, at any LOG_LEVEL), stdout (as JSON lines that have only the fields of the audit log), none, or the absolute path of a file. On SIGHUP, Latchkey opens the file again.',
    unset: 'log',
  },
  AUDIT_SUBJECT: {
    type: type.choice(['plain', 'hashed', 'none'], 'must be plain, hashed or none').default('plain'),
    example: 'hashed',
    meaning:
      'How the audit log identifies users: plain (the sub of the provider), hashed (a keyed hash of the sub, which stays the same until SESSION_SECRET changes) or none.',
    unset: 'plain',
  },
  METRICS_PORT: {
    type: type.port.optional(),
    example: '9464',
    meaning: 'Serves Prometheus metrics on this port of METRICS_HOST.',
    unset: 'no metrics',
  },
  METRICS_HOST: {
    type: type.host.default('127.0.0.1'),
    example: '0.0.0.0',
    meaning:
      'The address on which METRICS_PORT listens. Set 0.0.0.0 if Prometheus runs outside the container. Everyone who can connect to the port can read the metrics, so do not publish it.',
    unset: '127.0.0.1, this machine (or container) only',
  },
  SHUTDOWN_DELAY_SECONDS: {
    type: type.shutdownDelay.default(0),
    example: '5',
    meaning:
      'How many seconds to accept further requests after SIGTERM. In this time, load balancers detect that the instance stops, because /readyz returns 503. Docker compose sets 5.',
    unset: '0',
  },
  LOGIN_CONFIRM: {
    type: z.enum(['cross-site', 'never'], 'must be cross-site or never').default('cross-site'),
    example: 'never',
    meaning:
      'What happens when a link on another site leads to /auth/login. cross-site: the sign-in page is shown first, so that no other site can start a sign-in. never: the browser goes to the provider immediately, for portals and for sign-ins that the provider starts.',
    unset: 'cross-site',
  },
  ALLOWED_HOSTS: {
    type: type.hosts.default([]),
    example: 'latchkey,localhost',
    meaning:
      'Host names, separated by commas, that Latchkey accepts in Host besides the public host, for requests to routes that need no session (token app, user-or-app or none). Requests with another Host get 421. Needed for callers that use an internal name, and for proxies that do not keep Host.',
    unset: 'the public host only',
  },
  HSTS_INCLUDE_SUBDOMAINS: {
    type: type.flag.default(false),
    example: 'true',
    meaning:
      'true adds includeSubDomains to Strict-Transport-Security: browsers then use https for every subdomain of the public host too. Set it only if every subdomain supports https.',
    unset: 'false',
  },
  CORS_ORIGINS: {
    type: type.origins.default([]),
    example: 'https://spa.example.com',
    meaning:
      "Other origins, separated by commas, whose pages may call /api/*, /auth/session, /auth/sessions, /auth/refresh and /auth/logout with the user's session, and to which a sign-in may return. They must be on the same site (spa.example.com for app.example.com), because browsers do not send the cookie from other sites. Every script on such an origin can act as the user.",
    unset: 'none',
  },
} as const satisfies Record<string, Field>;

type ServerValues = { readonly [K in keyof typeof serverFields]: z.output<(typeof serverFields)[K]['type']> };

/** The log and the audit log. */
export function readLogSettings(values: ServerValues) {
  return {
    logLevel: values.LOG_LEVEL,
    logFormat: values.LOG_FORMAT ?? (values.NODE_ENV === 'development' ? 'pretty' : 'json'),
    audit: { destination: values.AUDIT_LOG, subject: values.AUDIT_SUBJECT },
  } as const;
}
