import type { Audit } from '../../src/audit/audit-log.ts';
import type { Logger } from '../../src/logger.ts';
import type { OAuthClient } from '../../src/oauth/oauth-client.ts';
import type { RedisConnection } from '../../src/stores/redis/connection.ts';
import type { AppTokenManager } from '../../src/tokens/app-token-manager.ts';
import type { SessionIndex } from '../../src/tokens/indexed-sessions.ts';
import type { RevocationOutbox } from '../../src/tokens/revocation-outbox.ts';
import type { TokenManager } from '../../src/tokens/token-manager.ts';
import type { Modules } from './modules.ts';
import { OwnChanges } from './own-changes.ts';
import type { Provider } from './provider.ts';
import { SimulatedRedis } from './redis-client.ts';
import type { RedisNetwork } from './redis-network.ts';
import type { Owner, VirtualTime } from './virtual-time.ts';

const audit: Audit = { record() {}, tagFor: () => 'a-tag' };

/** As `shutdownTimeoutMs` in main.ts. */
const shutdownTimeoutMs = 10_000;
const origin = 'https://latchkey.example';

export interface InstanceParts {
  readonly modules: Modules;
  readonly time: VirtualTime;
  readonly network: RedisNetwork;
  readonly provider: Provider;
  readonly name: string;
  readonly skewMs: number;
  readonly secrets: string;
  readonly idleSeconds: number;
  readonly cacheMs: number;
  readonly waitReplicas: number;
  /** Whether a replica confirms the next WAIT. */
  readonly confirmWait: () => boolean;
  readonly onLog: (text: string) => void;
}

/** One process of Latchkey: its real modules, wired as in deps.ts and app.ts. */
export class Instance implements Owner {
  readonly name: string;
  readonly skewMs: number;
  isDead = false;
  pausedUntil = 0;
  /** False before it serves requests, and from SIGTERM on. */
  isServing = false;
  /** When it was killed or has ended. */
  diedAt: number | undefined;
  wasKilled = false;
  readonly startedAt: number;
  readonly #parts: InstanceParts;
  readonly #requests = new Set<Promise<unknown>>();
  tokens!: TokenManager;
  appTokens!: AppTokenManager;
  outbox!: RevocationOutbox;
  sessionEndEvents!: ReturnType<Modules['sessionEndEvents']['createRedisSessionEndEvents']>;
  sessionIndex!: SessionIndex;
  consumedStates!: ReturnType<Modules['consumedStates']['createRedisConsumedStates']>;
  savedForms!: ReturnType<Modules['savedForms']['createRedisSavedForms']>;
  redis!: SimulatedRedis;
  /** When this process heard of each end of a session, and when it may have missed some. */
  readonly heardEnds = new Map<string, number>();
  gaps: number[] = [];
  /** When this process received the last announcement of each session. */
  readonly heardChanges = new Map<string, number>();
  readonly ownChanges: OwnChanges;

