import { isIP } from 'node:net';
import { z } from 'zod';
import { deviationNames, providerNames } from './providers.ts';
import { parseRedisUrl } from './redis-url.ts';
import { Secret } from './secret.ts';

const minimumSecretLength = 32;
const longestCookieSeconds = 34_560_000;
const callbackPath = '/auth/callback';
const loopbackHosts = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

const url = z
  .url({ protocol: /^https?$/, error: 'must be a URL beginning with https:// or http://' })
  .transform((value) => new URL(value))
  .refine(
    (value) => !value.username && !value.password && !value.hash,
    'must not hold a user, password or #',
  );
const flag = z.enum(['true', 'false'], 'must be true or false').transform((value) => value === 'true');
const seconds = z.coerce
  .number('must be a number of seconds')
  .int('must be whole seconds')
  .min(1, 'must be 1 or more')
  .max(
    longestCookieSeconds,
    `must be ${longestCookieSeconds} (400 days, as long as browsers keep a cookie) or less`,
  );
const count = z.coerce.number('must be a number').int('must be a whole number').min(0, 'must not be below 0');
const port = z.coerce.number('must be a port number').int().min(0).max(65535);
const secret = z.string().transform((value) => new Secret(value));
/** What a page may show as its logo: nothing that the CSP, or https, would keep out. */
const logo = z
  .string()
  .refine(
    (value) => /^\/(?![/\\])/.test(value) || (URL.canParse(value) && new URL(value).protocol === 'https:'),
    'must be a URL beginning with https://, or a path of this app beginning with one /',
  );
const origins = z
  .string()
  .transform((value) => value.split(',').map((each) => each.trim()))
  .refine(
    (values) => values.every(isOrigin),
    'must be origins separated by commas, each exactly as browsers send it: scheme, host and port, no path, no *',
  );

const scopes = z
  .string()
  .regex(/^[\x21\x23-\x5B\x5D-\x7E]+( +[\x21\x23-\x5B\x5D-\x7E]+)*$/, 'must be scopes separated by spaces')
  .transform((value) => value.split(/ +/));
