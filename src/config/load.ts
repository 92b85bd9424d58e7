import type { Secret } from '../crypto/secret.ts';
import { paths } from '../paths.ts';
import { readAccessSettings } from './access/fields.ts';
import { readLogSettings } from './app-fields.ts';
import { isLoopback } from './field-types.ts';
import {
  type ConfigProblem,
  describeValues,
  fields,
  nameFileVariable,
  type Values,
  type Variable,
  variables,
} from './fields.ts';
import { readFrontEndSettings } from './front-end/fields.ts';
import { readLimits } from './limit-fields.ts';
import { readPageSettings } from './pages/fields.ts';
import { applyPreset, type DeviationName, defaultRouteTable, presets } from './presets.ts';
import { readBasePath } from './reading/base-path.ts';
import { ConfigError } from './reading/config-error.ts';
import { readEnvironment } from './reading/environment.ts';
import { readRoutesFile } from './reading/routes-file.ts';
import { buildRedisSettings } from './redis-settings.ts';
import { buildAppProvider, getProviderHost, hashRegistration, listSecrets } from './registration.ts';
import { type ResourceServer, type RouteTableOptions, readRouteTable } from './route-table.ts';
import { checkCrossFieldRules, type HostApp } from './rules.ts';
import { findUnknownVariables } from './unknown-variables.ts';
import { collectWarnings } from './warnings.ts';

export { ConfigError };

const quotedMessage =
  'must not be in quotes: they are part of the value (`docker run --env-file` does not remove them)';

export type Config = ReturnType<typeof buildConfig>;
type BuildParts = {
  routes: readonly ResourceServer[];
  notices: readonly string[];
  host: HostApp | undefined;
};

/**
 * The configuration in `env` and in the files that it names. An empty variable is the same as none. A
 * variable that is not set has the value of the preset, else its default.
 * @throws ConfigError with every problem
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>, host?: HostApp): Config {
  const environment = readEnvironment(env);
  const problems = [...environment.problems];
  const values: Partial<Record<Variable, unknown>> = {};
  const notices = [...environment.notices, ...findUnknownVariables(env)];
  const settings = applyPreset(environment.set);
  for (const variable of variables.filter((each) => !problems.some((problem) => problem.variable === each))) {
    const source = environment.fromFile.has(variable)
      ? `(in the file that ${nameFileVariable(variable)} names) `
      : '';
    const report = (message: string) => problems.push({ variable, message: source + message });
    if (/^(["']).*\1$/s.test(settings[variable] ?? '')) {
      report(quotedMessage);
      continue;
    }
    const result = fields[variable].type.safeParse(settings[variable]);
    if (result.success) values[variable] = result.data;
    else report(result.error.issues[0]?.message ?? 'is invalid');
  }
  // These checks also run when variables are invalid, so that the operator sees every problem at once.
  const invalid = new Set(problems.map(({ variable }) => variable));
  problems.push(
    ...checkCrossFieldRules(values as Partial<Values>, host).filter(({ variable }) => !invalid.has(variable)),
  );
  const { routes, problems: routeProblems } = readRoutes(
    values as Partial<Values>,
    invalid.has('OAUTH2_API_BASE_URL'),
  );
  const isNotYetReported = ({ variable }: ConfigProblem) =>
    !problems.some((each) => each.variable === variable);
  problems.push(...routeProblems.filter(isNotYetReported));
  if (problems.length > 0) throw new ConfigError(problems, notices);
  return buildConfig(values as Values, { routes, notices, host });
}

/** The route table of `API_ROUTES_FILE`, else that of the preset, else the default one. */
function readRoutes(
  values: Partial<Values>,
  isBaseInvalid: boolean,
): {
  routes: readonly ResourceServer[];
  problems: readonly ConfigProblem[];
} {
  const file = values.API_ROUTES_FILE;
  const base = values.OAUTH2_API_BASE_URL;
  if (file === undefined && !base)
    return {
      routes: [],
      problems: [
        { variable: 'OAUTH2_API_BASE_URL', message: 'is missing (set it, or set API_ROUTES_FILE instead)' },
      ],
    };
  const reject = (...messages: readonly string[]) => ({
    routes: [],
    problems: messages.map((message): ConfigProblem => ({ variable: 'API_ROUTES_FILE', message })),
  });
  const preset = values.OAUTH2_PROVIDER && presets[values.OAUTH2_PROVIDER];
  const ownTable = preset ? { routes: preset.routes } : defaultRouteTable;
  const source = file === undefined ? { json: ownTable, lineOf: undefined } : readRoutesFile(file);
  if ('problem' in source) return reject(source.problem);
  const { routes, problems } = readRouteTable(source.json, {
    ...getRouteOptions(values),
    ...(isBaseInvalid && { base: new URL('https://invalid') }), // the other problems of the table are still reported
    lineOf: source.lineOf,
  });
  return problems.length === 0
    ? { routes, problems: [] }
    : reject(...problems.map((each) => `is invalid: ${each}`));
}

/** What the rows of a route table depend on. */
function getRouteOptions(values: Partial<Values>): RouteTableOptions {
  return {
    base: values.OAUTH2_API_BASE_URL,
    allowHttp: (target) => isLoopback(target) || values.OAUTH2_ALLOW_HTTP === true,
    tokenRefusedStatuses: values.OAUTH2_DEVIATIONS?.includes('expired-is-403') ? [401, 403] : [401],
  };
}

/**
 * The names of the cookies. With the prefix `__Host-Http-`, only a response of this host over https can set them
 * (RFC 6265bis 4.1.3.2); browsers that do not know `__Host-Http-` apply the rules of `__Host-`. Cookies do not depend
 * on the port, and those prefixes require `Path=/`, so a port other than the default and the base path are part of the
 * name, for apps that share a host. The base path is last, with `+`, which no base path contains, in place of slashes.
 */
