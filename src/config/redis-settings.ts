import type { Values } from './fields.ts';

/**
 * How to reach Redis; `undefined` when state is kept in memory.
 * @param hasClient the app around Latchkey has a client, which replaces the URL
 */
export function buildRedisSettings(values: Values, hasClient: boolean) {
  if (!values.REDIS_URL && !hasClient) return undefined;
  return {
    url: values.REDIS_URL,
    sentinel: { username: values.REDIS_SENTINEL_USERNAME, password: values.REDIS_SENTINEL_PASSWORD },
    /** Where every key and channel begins. */
    keyPrefix: values.REDIS_PREFIX,
    waitReplicas: values.REDIS_WAIT_REPLICAS,
  };
}
