import { isLoopback } from './field-types.ts';
import type { Fault, Values, Variable } from './fields.ts';
import { parseRedisUrl } from './redis-url.ts';

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
const separateAppClientVariables = [
  'OAUTH2_APP_ISSUER',
  'OAUTH2_APP_TOKEN_URL',
  'OAUTH2_APP_CLIENT_ID',
  'OAUTH2_APP_CLIENT_SECRET',
  'OAUTH2_APP_CLIENT_AUTH',
] as const;

/** What is wrong with values that are each right by themselves; what is missing is passed over. */
export function checkCrossFieldRules(values: Partial<Values>): Fault[] {
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
  const first = separateAppClientVariables.find((variable) => values[variable] !== undefined);
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
