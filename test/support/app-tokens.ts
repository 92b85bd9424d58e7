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
import { silentAudit } from './silent-audit.ts';
import { advanceFailurePauses, testRedisUrl } from './test-redis.ts';

export interface Instance {
  readonly tokens: AppTokenManager;
  /** Lines logged so far, by level. */
  readonly logLines: { readonly warn: string[]; readonly error: string[] };
}

export interface InstanceOptions {
  readonly store?: AppTokenStore;
  readonly scopes?: readonly string[];
  readonly clientSecret?: string;
  readonly fetch?: typeof globalThis.fetch;
}

/** A real provider, a clock controlled by the test, and any number of app-token managers that share a store. */
export interface AppTokenWorld {
  readonly provider: DemoProvider;
  readonly faults: Faults;
  readonly redis: Redis;
  readonly client: { readonly clientId: string; readonly clientSecret: string };
  readonly secrets: readonly Secret[];
  /** Number of requests to the token endpoint since the last `reset`. */
  tokenRequestCount(): number;
  /** Resets clock, faults and counts; Redis stores get a new registration, so that tests share no tokens. */
  reset(): void;
  advance(seconds: number): Promise<void>;
  now(): number;
  createMemoryStore(): AppTokenStore;
  /** Defaults: the test Redis, and a `registration` that is unique per test. */
  createRedisStore(options?: {
    redis?: RedisConnection;
    registration?: string;
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
    resourceServer: { clientId: 'the-api', clientSecret: 'only-for-this-test' },
    accessTokenSeconds,
  });
  const faults = injectFaults(provider.server);
  const redis = new Redis(testRedisUrl(), { enableAutoPipelining: true });
  const secrets = [new Secret('a-secret-for-these-tests-0123456789')];
  let currentTime = Date.now(); // changed by `advance` only, so that no test depends on the load of the machine
  let registration = randomUUID();
  const now = () => currentTime;

  return {
    provider,
    faults,
    redis,
    client,
    secrets,
    now,
    tokenRequestCount: () => faults.count(/^\/token$/),
    reset() {
      currentTime = Date.now();
      registration = randomUUID();
      faults.set(undefined);
      faults.requests.length = 0;
    },
    async advance(seconds) {
      currentTime += seconds * 1000;
      await advanceFailurePauses(seconds);
    },
    createMemoryStore: () => createMemoryAppTokenStore(now, now),
    createRedisStore: (options = {}) =>
      createRedisAppTokenStore({ redis, registration, secrets, now, elapsed: now, ...options }),
    createInstance({ store = createMemoryAppTokenStore(now, now), scopes = [], ...options } = {}) {
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
          isForAppTokens: true,
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
          clockToleranceSeconds: 30,
        },
        'http://localhost',
        { fetch: options.fetch ?? globalThis.fetch, now, elapsed: now, log },
      );
      return {
        tokens: createAppTokenManager({ store, oauth, scopes, now, elapsed: now, log, audit: silentAudit }),
        logLines,
      };
    },
    async close() {
      redis.disconnect();
      await provider.close();
    },
  };
}
