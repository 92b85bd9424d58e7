import { BlockList, isIP } from 'node:net';
import { isLoopback } from './field-types.ts';
import type { Values } from './fields.ts';
import { parseRedisUrl } from './redis-url.ts';

const plainCookieRisk =
  'the cookies may be sent unencrypted, and they lack the prefix __Host-Http-, so that another app on this host or a sibling host can replace the login cookie and sign users in to an account of its choice (login CSRF)';

/** Log messages about settings that are allowed but dangerous, or probably not meant; never with a value. */
export function collectWarnings(values: Values): string[] {
  const redirectUri = values.OAUTH2_REDIRECT_URI;
  const warnings: string[] = [];
  if (values.OAUTH2_ALLOW_HTTP)
    warnings.push(
      'OAUTH2_ALLOW_HTTP is true: tokens may be sent unencrypted; use it on private networks only',
    );
  if (!isLoopback(redirectUri)) {
    if (redirectUri.protocol === 'http:') warnings.push(`OAUTH2_REDIRECT_URI is http: ${plainCookieRisk}`);
    else if (values.SESSION_COOKIE_SECURE === false)
      warnings.push(`SESSION_COOKIE_SECURE is false: ${plainCookieRisk}`);
  }
  if (values.OAUTH2_JWKS_URL && !usesIdTokens(values))
    warnings.push(
      'OAUTH2_JWKS_URL has no effect: ID tokens are used only with OAUTH2_ISSUER and the scope openid in OAUTH2_SCOPES',
    );
  for (const variable of ['OAUTH2_CLIENT_SECRET', 'OAUTH2_APP_CLIENT_SECRET'] as const)
    if (values[variable]?.reveal().includes(',') && values[`${variable}_NEXT`] === undefined)
      warnings.push(
        `${variable} contains a comma and is used as one secret; during a rotation, set the second secret as ${variable}_NEXT`,
      );
  if (values.NODE_ENV === 'production' && values.REDIS_URL && isOpenRedis(values.REDIS_URL.reveal()))
    warnings.push(
      'REDIS_URL has neither a password nor TLS (rediss://), and its host is not on a private network: anyone who reaches it can end and replace sessions',
    );
  return warnings;
}

/** False without an issuer, to compare the ID token's with, and without the scope that requests an ID token. */
export function usesIdTokens({
  OAUTH2_ISSUER: issuer,
  OAUTH2_SCOPES: scopes,
}: Pick<Partial<Values>, 'OAUTH2_ISSUER' | 'OAUTH2_SCOPES'>): boolean {
  return issuer !== undefined && (scopes?.includes('openid') ?? false);
}

/** True for a Redis on the internet, or in a network that does not look private, that anyone may use. */
function isOpenRedis(url: string): boolean {
  const target = parseRedisUrl(url);
  if (!target || target.tls || target.password !== undefined) return false;
  return target.nodes.some(({ host }) => !isPrivateHost(host));
}

const privateNetworks = new BlockList();
for (const [network, bits] of [
  ...([
    ['127.0.0.0', 8],
    ['10.0.0.0', 8],
    ['172.16.0.0', 12],
    ['192.168.0.0', 16],
    ['169.254.0.0', 16],
  ] as const),
  ...([
    ['100.64.0.0', 10],
    ['::1', 128],
    ['fc00::', 7],
    ['fe80::', 10],
  ] as const),
])
  privateNetworks.addSubnet(network, bits, isIP(network) === 4 ? 'ipv4' : 'ipv6');

/** True for an address or a name of this machine or a private network, such as a docker service (`redis`). */
function isPrivateHost(host: string): boolean {
  const version = isIP(host);
  if (version !== 0) return privateNetworks.check(host, version === 4 ? 'ipv4' : 'ipv6');
  return !host.includes('.') || /\.(localhost|local|internal)\.?$/i.test(host);
}
