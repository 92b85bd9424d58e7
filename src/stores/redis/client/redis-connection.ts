import type { Cluster, Redis } from 'ioredis';

export type RedisConnection = Redis | Cluster;

/** Also for a client that another copy of ioredis has created, whose classes are not ours. */
export function isCluster(redis: RedisConnection): redis is Cluster {
  return redis.isCluster;
}
