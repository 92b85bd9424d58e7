/** Where Redis is: one server, a master whose `name` sentinels know, or a cluster. */
export interface RedisTarget {
  readonly kind: 'server' | 'sentinel' | 'cluster';
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  readonly name: string;
  readonly tls: boolean;
  readonly database: number;
  readonly username?: string;
  readonly password?: string;
}

const form =
  /^(?<scheme>rediss?|redis\+sentinel|redis\+cluster):\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<nodes>[^/@]+)(?:\/(?<path>[^/?#]*))?$/;
const nodeForm = /^(?<host>\[[^\]]+\]|[^:]+)(?::(?<port>\d{1,5}))?$/;
const defaultPorts = { server: 6379, sentinel: 26_379, cluster: 6379 } as const;

/**
 * `redis://`, `rediss://` (TLS), `redis+sentinel://host:port,host:port/name` and `redis+cluster://host:port,...`, each
 * with `user:password@` if need be; `undefined` for everything else.
 */
export function parseRedisUrl(url: string): RedisTarget | undefined {
  const parts = form.exec(url)?.groups;
  if (!parts) return undefined;
  const { scheme = '', user, password, nodes = '', path = '' } = parts;
  const kind = scheme.endsWith('sentinel') ? 'sentinel' : scheme.endsWith('cluster') ? 'cluster' : 'server';
  const addresses = nodes.split(',').map((node) => {
    const { host = '', port = defaultPorts[kind] } = nodeForm.exec(node.trim())?.groups ?? {};
    return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
  });
  const isSound = addresses.every(({ host, port }) => host !== '' && port > 0 && port < 65_536);
  const hasPath = kind === 'sentinel' ? path !== '' : /^\d*$/.test(path);
  if (!isSound || !hasPath || (kind === 'server' && addresses.length > 1)) return undefined;
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
