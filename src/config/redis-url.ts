/** A parsed `REDIS_URL`: one server, the master that sentinels know as `name`, or a cluster. */
export interface RedisTarget {
  readonly kind: 'server' | 'sentinel' | 'cluster';
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  readonly name: string;
  readonly tls: boolean;
  readonly database: number;
  readonly username?: string;
  readonly password?: string;
}

const urlPattern =
  /^(?<scheme>rediss?|redis\+sentinel|redis\+cluster):\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<nodes>[^/@]+)(?:\/(?<path>[^/?#]*))?$/i;
const nodePattern = /^(?<host>\[[^\]]+\]|[^:]+)(?::(?<port>\d{1,5}))?$/;
const defaultPorts = { server: 6379, sentinel: 26_379, cluster: 6379 } as const;

/**
 * The target of `redis://`, `rediss://` (TLS), `redis+sentinel://host:port,host:port/name` or
 * `redis+cluster://host:port,...`, each optionally with `user:password@`; `undefined` for every other URL.
 */
export function parseRedisUrl(url: string): RedisTarget | undefined {
  const parts = urlPattern.exec(url)?.groups;
  if (!parts) return undefined;
  const { user, password, nodes = '', path = '' } = parts;
  const scheme = parts.scheme?.toLowerCase() ?? '';
  const kind = scheme.endsWith('sentinel') ? 'sentinel' : scheme.endsWith('cluster') ? 'cluster' : 'server';
  const addresses = nodes.split(',').map((node) => {
    const { host = '', port = defaultPorts[kind] } = nodePattern.exec(node.trim())?.groups ?? {};
    return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
  });
  const areNodesValid = addresses.every(({ host, port }) => host !== '' && port > 0 && port < 65_536);
  const isPathValid = kind === 'sentinel' ? path !== '' : /^\d*$/.test(path);
  if (!areNodesValid || !isPathValid || (kind === 'server' && addresses.length > 1)) return undefined;
  return {
    kind,
    nodes: addresses,
    name: kind === 'sentinel' ? path : '',
    tls: scheme === 'rediss',
    database: kind === 'server' ? Number(path) : 0,
    ...(user && { username: decodeURIComponent(user) }),
    ...(password && { password: decodeURIComponent(password) }),
  };
}
