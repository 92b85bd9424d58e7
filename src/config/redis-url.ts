/** A parsed `REDIS_URL`: one server, the master that sentinels know as `name`, or a cluster. */
export interface RedisTarget {
  readonly kind: 'server' | 'sentinel' | 'cluster';
  /** Empty for a Unix socket. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  readonly socketPath?: string;
  readonly name: string;
  readonly tls: boolean;
  readonly database: number;
  /** Connect by IPv4 or IPv6 only. */
  readonly family?: 4 | 6;
  readonly username?: string;
  readonly password?: string;
}

const schemes: ReadonlyMap<string, Pick<RedisTarget, 'kind' | 'tls'> & { readonly isSocket?: boolean }> =
  new Map([
    ['redis', { kind: 'server', tls: false }],
    ['rediss', { kind: 'server', tls: true }],
    ['redis+sentinel', { kind: 'sentinel', tls: false }],
    ['rediss+sentinel', { kind: 'sentinel', tls: true }],
    ['redis+cluster', { kind: 'cluster', tls: false }],
    ['rediss+cluster', { kind: 'cluster', tls: true }],
    ['unix', { kind: 'server', tls: false, isSocket: true }],
  ]);
const defaultPorts = { server: 6379, sentinel: 26_379, cluster: 6379 } as const;
const nodePattern = /^(?<host>\[[^\]]+\]|[^:[\]]+)(?::(?<port>\d{1,5}))?$/;

const formsMessage =
  'must be one of: redis://host:port/database | redis+sentinel://host:port,host:port/name | redis+cluster://host:port,host:port (each with rediss instead of redis for TLS) | unix:///path/to/socket';
const encodingMessage =
  'must percent-encode special characters in the user and the password: @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25, [ as %5B, ] as %5D, a space as %20';

/** Thrown and caught in this file; the message completes a sentence that begins with `REDIS_URL`. */
class RedisUrlError extends Error {}

/** The target of `REDIS_URL`, or what is wrong with it: a message that never contains a part of the URL. */
export function readRedisUrl(url: string): RedisTarget | string {
  try {
    return read(url);
  } catch (error) {
    if (error instanceof RedisUrlError) return error.message;
    throw error;
  }
}

/** The target of `REDIS_URL`; `undefined` for every URL that is not valid. */
export function parseRedisUrl(url: string): RedisTarget | undefined {
  const target = readRedisUrl(url);
  return typeof target === 'string' ? undefined : target;
}

function read(url: string): RedisTarget {
  const { scheme = '', rest = '' } = /^(?<scheme>[a-z+]+):\/\/(?<rest>.*)$/i.exec(url)?.groups ?? {};
  const form = schemes.get(scheme.toLowerCase());
  if (!form) throw new RedisUrlError(formsMessage);
  const { kind, tls, isSocket = false } = form;
  const end = isSocket && rest.startsWith('/') ? -1 : rest.lastIndexOf('@');
  const credentials = end === -1 ? {} : readCredentials(rest.slice(0, end));
  const [address = '', query = ''] = rest.slice(end + 1).split(/\?(.*)/s);
  const { family, database } = readQuery(query, kind);
  const shared = { kind, tls, ...credentials, ...(family && { family }) };
  if (isSocket) {
    if (!/^\/[^#]*[^/#]$/.test(address)) throw new RedisUrlError(formsMessage);
    return { ...shared, nodes: [], name: '', socketPath: decode(address), database: database ?? 0 };
  }
  const { nodes = '', path = '' } = /^(?<nodes>[^/#]+)(?:\/(?<path>[^/#]*))?$/.exec(address)?.groups ?? {};
  const isPathValid =
    kind === 'sentinel' ? path !== '' : kind === 'cluster' ? /^0?$/.test(path) : /^\d*$/.test(path);
  if (!isPathValid) throw new RedisUrlError(formsMessage);
  if (kind === 'server' && path !== '' && database !== undefined)
    throw new RedisUrlError('must not contain two databases: /number and ?db=number');
  return {
    ...shared,
    nodes: readNodes(nodes, kind),
    name: kind === 'sentinel' ? path : '',
    database: database ?? (kind === 'server' ? Number(path) : 0),
  };
}

function readNodes(list: string, kind: RedisTarget['kind']): RedisTarget['nodes'] {
  const nodes = list.split(',').map((node) => {
    const { host = '', port = defaultPorts[kind] } = nodePattern.exec(node.trim())?.groups ?? {};
    return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
  });
  const isValid = nodes.every(({ host, port }) => host !== '' && port > 0 && port < 65_536);
  if (!isValid || (kind === 'server' && nodes.length > 1)) throw new RedisUrlError(formsMessage);
  return nodes;
}

function readCredentials(text: string): Pick<RedisTarget, 'username' | 'password'> {
  if (/[@/?#[\]\s]/.test(text)) throw new RedisUrlError(encodingMessage);
  const [user = '', password = ''] = text.split(/:(.*)/s).map(decode);
  if (user !== '' && password === '')
    throw new RedisUrlError(
      'has a user without a password: write user:password@, or :password@ without a user',
    );
  return { ...(user && { username: user }), ...(password && { password }) };
}

function readQuery(query: string, kind: RedisTarget['kind']) {
  const values: { family?: 4 | 6; database?: number } = {};
  for (const [name, value] of new URLSearchParams(query)) {
    if (name === 'family' && /^[46]$/.test(value)) values.family = value === '4' ? 4 : 6;
    else if (name === 'db' && kind !== 'cluster' && /^\d{1,5}$/.test(value)) values.database = Number(value);
    else
      throw new RedisUrlError(
        'has a parameter that is not supported: only ?family=4 or 6 (IPv4 or IPv6) and, except for a cluster, ?db=number; TLS is requested by rediss',
      );
  }
  return values;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RedisUrlError(encodingMessage);
  }
}
