import type { RedisOptions } from 'ioredis';
import type { RedisTarget } from '../../../config/redis-url.ts';
import type { ClientBehavior } from './create-client.ts';
import { isCluster, type RedisConnection } from './redis-connection.ts';

/** Settings of a client with which our commands would mean something else, or go to a replica, or a stall of this process would cost the connection. */
const neutral = {
  keyPrefix: '',
  scripts: undefined,
  readOnly: false,
  stringNumbers: false,
  replyMapping: 'legacy',
  monitor: false,
  lazyConnect: false,
  autoResendUnfulfilledCommands: true,
  autoPipeliningIgnoredCommands: [],
  role: 'master',
  socketTimeout: undefined,
} as const satisfies RedisOptions;

/**
 * A client for the Redis of `host`, which is that of the app around Latchkey. It has the address, credentials and TLS options of
 * `host`, and else our settings. `host` may belong to another copy of ioredis, which therefore creates the new client.
 */
export function duplicateClient(host: RedisConnection, behavior: ClientBehavior): RedisConnection {
  const connection = { ...neutral, ...behavior.connection };
  if (!isCluster(host)) {
    const sentinel = host.options.sentinels ? behavior.sentinel : {};
    return host.duplicate({ ...connection, ...sentinel, enableAutoPipelining: true });
  }
  return host.duplicate([], {
    ...behavior.cluster,
    ...{ keyPrefix: '', scripts: undefined, scaleReads: 'master', lazyConnect: false },
    redisOptions: { ...host.options.redisOptions, ...connection },
  });
}

/** What `host` connects to, for the log. */
export function describeClient(host: RedisConnection): RedisTarget {
  const none = { name: '', database: 0 };
  if (isCluster(host))
    return { ...none, kind: 'cluster', nodes: [], tls: Boolean(host.options.redisOptions?.tls) };
  const { host: name = 'localhost', port = 6379, path, sentinels, name: master, tls, db = 0 } = host.options;
  const toNode = (each: { readonly host?: string | undefined; readonly port?: number | undefined }) => ({
    host: each.host ?? 'localhost',
    port: each.port ?? 26_379,
  });
  if (sentinels)
    return {
      kind: 'sentinel',
      nodes: sentinels.map(toNode),
      name: master ?? '',
      tls: Boolean(tls),
      database: db,
    };
  return {
    ...none,
    kind: 'server',
    nodes: [{ host: name, port }],
    ...(path && { socketPath: path }),
    tls: Boolean(tls),
    database: db,
  };
}
