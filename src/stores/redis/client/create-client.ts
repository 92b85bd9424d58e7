import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis';
import type { RedisTarget } from '../../../config/redis-url.ts';
import type { Secret } from '../../../crypto/secret.ts';
import type { RedisConnection } from './redis-connection.ts';

/** How to sign in to the sentinels, which have users of their own. */
export interface SentinelCredentials {
  readonly username?: string | undefined;
  readonly password?: Secret | undefined;
}

/** The types of ioredis treat `replyMapping` as a type parameter. */
export type ConnectionOptions = Omit<RedisOptions, 'replyMapping'>;

/** What every client has, whatever it connects to. */
export interface ClientBehavior {
  readonly connection: ConnectionOptions;
  readonly sentinel: ConnectionOptions;
  readonly cluster: Omit<ClusterOptions, 'redisOptions'>;
}

/** The client for a parsed `REDIS_URL`. */
export function createClient(
  target: RedisTarget,
  sentinel: SentinelCredentials,
  behavior: ClientBehavior,
): RedisConnection {
  const { kind, nodes, name, tls, database: db, username, password, family, socketPath } = target;
  const connection: ConnectionOptions = {
    ...behavior.connection,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(family !== undefined && { family }),
    ...(tls && { tls: {} }),
  };
  if (kind === 'cluster')
    return new Cluster([...nodes], {
      ...behavior.cluster,
      redisOptions: { ...connection, lazyConnect: false }, // a lazy connection would not notice a failover
      // The socket resolves the name, by `family`, and TLS compares it with the certificate.
      dnsLookup: (host, callback) => callback(null, host),
    });
  if (kind === 'sentinel')
    return new Redis({
      ...connection,
      ...behavior.sentinel,
      ...{ db, sentinels: [...nodes], name, enableAutoPipelining: true },
      ...(sentinel.username !== undefined && { sentinelUsername: sentinel.username }),
      ...(sentinel.password !== undefined && { sentinelPassword: sentinel.password.reveal() }),
      ...(tls && { sentinelTLS: {}, enableTLSForSentinelMode: true }),
    });
  const address = socketPath === undefined ? nodes[0] : { path: socketPath };
  return new Redis({ ...connection, ...address, db, enableAutoPipelining: true });
}
