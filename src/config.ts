import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { z } from 'zod';
import { type DeviationName, deviationNames, presets, providerNames, withPreset } from './providers.ts';
import { parseRedisUrl } from './redis-url.ts';
import { defaultRouteTable, type ResourceServer, readRouteTable } from './route-table.ts';
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
const fields = {
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

type Values = { readonly [K in Variable]: z.output<(typeof fields)[K]['type']> };

export interface Fault {
  readonly variable: Variable;
  /** Completes the sentence that begins with the variable's name; never holds its value. */
  readonly problem: string;
}

/** Every fault of a configuration at once, as the text an operator reads. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(readonly faults: readonly Fault[]) {
    super(
      [
        `The configuration has ${faults.length === 1 ? 'a fault' : `${faults.length} faults`}:`,
        ...faults.map(
          ({ variable, problem }) =>
            `  ${variable} ${problem}. Example: ${variable}=${fields[variable].example}`,
        ),
      ].join('\n'),
    );
  }
}

export type Config = ReturnType<typeof shape>;

/**
 * The configuration of one app; an empty variable counts as one that is not set, and then has the value of the preset
 * that `OAUTH2_PROVIDER` names. `API_ROUTES_FILE` is read.
 * @throws ConfigError naming every fault
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const faults: Fault[] = [];
  const values: Partial<Record<Variable, unknown>> = {};
  const given = withPreset(
    Object.fromEntries(variables.map((variable) => [variable, env[variable]?.trim() || undefined])),
  );
  for (const variable of variables) {
    const result = fields[variable].type.safeParse(given[variable]);
    if (result.success) values[variable] = result.data;
    else faults.push({ variable, problem: result.error.issues[0]?.message ?? 'is not valid' });
  }
  // The rules between fields pass over what is missing, so that every fault is told in one go.
  const known = new Set(faults.map(({ variable }) => variable));
  faults.push(...crossFieldFaults(values as Partial<Values>).filter(({ variable }) => !known.has(variable)));
  const { routes, faults: routeFaults } = readRoutes(values as Partial<Values>);
  const isNews = ({ variable }: Fault) => !faults.some((each) => each.variable === variable);
  if (!known.has('OAUTH2_API_BASE_URL')) faults.push(...routeFaults.filter(isNews));
  if (faults.length > 0) throw new ConfigError(faults);
  return shape(values as Values, routes);
}

/** The API table of `API_ROUTES_FILE`, else that of the preset, else the one that stands without either. */
function readRoutes(values: Partial<Values>): {
  routes: readonly ResourceServer[];
  faults: readonly Fault[];
} {
  const file = values.API_ROUTES_FILE;
  const base = values.OAUTH2_API_BASE_URL;
  if (file === undefined && !base)
    return {
      routes: [],
      faults: [{ variable: 'OAUTH2_API_BASE_URL', problem: 'is missing (or set API_ROUTES_FILE)' }],
    };
  const faulty = (...problems: readonly string[]) => ({
    routes: [],
    faults: problems.map((problem): Fault => ({ variable: 'API_ROUTES_FILE', problem })),
  });
  const preset = values.OAUTH2_PROVIDER && presets[values.OAUTH2_PROVIDER];
  let table: unknown = preset ? { routes: preset.routes } : defaultRouteTable;
  if (file !== undefined) {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      return faulty(`names a file that cannot be read: ${error}`);
    }
    try {
      table = JSON.parse(text);
    } catch (error) {
      // Only the place: the rest of the message may quote the file.
      return faulty(`is not JSON ${/at position .*/.exec(String(error))?.[0] ?? ''}`.trimEnd());
    }
  }
  const { routes, faults } = readRouteTable(table, {
    base,
    allowHttp: (target) => isLoopback(target) || values.OAUTH2_ALLOW_HTTP === true,
    tokenRefusedStatuses: values.OAUTH2_DEVIATIONS?.includes('expired-is-403') ? [401, 403] : [401],
  });
  return faults.length === 0
    ? { routes, faults: [] }
    : faulty(...faults.map((each) => `has a fault: ${each}`));
}

const mustBeHttps = [
  'OAUTH2_ISSUER',
  'OAUTH2_AUTHORIZATION_URL',
  'OAUTH2_TOKEN_URL',
  'OAUTH2_REVOCATION_URL',
  'OAUTH2_USERINFO_URL',
  'OAUTH2_END_SESSION_URL',
  'OAUTH2_JWKS_URL',
  'OAUTH2_REDIRECT_URI',
  'OAUTH2_API_BASE_URL',
  'OAUTH2_APP_ISSUER',
  'OAUTH2_APP_TOKEN_URL',
] as const;
/** What speaks of another client than the user's. */
const ofAnotherClient = [
  'OAUTH2_APP_ISSUER',
  'OAUTH2_APP_TOKEN_URL',
  'OAUTH2_APP_CLIENT_ID',
  'OAUTH2_APP_CLIENT_SECRET',
  'OAUTH2_APP_CLIENT_AUTH',
] as const;

