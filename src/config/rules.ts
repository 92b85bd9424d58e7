import { paths } from '../paths.ts';
import { isLoopback } from './field-types.ts';
import type { ConfigProblem, Values, Variable } from './fields.ts';
import { checkFrontEndRules } from './front-end/rules.ts';
import { readBasePath } from './reading/base-path.ts';
import { parseRedisUrl } from './redis-url.ts';
import { usesIdTokens } from './warnings.ts';

/** The app that Latchkey is part of: it listens itself, and may terminate TLS. */
export interface HostApp {
  /** What its client connects to, if it has one for Latchkey; `REDIS_URL` is not used then. */
  readonly redisClient?: 'server' | 'cluster' | undefined;
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
/** Each of these configures a client for app tokens that is not the users' client. */
const separateAppClientVariables = [
  'OAUTH2_APP_ISSUER',
  'OAUTH2_APP_TOKEN_URL',
  'OAUTH2_APP_CLIENT_ID',
  'OAUTH2_APP_CLIENT_SECRET',
  'OAUTH2_APP_CLIENT_SECRET_NEXT',
  'OAUTH2_APP_CLIENT_AUTH',
] as const;

/** Parameters whose effect is checked. */
const requirementNames = new Set(['acr_values', 'max_age']);
const secretVariables = [
  'SESSION_SECRET',
  'OAUTH2_CLIENT_SECRET',
  'OAUTH2_CLIENT_SECRET_NEXT',
  'OAUTH2_APP_CLIENT_SECRET',
  'OAUTH2_APP_CLIENT_SECRET_NEXT',
] as const;

/** The problems of values that are valid on their own but not together. Any value may be missing. */
export function checkCrossFieldRules(values: Partial<Values>, host?: HostApp): ConfigProblem[] {
  const problems: ConfigProblem[] = checkFrontEndRules(values);
  const report = (variable: Variable, message: string) => problems.push({ variable, message });
  const redirectUri = values.OAUTH2_REDIRECT_URI;
  const https = redirectUri?.protocol === 'https:';
  const secure = values.SESSION_COOKIE_SECURE ?? https;

  if (!values.OAUTH2_ISSUER) {
    if (!values.OAUTH2_AUTHORIZATION_URL && !values.OAUTH2_TOKEN_URL) {
      if (values.OAUTH2_PROVIDER)
        report(
          'OAUTH2_API_BASE_URL',
          `is required with OAUTH2_PROVIDER=${values.OAUTH2_PROVIDER}: its endpoints are relative to this URL`,
        );
      else
        report(
          'OAUTH2_ISSUER',
          'is missing (set it, or set both OAUTH2_AUTHORIZATION_URL and OAUTH2_TOKEN_URL)',
        );
    } else if (!values.OAUTH2_AUTHORIZATION_URL)
      report(
        'OAUTH2_AUTHORIZATION_URL',
        'is required when OAUTH2_TOKEN_URL is set (or set OAUTH2_ISSUER instead)',
      );
    else if (!values.OAUTH2_TOKEN_URL)
      report(
        'OAUTH2_TOKEN_URL',
        'is required when OAUTH2_AUTHORIZATION_URL is set (or set OAUTH2_ISSUER instead)',
      );
  }
  if (values.OAUTH2_USERINFO_CLAIMS && !values.OAUTH2_ISSUER && !values.OAUTH2_USERINFO_URL)
    report('OAUTH2_USERINFO_URL', 'is required when OAUTH2_USERINFO_CLAIMS is set without OAUTH2_ISSUER');
  const first = separateAppClientVariables.find((variable) => values[variable] !== undefined);
  for (const variable of ['OAUTH2_APP_CLIENT_ID', 'OAUTH2_APP_CLIENT_SECRET'] as const)
    if (first && values[variable] === undefined) report(variable, `is required when ${first} is set`);
  for (const variable of mustBeHttps) {
    const value = values[variable];
    if (value?.protocol === 'http:' && !isLoopback(value) && !values.OAUTH2_ALLOW_HTTP)
      report(variable, 'must be https, unless its host is this machine or OAUTH2_ALLOW_HTTP is true');
  }
  for (const message of findUnreadableRequirements(values.OAUTH2_AUTHORIZATION_PARAMS ?? []))
    report('OAUTH2_AUTHORIZATION_PARAMS', message);
  const unverifiable = values.OAUTH2_AUTHORIZATION_PARAMS?.find(([name]) => requirementNames.has(name));
  if (unverifiable && !usesIdTokens(values))
    report(
      'OAUTH2_AUTHORIZATION_PARAMS',
      `sets ${unverifiable[0]}, which only an ID token can confirm: set OAUTH2_ISSUER, and add openid to OAUTH2_SCOPES`,
    );
  for (const origin of values.CORS_ORIGINS ?? []) {
    const isHttp = origin.startsWith('http:') && !isLoopback(new URL(origin));
    if (isHttp && !values.OAUTH2_ALLOW_HTTP)
      report('CORS_ORIGINS', 'must be https, unless its host is this machine or OAUTH2_ALLOW_HTTP is true');
    else if (origin === redirectUri?.origin && readBasePath(redirectUri) === '')
      report('CORS_ORIGINS', "must not include this app's own origin, that of OAUTH2_REDIRECT_URI");
  }
  const basePath = redirectUri && readBasePath(redirectUri);
  if (basePath !== undefined && values.BASE_PATH !== undefined && values.BASE_PATH !== basePath)
    report(
      'BASE_PATH',
      `must be the path that OAUTH2_REDIRECT_URI has before ${paths.callback}, which is ${basePath || '/'}; without a value it is`,
    );
  if (redirectUri && secure && !https)
    report(
      'SESSION_COOKIE_SECURE',
      'cannot be true while OAUTH2_REDIRECT_URI is http: browsers would reject the cookie',
    );
  if (https && secure && values.TRUST_PROXY === 0 && !host)
    report(
      'TRUST_PROXY',
      'must identify the proxy that terminates TLS: without it, no secure cookie can be set for the https OAUTH2_REDIRECT_URI',
    );
  if (values.OAUTH2_API_BASE_URL?.search)
    report(
      'OAUTH2_API_BASE_URL',
      'must not contain a query string: put it into the targets of API_ROUTES_FILE',
    );
  if (values.METRICS_PORT && values.METRICS_PORT === values.PORT)
    report('METRICS_PORT', 'must differ from PORT');
  if ((values.SESSION_IDLE_SECONDS ?? 0) > (values.SESSION_ABSOLUTE_SECONDS ?? Number.POSITIVE_INFINITY))
    report('SESSION_IDLE_SECONDS', 'must not be greater than SESSION_ABSOLUTE_SECONDS');
  const redis = values.REDIS_URL && parseRedisUrl(values.REDIS_URL.reveal());
  if (values.REDIS_WAIT_REPLICAS && (host?.redisClient ?? redis?.kind) === 'cluster')
    // WAIT has no key, so a cluster client may send it to another node than the write.
    report('REDIS_WAIT_REPLICAS', 'is not supported with Redis Cluster');
  if (values.REDIS_SENTINEL_USERNAME && !values.REDIS_SENTINEL_PASSWORD)
    report('REDIS_SENTINEL_PASSWORD', 'is required when REDIS_SENTINEL_USERNAME is set');
  if (values.REDIS_SENTINEL_PASSWORD && redis && redis.kind !== 'sentinel')
    report(
      'REDIS_SENTINEL_PASSWORD',
      'is used only with redis+sentinel:// or rediss+sentinel:// in REDIS_URL',
    );
  if (values.NODE_ENV === 'production' && !values.REDIS_URL && !host?.redisClient)
    report(
      'REDIS_URL',
      `is required when NODE_ENV is production${host ? ', or the option redis' : ''}: sessions must survive a restart`,
    );
  for (const variable of secretVariables) {
    const isDemo = [values[variable] ?? []].flat().some((each) => each.reveal().startsWith('demo-only'));
    if (isDemo && redirectUri && !isLoopback(redirectUri))
      report(variable, 'is the public demo value; use your own unless the app runs on localhost');
  }
  return problems;
}

/** Requirements that Latchkey could send but not check, so that nobody would notice that they are not met. */
function findUnreadableRequirements(parameters: readonly (readonly [string, string])[]): string[] {
  return [...requirementNames].flatMap((name) => {
    const given = parameters.filter(([each]) => each === name);
    if (given.length > 1) return [`must not set ${name} twice`];
    const isRead = given.every(([, value]) =>
      name === 'max_age'
        ? /^\d{1,9}$/.test(value)
        : /^[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*$/.test(value) && value.length <= 300,
    );
    if (isRead) return [];
    return [
      name === 'max_age'
        ? 'must set max_age to a whole number of seconds'
        : 'must set acr_values to at most 300 characters, values separated by one space (+ or %20)',
    ];
  });
}