  constructor(parts: InstanceParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.skewMs = parts.skewMs;
    this.startedAt = parts.time.nowMs;
    this.ownChanges = new OwnChanges(() => parts.time.nowMs);
    parts.time.schedule(0, () => this.#start(), this);
  }

  #start(): void {
    const { modules, time, network, provider, secrets: secretList, waitReplicas } = this.#parts;
    const now = () => Date.now();
    const log = this.#createLog();
    const config = loadConfig(modules, secretList, this.#parts);
    const { secrets, registration } = config.session;
    const timing = modules.connection.connectionTiming;
    const client = new SimulatedRedis(network, this, timing, () =>
      this.#parts.confirmWait() ? waitReplicas : 0,
    );
    this.redis = client;
    const redis = client as unknown as RedisConnection;
    modules.liveness.watchLiveness(redis);
    const fetch = provider.fetchFor(this);
    const oauth: OAuthClient = modules.oauthClient.createOAuthClient(
      config.provider,
      `${origin}/auth/signed-out`,
      {
        fetch,
        now,
        log,
      },
    );
    this.sessionEndEvents = modules.sessionEndEvents.createRedisSessionEndEvents(redis, registration, log);
    this.sessionEndEvents.listen(
      (id) => this.heardEnds.set(id, time.nowMs),
      () => this.gaps.push(time.nowMs),
    );
    const shared = { redis, secrets, registration, now };
    this.sessionIndex = modules.sessionIndex.createRedisSessionIndex({
      ...shared,
      lifetime: config.session,
      log,
    });
    const redisStore = modules.tokenStore.createRedisTokenStore({
      ...shared,
      index: this.sessionIndex,
      waitForReplicas: modules.connection.createReplicaWait(redis, waitReplicas, log),
      lifetime: config.session,
      sessionEndEvents: this.sessionEndEvents,
    });
    const cachedStore = modules.cachedTokenStore.cacheRecords(redisStore, {
      changes: this.sessionEndEvents,
      maxAgeMs: config.session.cacheMs,
      absoluteEndOf: ({ signedInAt }) => signedInAt + config.session.absoluteSeconds * 1000,
      now,
    });
    const store = this.ownChanges.watch(cachedStore);
    this.outbox = modules.outbox.createRedisRevocationOutbox({
      ...shared,
      attempt: modules.revoker.createRevoker(oauth, { now, log, audit }),
    });
    this.tokens = modules.tokenManager.createTokenManager({
      ...{
        store,
        index: this.sessionIndex,
        maxSessionsPerUser: 0,
        oauth,
        outbox: this.outbox,
        now,
        log,
        audit,
      },
    });
    this.appTokens = modules.appTokenManager.createAppTokenManager({
      store: modules.appTokenStore.createRedisAppTokenStore(shared),
      oauth,
      scopes: [],
      now,
      log,
      audit,
    });
    this.consumedStates = modules.consumedStates.createRedisConsumedStates(redis, registration);
    this.savedForms = modules.savedForms.createRedisSavedForms({ ...shared, maxBytes: 1_048_576 });
    modules.connection.waitUntilReady(redis).then(() => {
      this.isServing = true;
    });
  }

  /** Runs a request in this process; nothing follows from it once the process is dead. */
  request(run: (instance: this) => Promise<unknown>): void {
    this.#parts.time.schedule(
      0,
      () => {
        const request = run(this);
        this.#requests.add(request);
        request.catch(() => undefined).finally(() => this.#requests.delete(request));
      },
      this,
    );
  }

  kill(): void {
    this.wasKilled = true;
    this.#die();
  }

  /** SIGTERM: as `stop` in main.ts. */
  stop(onEnd: () => void): void {
    const { time } = this.#parts;
    this.isServing = false;
    time.schedule(
      0,
      () => {
        const forceExit = time.schedule(
          shutdownTimeoutMs,
          () => {
            this.wasKilled = true;
            this.#die();
            onEnd();
          },
          this,
          true,
        );
        const finish = async () => {
          while (this.#requests.size > 0) await Promise.allSettled([...this.#requests]);
          await Promise.all([this.tokens.drain(), this.appTokens.drain()]);
          this.outbox.close();
          this.sessionEndEvents.close();
          this.sessionIndex.close();
          await this.redis.ping().catch(() => undefined);
          this.redis.disconnect();
          forceExit();
          this.#die();
          onEnd();
        };
        void finish();
      },
      this,
    );
  }

  #die(): void {
    this.isDead = true;
    this.isServing = false;
    this.diedAt = this.#parts.time.nowMs;
    this.#parts.network.abandon(this);
  }

  #createLog(): Logger {
    const { onLog, name } = this.#parts;
    const write = (level: string) => (details: unknown, text?: string) => {
      const { err } = (typeof details === 'object' ? details : {}) as { err?: Error };
      onLog(`${name} ${level}: ${text ?? String(details)}${err ? ` (${describe(err)})` : ''}`);
    };
    const ignore = () => undefined;
    return {
      trace: ignore,
      debug: ignore,
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
    } as unknown as Logger;
  }
}

const configurations = new Map<string, ReturnType<Modules['config']['loadConfig']>>();

export function loadConfig(
  modules: Modules,
  secrets: string,
  { idleSeconds, cacheMs }: { readonly idleSeconds: number; readonly cacheMs: number },
): ReturnType<Modules['config']['loadConfig']> {
  const key = `${secrets} ${idleSeconds} ${cacheMs}`;
  const cached = configurations.get(key);
  if (cached) return cached;
  const config = modules.config.loadConfig({
    OAUTH2_AUTHORIZATION_URL: 'https://provider.example/auth',
    OAUTH2_TOKEN_URL: 'https://provider.example/token',
    OAUTH2_REVOCATION_URL: 'https://provider.example/revoke',
    OAUTH2_CLIENT_ID: 'client',
    OAUTH2_CLIENT_SECRET: 'a-client-secret',
    OAUTH2_REDIRECT_URI: `${origin}/auth/callback`,
    OAUTH2_API_BASE_URL: 'https://api.example',
    SESSION_SECRET: secrets,
    SESSION_IDLE_SECONDS: String(idleSeconds),
    SESSION_ABSOLUTE_SECONDS: '100000',
    SESSION_CACHE_MS: String(cacheMs),
    TRUST_PROXY: '1',
    REDIS_URL: 'redis://redis.example:6379',
  });
  configurations.set(key, config);
  return config;
}

/** An error with its causes. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${describe(error.cause)}`;
}