/** What the protocol itself sets, in either request, and what would carry a secret into an address. */
const protocolParameters = new Set([
  ...['response_type', 'response_mode', 'redirect_uri', 'scope', 'state', 'nonce', 'request', 'request_uri'],
  ...['code_challenge', 'code_challenge_method', 'grant_type', 'code', 'code_verifier', 'refresh_token'],
  ...['client_id', 'client_secret', 'client_assertion', 'client_assertion_type'],
]);
const parameters = z
  .string()
  .regex(/^[^=&?#\s]+=[^=&#\s]*(&[^=&?#\s]+=[^=&#\s]*)*$/, 'must be a query string: name=value&name=value')
  .transform((value) => [...new URLSearchParams(value)])
  .superRefine((pairs, context) => {
    const taken = pairs.find(([name]) => protocolParameters.has(name));
    if (taken)
      context.addIssue({ code: 'custom', message: `must not set ${taken[0]}, which the protocol sets` });
  });
const claimPair = /^(sub|name|email|picture)=[\w-]+(\.[\w-]+)*(\|[\w-]+(\.[\w-]+)*)*$/;
const claimMap = z
  .string()
  .transform((value) => value.split(/ +/))
  .refine(
    (pairs) => pairs.every((pair) => claimPair.test(pair)),
    'must be sub=, name=, email= or picture= with the paths of the answer where they are found',
  )
  .transform(
    (pairs): ClaimMap =>
      Object.fromEntries(
        pairs.map((pair) => pair.split('=')).map(([claim, at = '']) => [claim, at.split('|')]),
      ),
  );
const deviations = z
  .string()
  .transform((value) => value.split(/ +/))
  .pipe(z.array(z.enum(deviationNames, `must be names of: ${deviationNames.join(' ')}`)));
const sessionSecrets = z
  .string()
  .transform((value) => value.split(',').map((each) => each.trim()))
  .refine(
    (values) => values.every((each) => each.length >= minimumSecretLength),
    `must be ${minimumSecretLength} characters or more (each of them, when several are separated by commas)`,
  )
  .transform((values) => values.map((each) => new Secret(each)));
const clientSecrets = z
  .string()
  .transform((value) => value.split(',').map((each) => each.trim()))
  .refine(
    (values) => values.length <= 2 && values.every((each) => each !== ''),
    'must be one secret, or two separated by a comma while one replaces the other',
  )
  .transform((values) => values.map((each) => new Secret(each)));
const issuer = url.refine((value) => !value.search, 'must not hold a query (OpenID Connect Discovery 3)');
const clientAuth = z.enum(
  ['client_secret_basic', 'client_secret_post'],
  'must be client_secret_basic or client_secret_post',
);
const trustedProxies = z
  .string()
  .refine(
    (value) => value !== 'true',
    'must name the proxy, or how many there are: true would trust everyone',
  )
  .refine(
    (value) => value === 'false' || value.split(',').every((each) => isProxy(each.trim())),
    'must be how many proxies there are, or their addresses: 10.1.2.3, 10.0.0.0/8, loopback, linklocal, uniquelocal',
  )
  .transform((value): number | readonly string[] =>
    /^\d+$/.test(value) ? Number(value) : value === 'false' ? 0 : value.split(',').map((each) => each.trim()),
  );

/** A count, an address, a network, or one of the names Express knows. */
function isProxy(value: string): boolean {
  const [address = '', bits, ...rest] = value.split('/');
  if (/^(\d+|loopback|linklocal|uniquelocal)$/.test(value)) return true;
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}

/** As in a browser's `Origin` header: lower case, the default port left out, nothing behind it. */
function isOrigin(value: string): boolean {
  return /^https?:\/\/[^*]+$/.test(value) && URL.canParse(value) && new URL(value).origin === value;
}

/** For each claim, the paths (`images.0.url`) at which it may be found; the first that is there counts. */
export type ClaimMap = Readonly<Record<string, readonly string[]>>;

interface Field {
  readonly type: z.ZodType;
  readonly example: string;
}

/** Every variable the app reads: its type and default, and an example for whoever got it wrong. */
export const fields = {
  OAUTH2_PROVIDER: {
    type: z.enum(providerNames, `must be one of: ${providerNames.join(' ')}`).optional(),
    example: 'spotify',
  },
  OAUTH2_ISSUER: {
    type: issuer.optional(),
    example: 'https://login.example.com',
  },
  OAUTH2_AUTHORIZATION_URL: { type: url.optional(), example: 'https://login.example.com/authorize' },
  OAUTH2_TOKEN_URL: { type: url.optional(), example: 'https://login.example.com/token' },
  OAUTH2_REVOCATION_URL: { type: url.optional(), example: 'https://login.example.com/revoke' },
  OAUTH2_USERINFO_URL: { type: url.optional(), example: 'https://login.example.com/userinfo' },
  OAUTH2_USERINFO_CLAIMS: {
    type: claimMap.optional(),
    example: 'sub=id name=display_name|login picture=images.0.url',
  },
  OAUTH2_END_SESSION_URL: { type: url.optional(), example: 'https://login.example.com/logout' },
  OAUTH2_JWKS_URL: { type: url.optional(), example: 'https://login.example.com/jwks' },
  OAUTH2_CLIENT_ID: { type: z.string('is missing'), example: 'latchkey' },
  OAUTH2_CLIENT_SECRET: {
    type: z.string('is missing').pipe(clientSecrets),
    example: 'the secret the provider gave you for this client',
  },
  OAUTH2_CLIENT_AUTH: {
    type: clientAuth.default('client_secret_basic'),
    example: 'client_secret_basic',
  },
  OAUTH2_REDIRECT_URI: {
    type: z
      .string('is missing')
      .pipe(url)
      .refine(
        (value) => value.pathname === callbackPath && !value.search,
        `must end in ${callbackPath}, where this app takes the answer`,
      ),
    example: `https://app.example.com${callbackPath}`,
  },
  OAUTH2_SCOPES: {
    type: scopes.default(['read:profile', 'read:data', 'write:data']),
    example: 'openid profile read:data',
  },
  OAUTH2_AUTHORIZATION_PARAMS: { type: parameters.default([]), example: 'audience=my-api&prompt=consent' },
  OAUTH2_TOKEN_PARAMS: { type: parameters.default([]), example: 'audience=my-api' },
  OAUTH2_DEVIATIONS: { type: deviations.default([]), example: 'token-type-missing scope-with-commas' },
  OAUTH2_API_BASE_URL: {
    type: url.refine((value) => !value.search, 'must not hold a query').optional(),
    example: 'https://api.example.com',
  },
  API_ROUTES_FILE: { type: z.string().optional(), example: './api-routes.json' },
  OAUTH2_APP_ISSUER: { type: issuer.optional(), example: 'https://login.example.org' },
  OAUTH2_APP_TOKEN_URL: { type: url.optional(), example: 'https://login.example.org/token' },
  OAUTH2_APP_CLIENT_ID: { type: z.string().optional(), example: 'latchkey-app' },
  OAUTH2_APP_CLIENT_SECRET: {
    type: z.string().pipe(clientSecrets).optional(),
    example: 'the secret the provider gave you for that client',
  },
  OAUTH2_APP_CLIENT_AUTH: { type: clientAuth.optional(), example: 'client_secret_basic' },
  OAUTH2_APP_SCOPES: { type: scopes.default([]), example: 'read:catalogue' },
  OAUTH2_PROVIDER_NAME: { type: z.string().optional(), example: 'Example ID' },
  OAUTH2_ALLOW_HTTP: { type: flag.default(false), example: 'true' },
  SESSION_SECRET: {
    type: z.string('is missing').pipe(sessionSecrets),
    example: 'the output of: openssl rand -hex 32',
  },
  SESSION_COOKIE_SECURE: { type: flag.optional(), example: 'true' },
  SESSION_COOKIE_SAMESITE: {
    type: z.enum(['lax', 'strict'], 'must be lax or strict').default('lax'),
    example: 'lax',
  },
  SESSION_IDLE_SECONDS: { type: seconds.default(86_400), example: '86400' },
  SESSION_ABSOLUTE_SECONDS: { type: seconds.default(604_800), example: '604800' },
  CORS_ORIGINS: { type: origins.default([]), example: 'https://spa.example.com' },
  APP_NAME: { type: z.string().default('Latchkey'), example: 'Garden House' },
  APP_LOGO_URL: { type: logo.default('/assets/icon.svg'), example: '/assets/logo.svg' },
  AUTH_RATE_LIMIT: { type: count.default(600), example: '600' },
  REDIS_URL: {
    type: z
      .string()
      .refine(
        (value) => parseRedisUrl(value) !== undefined,
        'must be redis://host:port, rediss://host:port, redis+sentinel://host:port,host:port/name or redis+cluster://host:port,host:port',
      )
      .pipe(secret)
      .optional(),
    example: 'redis://127.0.0.1:6379',
  },
  REDIS_WAIT_REPLICAS: { type: count.default(0), example: '1' },
  PORT: { type: port.default(3000), example: '3000' },
  METRICS_PORT: { type: port.optional(), example: '9464' },
  HOST: { type: z.string().default('127.0.0.1'), example: '0.0.0.0' },
  TRUST_PROXY: { type: trustedProxies.default(0), example: '1, or 10.0.0.0/8' },
  LOG_LEVEL: {
    type: z
      .enum(
        ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
        'must be trace, debug, info, warn, error, fatal or silent',
      )
      .default('info'),
    example: 'info',
  },
  NODE_ENV: {
    type: z
      .enum(['development', 'production', 'test'], 'must be development, production or test')
      .default('development'),
    example: 'production',
  },
} as const satisfies Record<string, Field>;

export type Variable = keyof typeof fields;

/** The variables in the order of `.env.example`, which a test holds equal to this list. */
export const variables = Object.keys(fields) as readonly Variable[];

export type Values = { readonly [K in Variable]: z.output<(typeof fields)[K]['type']> };

/** True for hosts that are this machine. */
export function isLoopback(value: URL): boolean {
  return loopbackHosts.test(value.hostname);
}

export interface Fault {
  readonly variable: Variable;
  /** Completes the sentence that begins with the variable's name; never holds its value. */
  readonly problem: string;
}
