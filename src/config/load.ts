import { readFileSync } from 'node:fs';
import type { Secret } from '../crypto/secret.ts';
import { isLoopback } from './field-types.ts';
import { type Fault, fields, type Values, type Variable, variables } from './fields.ts';
import { type DeviationName, presets, withPreset } from './presets.ts';
import { defaultRouteTable, type ResourceServer, readRouteTable } from './route-table.ts';
import { checkCrossFieldRules } from './rules.ts';

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

export type Config = ReturnType<typeof buildConfig>;

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
  faults.push(
    ...checkCrossFieldRules(values as Partial<Values>).filter(({ variable }) => !known.has(variable)),
  );
  const { routes, faults: routeFaults } = readRoutes(values as Partial<Values>);
  const isNotYetReported = ({ variable }: Fault) => !faults.some((each) => each.variable === variable);
  if (!known.has('OAUTH2_API_BASE_URL')) faults.push(...routeFaults.filter(isNotYetReported));
  if (faults.length > 0) throw new ConfigError(faults);
  return buildConfig(values as Values, routes);
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
  const withFaults = (...problems: readonly string[]) => ({
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
      return withFaults(`names a file that cannot be read: ${error}`);
    }
    try {
      table = JSON.parse(text);
    } catch (error) {
      // Only the place: the rest of the message may quote the file.
      return withFaults(`is not JSON ${/at position .*/.exec(String(error))?.[0] ?? ''}`.trimEnd());
    }
  }
  const { routes, faults } = readRouteTable(table, {
    base,
    allowHttp: (target) => isLoopback(target) || values.OAUTH2_ALLOW_HTTP === true,
    tokenRefusedStatuses: values.OAUTH2_DEVIATIONS?.includes('expired-is-403') ? [401, 403] : [401],
  });
  return faults.length === 0
    ? { routes, faults: [] }
    : withFaults(...faults.map((each) => `has a fault: ${each}`));
}

/** Where the application gets its own tokens, when that is not where and as whom users sign in. */
function appProvider(values: Values) {
  const { OAUTH2_APP_CLIENT_ID: clientId, OAUTH2_APP_CLIENT_SECRET: clientSecrets } = values;
  if (clientId === undefined || clientSecrets === undefined) return undefined;
  const isSeparateProvider = (values.OAUTH2_APP_ISSUER ?? values.OAUTH2_APP_TOKEN_URL) !== undefined;
  const tokenUrl = isSeparateProvider ? values.OAUTH2_APP_TOKEN_URL : values.OAUTH2_TOKEN_URL;
  return {
    issuer: isSeparateProvider ? values.OAUTH2_APP_ISSUER : values.OAUTH2_ISSUER,
    endpoints: { token_endpoint: tokenUrl?.href },
    clientId,
    clientSecrets: clientSecrets as readonly Secret[],
    clientAuth: values.OAUTH2_APP_CLIENT_AUTH ?? values.OAUTH2_CLIENT_AUTH,
    redirectUri: values.OAUTH2_REDIRECT_URI,
    scopes: values.OAUTH2_APP_SCOPES as readonly string[],
    authorizationParameters: [],
    tokenParameters: isSeparateProvider ? [] : values.OAUTH2_TOKEN_PARAMS,
    userinfoClaims: undefined,
    deviations: isSeparateProvider ? [] : (values.OAUTH2_DEVIATIONS as readonly DeviationName[]),
  };
}

function buildConfig(values: Values, routes: readonly ResourceServer[]) {
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
