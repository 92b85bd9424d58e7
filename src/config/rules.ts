import { isLoopback } from './field-types.ts';
import type { ConfigProblem, Values, Variable } from './fields.ts';
import { parseRedisUrl } from './redis-url.ts';
import { usesIdTokens } from './warnings.ts';

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
export function checkCrossFieldRules(values: Partial<Values>): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
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
    else if (origin === redirectUri?.origin)
      report('CORS_ORIGINS', "must not include this app's own origin, that of OAUTH2_REDIRECT_URI");
  }
  if (redirectUri && secure && !https)
    report(
      'SESSION_COOKIE_SECURE',
      'cannot be true while OAUTH2_REDIRECT_URI is http: browsers would reject the cookie',
    );
  if (https && secure && values.TRUST_PROXY === 0)
    report(
      'TRUST_PROXY',
      'must identify the proxy that terminates TLS: without it, no secure cookie can be set for the https OAUTH2_REDIRECT_URI',
    );
  if ((values.SESSION_IDLE_SECONDS ?? 0) > (values.SESSION_ABSOLUTE_SECONDS ?? Number.POSITIVE_INFINITY))
    report('SESSION_IDLE_SECONDS', 'must not be greater than SESSION_ABSOLUTE_SECONDS');
  if (
    values.REDIS_WAIT_REPLICAS &&
    values.REDIS_URL &&
    parseRedisUrl(values.REDIS_URL.reveal())?.kind === 'cluster'
  )
    // WAIT has no key, so a cluster client may send it to another node than the write.
    report('REDIS_WAIT_REPLICAS', 'is not supported with Redis Cluster');
  if (values.NODE_ENV === 'production' && !values.REDIS_URL)
    report('REDIS_URL', 'is required when NODE_ENV is production: sessions must survive a restart');
  for (const variable of secretVariables) {
    const isDemo = [values[variable] ?? []].flat().some((each) => each.reveal().startsWith('demo-only'));
    if (isDemo && redirectUri && !isLoopback(redirectUri))
      report(variable, 'is the public demo value; use your own unless the app runs on localhost');
  }
  return problems;
}

const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
/** Headers of the connection, and those that Latchkey sets. */
const reservedHeaderNames =
  /^(host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-length|expect|cookie|sec-websocket-.*)$/;
/** Headers of a caller that would be credentials, or would make the request another one. */
const refusedCallerHeaderNames =
  /^(authorization|cookie2|latchkey-.*|x-request-id|x-http-method|x-(http-)?method-override|x-original-(url|method|uri)|x-rewrite-url)$/;
const addressHeaderNames =
  /^(forwarded|x-forwarded-.*|x-real-ip|x-client-ip|true-client-ip|.*-connecting-ip)$/;

/** The members of a row of the route table that name headers. */
interface HeaderMembers {
  readonly token: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly requestHeaders: readonly string[];
  readonly forwardedFor: boolean;
}

/** The problems of the headers in a row of the route table: the member, and the message. */
export function findHeaderProblems(row: HeaderMembers): [member: string, message: string][] {
  const problems: [string, string][] = [];
  const fixed = new Set<string>();
  for (const name of Object.keys(row.headers)) {
    const normalized = name.toLowerCase();
    fixed.add(normalized);
    if (!headerName.test(name) || reservedHeaderNames.test(normalized))
      problems.push(['headers', `cannot set ${JSON.stringify(name)}`]);
    if (normalized === 'authorization' && row.token !== 'none')
      problems.push([
        'headers',
        'cannot set Authorization unless "token" is "none": that header carries the access token',
      ]);
  }
  if (row.forwardedFor && fixed.has('x-forwarded-for'))
    problems.push(['forwardedFor', 'cannot be true while headers sets X-Forwarded-For']);
  for (const name of row.requestHeaders) {
    const normalized = name.toLowerCase().replaceAll('_', '-'); // some servers treat _ as -
    const isRefused = reservedHeaderNames.test(normalized) || refusedCallerHeaderNames.test(normalized);
    if (!headerName.test(name) || isRefused)
      problems.push(['requestHeaders', `cannot name ${JSON.stringify(name)}`]);
    else if (addressHeaderNames.test(normalized))
      problems.push([
        'requestHeaders',
        `cannot name ${JSON.stringify(name)}, which any caller could set; "forwardedFor": true sends the real address`,
      ]);
    else if (fixed.has(name.toLowerCase()))
      problems.push(['requestHeaders', `names ${JSON.stringify(name)}, which headers sets`]);
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
