import { randomBytes, randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { type DemoProvider, startDemoProvider } from '../../demo/provider.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { createOAuthClient } from '../../src/oauth/oauth-client.ts';
import { createMemoryAppTokenStore } from '../../src/stores/memory/app-token-store.ts';
import { createRedisAppTokenStore } from '../../src/stores/redis/app-token-store.ts';
import type { RedisConnection } from '../../src/stores/redis/connection.ts';
import { type AppTokenManager, createAppTokenManager } from '../../src/tokens/app-token-manager.ts';
import type { AppTokenStore } from '../../src/tokens/app-token-store.ts';
import { type Faults, injectFaults } from './faults.ts';

export interface Instance {
  readonly tokens: AppTokenManager;
  /** What it logged, by level. */
  readonly logLines: { readonly warn: string[]; readonly error: string[] };
}

export interface InstanceOptions {
  readonly store?: AppTokenStore;
  readonly scopes?: readonly string[];
  readonly clientSecret?: string;
  readonly fetch?: typeof globalThis.fetch;
}

/** A real provider, a clock that can be moved, and as many instances as a test wants that share a store. */
export interface AppTokenWorld {
  readonly provider: DemoProvider;
  readonly faults: Faults;
  readonly redis: Redis;
  readonly client: { readonly clientId: string; readonly clientSecret: string };
  readonly secrets: readonly Secret[];
  /** Requests that reached the token endpoint since the last `reset`. */
  tokenRequestCount(): number;
  /** Everything as it was at first, and nothing shared with the test before. */
  reset(): void;
  advance(seconds: number): void;
  now(): number;
  createMemoryStore(): AppTokenStore;
  /** On the Redis of the tests, unless another is given; one `client` per test, unless another is given. */
  createRedisStore(options?: {
    redis?: RedisConnection;
    client?: string;
    secrets?: readonly Secret[];
  }): AppTokenStore;
  createInstance(options?: InstanceOptions): Instance;
  close(): Promise<void>;
}

export const accessTokenSeconds = 300;

export async function createAppTokenWorld(): Promise<AppTokenWorld> {
  const client = { clientId: 'latchkey-test', clientSecret: randomBytes(16).toString('hex') };
  const provider = await startDemoProvider({
    port: 0,
    ...client,
    redirectUris: ['http://localhost/auth/callback'],
    postLogoutRedirectUris: [],
    resourceServer: { clientId: 'the-api', clientSecret: 'only-of-this-test' },
    accessTokenSeconds,
  });
  const faults = injectFaults(provider.server);
  const redis = new Redis(process.env.TEST_REDIS_URL!, { enableAutoPipelining: true });
  const secrets = [new Secret('a-secret-of-these-tests-0123456789')];
  let at = Date.now(); // it stands still, so that no test depends on how busy this machine is
  let clientOfTest = randomUUID();
  const now = () => at;

  return {
    provider,
    faults,
    redis,
    client,
    secrets,
    now,
    tokenRequestCount: () => faults.count(/^\/token$/),
    reset() {
      at = Date.now();
      clientOfTest = randomUUID();
      faults.set(undefined);
      faults.requests.length = 0;
    },
    advance(seconds) {
      at += seconds * 1000;
    },
    createMemoryStore: () => createMemoryAppTokenStore(now),
    createRedisStore: (options = {}) =>
      createRedisAppTokenStore({ redis, client: clientOfTest, secrets, now, ...options }),
    createInstance({ store = createMemoryAppTokenStore(now), scopes = [], ...options } = {}) {
      const logLines = { warn: [] as string[], error: [] as string[] };
      const log = pino(
        { level: 'warn' },
        {
          write: (line: string) => void logLines[line.includes('"level":50') ? 'error' : 'warn'].push(line),
        },
      );
      const oauth = createOAuthClient(
        {
          issuer: undefined,
          endpoints: { token_endpoint: `${provider.issuer}/token` },
          clientId: client.clientId,
          clientSecrets: [new Secret(options.clientSecret ?? client.clientSecret)],
          clientAuth: 'client_secret_basic',
          redirectUri: new URL('http://localhost/auth/callback'),
          scopes: ['openid'],
          authorizationParameters: [],
          tokenParameters: [],
          userinfoClaims: undefined,
          deviations: [],
        },
        'http://localhost',
        { fetch: options.fetch ?? globalThis.fetch, now, log },
      );
      return { tokens: createAppTokenManager({ store, oauth, scopes, now, log }), logLines };
    },
    async close() {
      redis.disconnect();
      await provider.close();
    },
  };
}