function crossFieldFaults(values: Partial<Values>): Fault[] {
  const faults: Fault[] = [];
  const fault = (variable: Variable, problem: string) => faults.push({ variable, problem });
  const redirectUri = values.OAUTH2_REDIRECT_URI;
  const https = redirectUri?.protocol === 'https:';
  const secure = values.SESSION_COOKIE_SECURE ?? https;

  if (!values.OAUTH2_ISSUER) {
    if (!values.OAUTH2_AUTHORIZATION_URL && !values.OAUTH2_TOKEN_URL) {
      if (values.OAUTH2_PROVIDER)
        fault('OAUTH2_API_BASE_URL', 'is missing: the addresses of this OAUTH2_PROVIDER are below it');
      else fault('OAUTH2_ISSUER', 'is missing (or set both OAUTH2_AUTHORIZATION_URL and OAUTH2_TOKEN_URL)');
    } else if (!values.OAUTH2_AUTHORIZATION_URL)
      fault('OAUTH2_AUTHORIZATION_URL', 'is missing beside OAUTH2_TOKEN_URL (or set OAUTH2_ISSUER)');
    else if (!values.OAUTH2_TOKEN_URL)
      fault('OAUTH2_TOKEN_URL', 'is missing beside OAUTH2_AUTHORIZATION_URL (or set OAUTH2_ISSUER)');
  }
  if (values.OAUTH2_USERINFO_CLAIMS && !values.OAUTH2_ISSUER && !values.OAUTH2_USERINFO_URL)
    fault('OAUTH2_USERINFO_URL', 'is missing: OAUTH2_USERINFO_CLAIMS says how to read its answer');
  const first = ofAnotherClient.find((variable) => values[variable] !== undefined);
  for (const variable of ['OAUTH2_APP_CLIENT_ID', 'OAUTH2_APP_CLIENT_SECRET'] as const)
    if (first && values[variable] === undefined) fault(variable, `is missing beside ${first}`);
  for (const variable of mustBeHttps) {
    const value = values[variable];
    if (value?.protocol === 'http:' && !isLoopback(value) && !values.OAUTH2_ALLOW_HTTP)
      fault(variable, 'must be https, as its host is not this machine (OAUTH2_ALLOW_HTTP=true lifts this)');
  }
  for (const origin of values.CORS_ORIGINS ?? []) {
    const isHttp = origin.startsWith('http:') && !isLoopback(new URL(origin));
    if (isHttp && !values.OAUTH2_ALLOW_HTTP)
      fault('CORS_ORIGINS', 'must be https but for this machine (OAUTH2_ALLOW_HTTP=true lifts this)');
    else if (origin === redirectUri?.origin)
      fault('CORS_ORIGINS', 'must not hold the origin of OAUTH2_REDIRECT_URI, which is this app itself');
  }
  if (redirectUri && secure && !https)
    fault(
      'SESSION_COOKIE_SECURE',
      'cannot be true while OAUTH2_REDIRECT_URI is http: browsers drop the cookie',
    );
  if (https && secure && values.TRUST_PROXY === 0)
    fault(
      'TRUST_PROXY',
      'must name the proxy that ends TLS, as OAUTH2_REDIRECT_URI is https: without it no secure cookie is ever set',
    );
  if ((values.SESSION_IDLE_SECONDS ?? 0) > (values.SESSION_ABSOLUTE_SECONDS ?? Number.POSITIVE_INFINITY))
    fault('SESSION_IDLE_SECONDS', 'must not be longer than SESSION_ABSOLUTE_SECONDS');
  if (
    values.REDIS_WAIT_REPLICAS &&
    values.REDIS_URL &&
    parseRedisUrl(values.REDIS_URL.reveal())?.kind === 'cluster'
  )
    fault(
      'REDIS_WAIT_REPLICAS',
      'cannot be used with a cluster, where WAIT does not say which write it means',
    );
  if (values.NODE_ENV === 'production' && !values.REDIS_URL)
    fault('REDIS_URL', 'is missing: in production sessions must outlive this process');
  for (const variable of ['SESSION_SECRET', 'OAUTH2_CLIENT_SECRET', 'OAUTH2_APP_CLIENT_SECRET'] as const) {
    const isDemo = [values[variable] ?? []].flat().some((each) => each.reveal().startsWith('demo-only'));
    if (isDemo && redirectUri && !isLoopback(redirectUri))
      fault(variable, 'is the published demo value, which only http://localhost may use');
  }
  return faults;
}

function isLoopback(value: URL): boolean {
  return loopbackHosts.test(value.hostname);
}