function nameCookies(redirectUri: URL, secure: boolean) {
  const { port } = redirectUri;
  const name = `${secure ? '__Host-Http-' : ''}latchkey${port && `-${port}`}`;
  const suffix = readBasePath(redirectUri).replaceAll('/', '+');
  const named = (what: string) => name + what + suffix;
  return { name: named(''), loginName: named('-login'), flashName: named('-flash') };
}

function buildConfig(values: Values, { routes, notices, host }: BuildParts) {
  const redirectUri = values.OAUTH2_REDIRECT_URI;
  const basePath = readBasePath(redirectUri);
  const secure = values.SESSION_COOKIE_SECURE ?? redirectUri.protocol === 'https:';
  const registration = hashRegistration({
    issuer: values.OAUTH2_ISSUER,
    endpoints: { token_endpoint: values.OAUTH2_TOKEN_URL?.href },
    clientId: values.OAUTH2_CLIENT_ID,
  });
  const appProvider = buildAppProvider(values);
  return {
    production: values.NODE_ENV === 'production',
    host: values.HOST,
    port: values.PORT,
    metricsPort: values.METRICS_PORT,
    metricsHost: values.METRICS_HOST,
    shutdownDelaySeconds: values.SHUTDOWN_DELAY_SECONDS,
    trustProxy: values.TRUST_PROXY as
      | number
      | readonly string[]
      | ((address: string, hop: number) => boolean),
    ...readLogSettings(values),
    /** Every setting without secrets, for the log. */
    described: describeValues(values),
    /** The origin at which browsers reach this app; never taken from a request. */
    publicOrigin: redirectUri.origin,
    /** The path below which the whole app is: `/portal`, or `''`. */
    basePath,
    /** The public origin and the base path: the beginning of every address of this app. */
    publicUrl: redirectUri.origin + basePath,
    allowedHosts: values.ALLOWED_HOSTS as readonly string[],
    hsts: { isSent: secure, includeSubDomains: values.HSTS_INCLUDE_SUBDOMAINS },
    brand: {
      name: values.APP_NAME,
      tagline: values.APP_TAGLINE,
      logoUrl: values.APP_LOGO_URL.replace(/^\//, `${basePath}/`),
      providerLogoUrl: values.OAUTH2_PROVIDER_LOGO_URL.replace(/^\//, `${basePath}/`),
    },
    viewsFolder: values.VIEWS_DIR,
    pages: readPageSettings(values),
    frontEnd: readFrontEndSettings(values),
    landingPath: readFrontEndSettings(values) ? paths.home : paths.profile, // of a login without an address
    provider: {
      /** The provider's name on the pages. */
      name: values.OAUTH2_PROVIDER_NAME ?? getProviderHost(values),
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
      /** One, or two during a rotation. */
      clientSecrets: listSecrets(values.OAUTH2_CLIENT_SECRET, values.OAUTH2_CLIENT_SECRET_NEXT),
      clientAuth: values.OAUTH2_CLIENT_AUTH,
      redirectUri,
      scopes: values.OAUTH2_SCOPES as readonly string[],
      /** Additional parameters of the authorization request, and of every token request. */
      authorizationParameters: values.OAUTH2_AUTHORIZATION_PARAMS,
      tokenParameters: values.OAUTH2_TOKEN_PARAMS,
      /** Where the claims are in a userinfo response that is not OpenID Connect. */
      userinfoClaims: values.OAUTH2_USERINFO_CLAIMS,
      deviations: values.OAUTH2_DEVIATIONS as readonly DeviationName[],
      clockToleranceSeconds: values.OAUTH2_CLOCK_TOLERANCE_SECONDS,
      /** What the redirect to the end-session endpoint says about the user. */
      logoutHint: values.OAUTH2_LOGOUT_HINT,
      isLogoutSidRequired: values.OAUTH2_BACKCHANNEL_LOGOUT_SESSION_REQUIRED,
    },
    access: readAccessSettings(values, routes as Parameters<typeof readAccessSettings>[1]),
    loginConfirm: values.LOGIN_CONFIRM,
    /** The routes under `/api`; the first that matches a request is used. */
    routes,
    /** For the routes in code. */
    routeOptions: getRouteOptions(values),
    app: {
      provider: appProvider,
      /** The client registration that gets the app tokens. */
      registration: appProvider ? hashRegistration(appProvider) : registration,
      /** The scopes to request for an app token when a route lists none. */
      scopes: values.OAUTH2_APP_SCOPES as readonly string[],
    },
    session: {
      /** The first signs and seals; all verify and unseal. */
      secrets: values.SESSION_SECRET as readonly Secret[],
      /** The client registration with which the users sign in. */
      registration,
      cookie: {
        ...nameCookies(redirectUri, secure),
        secure,
        sameSite: values.SESSION_COOKIE_SAMESITE,
      },
      idleSeconds: values.SESSION_IDLE_SECONDS,
      absoluteSeconds: values.SESSION_ABSOLUTE_SECONDS,
      cacheMs: values.SESSION_CACHE_MS,
    },
    /** Other origins whose scripts may send requests with the user's session. */
    corsOrigins: values.CORS_ORIGINS as readonly string[],
    /** Where a login may lead to, besides everything below `publicUrl`. */
    returnOrigins: values.CORS_ORIGINS as readonly string[],
    /** Maximum requests to the login and session endpoints per minute and session or address; 0 means no limit. */
    authRateLimit: values.AUTH_RATE_LIMIT,
    limits: readLimits(values),
    redis: buildRedisSettings(values, host?.redisClient !== undefined),
    /** Messages to log at startup. */
    warnings: [...notices, ...collectWarnings(values)],
  };
}
