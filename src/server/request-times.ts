/** For `createServer`. How long each part of a request may take, and how often Node looks for those that are late. */
export const serverTimes = {
  /** Longer than load balancers usually keep idle connections, so that they never send a request into a closing one. */
  keepAliveTimeout: 65_000,
  /** It also counts on a new connection that is silent: load balancers open them in advance, and keep them for 60 s. */
  headersTimeout: 70_000,
  /** As long as the longest upload. Every other body has a shorter limit where it is read. */
  requestTimeout: 3_600_000,
  connectionsCheckingInterval: 5_000,
} as const;