/** Where the application gets its own tokens, when that is not where and as whom users sign in. */
function appProvider(values: Values) {
  const { OAUTH2_APP_CLIENT_ID: clientId, OAUTH2_APP_CLIENT_SECRET: clientSecrets } = values;
  if (clientId === undefined || clientSecrets === undefined) return undefined;
  const isElsewhere = (values.OAUTH2_APP_ISSUER ?? values.OAUTH2_APP_TOKEN_URL) !== undefined;
  const tokenUrl = isElsewhere ? values.OAUTH2_APP_TOKEN_URL : values.OAUTH2_TOKEN_URL;
  return {
    issuer: isElsewhere ? values.OAUTH2_APP_ISSUER : values.OAUTH2_ISSUER,
    endpoints: { token_endpoint: tokenUrl?.href },
    clientId,
    clientSecrets: clientSecrets as readonly Secret[],
    clientAuth: values.OAUTH2_APP_CLIENT_AUTH ?? values.OAUTH2_CLIENT_AUTH,
    redirectUri: values.OAUTH2_REDIRECT_URI,
    scopes: values.OAUTH2_APP_SCOPES as readonly string[],
    authorizationParameters: [],
    tokenParameters: isElsewhere ? [] : values.OAUTH2_TOKEN_PARAMS,
    userinfoClaims: undefined,
    deviations: isElsewhere ? [] : (values.OAUTH2_DEVIATIONS as readonly DeviationName[]),
  };
}

function shape(values: Values, routes: readonly ResourceServer[]) {
  const redirectUri = values.OAUTH2_REDIRECT_URI;
  const https = redirectUri.protocol === 'https:';
  const secure = values.SESSION_COOKIE_SECURE ?? https;
  return {
    production: values.NODE_ENV === 'production',
    host: values.HOST,
    port: values.PORT,
    metricsPort: values.METRICS_PORT,
    trustProxy: values.TRUST_PROXY,
    logLevel: values.LOG_LEVEL,
    /** Where browsers reach this app; never taken from a request. */
    publicOrigin: redirectUri.origin,
    /** How pages call and show this app. */
    brand: { name: values.APP_NAME, logoUrl: values.APP_LOGO_URL },
    provider: {
      /** How pages call the provider; in each language another way when it has no name. */
      name: values.OAUTH2_PROVIDER_NAME,
      issuer: values.OAUTH2_ISSUER,
      endpoints: {
        authorization_endpoint: values.OAUTH2_AUTHORIZATION_URL?.href,
        token_endpoint: values.OAUTH2_TOKEN_URL?.href,
        revocation_endpoint: values.OAUTH2_REVOCATION_URL?.href,
        userinfo_endpoint: values.OAUTH2_USERINFO_URL?.href,
        end_session_endpoint: values.OAUTH2_END_SESSION_URL?.href,
        jwks_uri: values.OAUTH2_JWKS_URL?.href,
      },
      clientId: values.OAUTH2_CLIENT_ID,
      /** One, or two while the one replaces the other. */
      clientSecrets: values.OAUTH2_CLIENT_SECRET as readonly Secret[],
      clientAuth: values.OAUTH2_CLIENT_AUTH,
      redirectUri,
      scopes: values.OAUTH2_SCOPES as readonly string[],
      /** Sent besides the protocol's own, in the authorization request and in every token request. */
      authorizationParameters: values.OAUTH2_AUTHORIZATION_PARAMS,
      tokenParameters: values.OAUTH2_TOKEN_PARAMS,
      /** How to read user information that is not OpenID Connect's. */
      userinfoClaims: values.OAUTH2_USERINFO_CLAIMS,
      deviations: values.OAUTH2_DEVIATIONS as readonly DeviationName[],
    },
    /** What answers below `/api`, in the order in which it is looked up. */
    routes,
    app: {
      provider: appProvider(values),
      /** What an app token is asked for when nobody names a scope. */
      scopes: values.OAUTH2_APP_SCOPES as readonly string[],
    },
    session: {
      /** The first seals and signs, all open and verify. */
      secrets: values.SESSION_SECRET as readonly Secret[],
      cookie: {
        /** `__Host-` ties a cookie to this one host and to https (RFC 6265bis 4.1.3.2). */
        prefix: secure ? '__Host-latchkey' : 'latchkey',
        secure,
        sameSite: values.SESSION_COOKIE_SAMESITE,
      },
      idleSeconds: values.SESSION_IDLE_SECONDS,
      absoluteSeconds: values.SESSION_ABSOLUTE_SECONDS,
    },
    /** Other origins whose scripts may call us with the person's session. */
    corsOrigins: values.CORS_ORIGINS as readonly string[],
    /** Requests to `/auth/*` per minute and session or address; 0 is no limit. */
    authRateLimit: values.AUTH_RATE_LIMIT,
    redis: values.REDIS_URL && { url: values.REDIS_URL, waitReplicas: values.REDIS_WAIT_REPLICAS },
    /** What is allowed but dangerous, for the log at start-up. */
    warnings: [
      ...(values.OAUTH2_ALLOW_HTTP
        ? ['OAUTH2_ALLOW_HTTP is true: tokens may travel in the clear. Use it on private networks only.']
        : []),
      ...(https && !secure
        ? ['SESSION_COOKIE_SECURE is false: the session cookie may travel in the clear.']
        : []),
    ],
  };
}
