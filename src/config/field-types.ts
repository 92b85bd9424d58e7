import { BlockList, isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { Secret } from '../crypto/secret.ts';
import { deviationNames } from './presets.ts';
import { readRedisUrl } from './redis-url.ts';

/** A variable. `docs/configuration.md` and `.env.example` are generated from `meaning` and `unset`. */
export interface Field {
  readonly type: z.ZodType;
  /** Shown with every problem of this variable. */
  readonly example: string;
  readonly meaning: string;
  /** What an empty variable means: the default in words, or `required`. */
  readonly unset: string;
  /** The value can also be in a file, which the variable with the suffix `_FILE` names. */
  readonly isSecret?: true;
}

/** For each claim, the paths at which it may be (`images.0.url`); the first that exists is used. */
export type ClaimMap = Readonly<Record<string, readonly string[]>>;

const maxCookieSeconds = 34_560_000;
const maxProxies = 10;
const loopbackHosts = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** True when the URL's host is this machine. */
export function isLoopback(value: URL): boolean {
  return loopbackHosts.test(value.hostname);
}

export const url = z
  .url({ protocol: /^https?$/, error: 'must be a URL beginning with https:// or http://' })
  .transform((value) => new URL(value))
  .refine(
    (value) => !value.username && !value.password && !value.hash,
    'must not contain credentials or a fragment',
  );

export const issuer = url.refine(
  (value) => !value.search,
  'must not contain a query string (OpenID Connect Discovery 3)',
);

/** One of `values`, which are lower case; the variable may be in any case. */
export function choice<const T extends readonly string[]>(values: T, message: string) {
  return z
    .string()
    .transform((value) => value.toLowerCase())
    .pipe(z.enum(values, message));
}

export const flag = choice(['true', 'false'], 'must be true or false').transform((value) => value === 'true');

export const seconds = z.coerce
  .number('must be a number of seconds')
  .int('must be a whole number of seconds')
  .min(1, 'must be at least 1')
  .max(
    maxCookieSeconds,
    `must be at most ${maxCookieSeconds} (400 days, the longest that browsers keep a cookie)`,
  );

export const clockTolerance = z.coerce
  .number('must be a number of seconds')
  .int('must be a whole number of seconds')
  .min(0, 'must be 0 or greater')
  .max(600, 'must be at most 600: set the clock instead');

export const count = z.coerce
  .number('must be a number')
  .int('must be a whole number')
  .min(0, 'must be 0 or greater');

export const port = z.coerce.number('must be a port number').int().min(0).max(65535);

export const shutdownDelay = count.max(600, 'must be at most 600');

/** The platform names that conda and tcsh put into HOST. */
const platformName = /^(x86_64|aarch64|arm64|i[3-6]86|ppc64le|s390x|riscv64)-/i;

/** An address or host name to listen on, as Node accepts it. */
export const host = z
  .string()
  .refine(
    (value) => !platformName.test(value),
    'is the name of a platform, as conda and tcsh set it. A variable that is set overrides .env: unset it, or start with the address to listen on',
  )
  .refine(
    (value) => isIP(value) !== 0 || /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i.test(value),
    'must be an IP address or a host name, without a scheme, port or brackets',
  );

/** Where the audit log is written. A relative path would depend on the folder in which the process was started. */
export const auditDestination = z
  .string()
  .refine(
    (value) => /^(log|stdout|none)$/i.test(value) || isAbsolute(value),
    'must be log, stdout, none, or the absolute path of a file',
  )
  .transform((value) =>
    isAbsolute(value) ? { file: value } : (value.toLowerCase() as 'log' | 'stdout' | 'none'),
  );

/** A logo that browsers load: neither the content security policy nor https blocks it. */
export const logo = z
  .string()
  .refine(
    (value) => /^\/(?![/\\])/.test(value) || (URL.canParse(value) && new URL(value).protocol === 'https:'),
    'must be an https:// URL or an absolute path on this app, such as /auth/assets/logo.svg',
  );

export const origins = z
  .string()
  .transform((value) => value.split(',').map((each) => each.trim()))
  .refine(
    (values) => values.every(isOrigin),
    'must be origins separated by commas, each exactly as browsers send it: scheme, host and port, no path, no *',
  );

/** True for the form of a browser's `Origin` header: lower case, no default port, nothing after the port. */
function isOrigin(value: string): boolean {
  return /^https?:\/\/[^*]+$/.test(value) && URL.canParse(value) && new URL(value).origin === value;
}

export const hosts = z
  .string()
  .transform((value) => value.split(',').map((each) => each.trim().toLowerCase()))
  .refine(
    (values) => values.every((each) => /^([a-z\d_-]+(\.[a-z\d_-]+)*|\[[\da-f:.]+\])$/.test(each)),
    'must be host names separated by commas, without scheme, port and path',
  );

export const scopes = z
  .string()
  .regex(/^[\x21\x23-\x5B\x5D-\x7E]+( +[\x21\x23-\x5B\x5D-\x7E]+)*$/, 'must be scopes separated by spaces')
  .transform((value) => value.split(/ +/));

/** Parameters that Latchkey sets itself, and those that would put a secret into a URL. */
const protocolParameters = new Set([
  ...['response_type', 'response_mode', 'redirect_uri', 'scope', 'state', 'nonce', 'request', 'request_uri'],
  ...['code_challenge', 'code_challenge_method', 'grant_type', 'code', 'code_verifier', 'refresh_token'],
  ...['client_id', 'client_secret', 'client_assertion', 'client_assertion_type'],
]);

export const parameters = z
  .string()
  .regex(/^[^=&?#\s]+=[^=&#\s]*(&[^=&?#\s]+=[^=&#\s]*)*$/, 'must be a query string: name=value&name=value')
  .transform((value) => [...new URLSearchParams(value)])
  .superRefine((pairs, context) => {
    const reserved = pairs.find(([name]) => protocolParameters.has(name));
    if (reserved)
      context.addIssue({
        code: 'custom',
        message: `must not set ${reserved[0]}: the parameter is reserved (set by Latchkey, or not allowed in a URL)`,
      });
  });

const claimPair = /^(sub|name|email|picture)=[\w-]+(\.[\w-]+)*(\|[\w-]+(\.[\w-]+)*)*$/;
export const claimMap = z
  .string()
  .transform((value) => value.split(/ +/))
  .refine(
    (pairs) => pairs.every((pair) => claimPair.test(pair)),
    'must be space-separated claim=path pairs, such as sub=id name=display_name: the claim is sub, name, email or picture, and the path leads into the userinfo response',
  )
  .transform(
    (pairs): ClaimMap =>
      Object.fromEntries(
        pairs.map((pair) => pair.split('=')).map(([claim, at = '']) => [claim, at.split('|')]),
      ),
  );

export const deviations = z
  .string()
  .transform((value) => value.toLowerCase().split(/ +/))
  .pipe(z.array(z.enum(deviationNames, `must be one or more of: ${deviationNames.join(' ')}`)));

export const clientAuth = choice(
  ['client_secret_basic', 'client_secret_post'],
  'must be client_secret_basic or client_secret_post',
);

export const redisUrl = z
  .string()
  .superRefine((value, context) => {
    const target = readRedisUrl(value);
    if (typeof target === 'string') context.addIssue({ code: 'custom', message: target });
  })
  .transform((value) => new Secret(value));

/** Neither a pattern of an ACL (`*`, `?`, `[`) nor a hash tag of a cluster (`{`). */
export const keyPrefix = z
  .string()
  .regex(/^[\w.:/-]{1,64}$/, 'must be up to 64 letters, digits and the characters _ . : / -');

export const password = z.string().transform((value) => new Secret(value));

export const trustedProxies = z
  .string()
  .transform((value) => value.toLowerCase())
  .refine(
    (value) => value !== 'true',
    'must be the number of proxies, or their addresses; "true" would trust every client',
  )
  .refine(
    (value) => /^(\d+|false)$/.test(value) || value.split(',').every((each) => isProxy(each.trim())),
    'must be the number of proxies, or their addresses: 10.1.2.3, 10.0.0.0/8, loopback, linklocal, uniquelocal',
  )
  .refine(
    (value) => !/^\d+$/.test(value) || Number(value) <= maxProxies,
    `must be at most ${maxProxies} as a number of proxies: with a number greater than that of your proxies, clients choose the address that Latchkey sees`,
  )
  .refine(
    (value) => value.split(',').every((each) => !isPublicNetwork(each.trim())),
    'must name your own proxies: a network larger than a /8 (IPv6: a /7) includes addresses of clients, and each of them would be trusted',
  )
  .transform((value): number | readonly string[] =>
    /^\d+$/.test(value) ? Number(value) : value === 'false' ? 0 : value.split(',').map((each) => each.trim()),
  );

/** True for an address, a network, or a name that Express knows. */
function isProxy(value: string): boolean {
  const [address = '', bits, ...rest] = value.split('/');
  if (/^(loopback|linklocal|uniquelocal)$/.test(value)) return true;
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}

/** True for a network larger than every private one (10.0.0.0/8, fc00::/7), or an IPv6 one that includes all of IPv4. */
function isPublicNetwork(value: string): boolean {
  const [address = '', length] = value.split('/');
  if (length === undefined || !isProxy(value)) return false;
  const bits = Number(length);
  if (isIP(address) === 4) return bits < 8;
  const network = new BlockList();
  network.addSubnet(address, bits, 'ipv6');
  const includesMappedIPv4 =
    network.check('::ffff:0.0.0.1', 'ipv6') && network.check('::ffff:255.0.0.1', 'ipv6');
  return (
    bits < 7 ||
    includesMappedIPv4 ||
    (new URL(`http://[${address}]`).hostname.startsWith('[::ffff:') && bits < 96 + 8)
  );
}
