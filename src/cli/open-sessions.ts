import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/load.ts';
import { createSessionTags } from '../crypto/session-tag.ts';
import { createDeps, type Deps } from '../deps.ts';
import type { Logger } from '../logger.ts';
import { createServices } from '../services.ts';

/** Longer than a connection needs, also to a cluster or through a sentinel. */
const connectTimeoutMs = 3_000;
const retryMs = 20;

/**
 * The sessions of the servers with this configuration. Those that end here have the same effects as in a server: tokens are
 * queued for revocation and revoked, and every instance closes their streams.
 */
export async function openSessions(config: Config, log: Logger) {
  const deps = createDeps(withoutStandardOutput(config), { log });
  await waitForStore(deps);
  const { tokens, drain } = createServices(config, deps);
  return {
    tokens,
    sessionIndex: deps.sessionIndex,
    sessionTags: createSessionTags(config.session),
    async close(): Promise<void> {
      await drain();
      await deps.close();
    },
  };
}

/** Standard output has the result of the command, so that audit lines for it go to `log`. */
function withoutStandardOutput(config: Config): Config {
  const { destination } = config.audit;
  return {
    ...config,
    audit: { ...config.audit, destination: destination === 'stdout' ? 'log' : destination },
  };
}

/**
 * Settles when the store responds, or after some seconds; then the command fails and says why. Unlike a server, this does
 * not wait until the other instances have reconnected too: it refreshes nothing.
 */
async function waitForStore({ tokenStore, now }: Pick<Deps, 'tokenStore' | 'now'>): Promise<void> {
  const deadline = now() + connectTimeoutMs;
  const isAvailable = () =>
    tokenStore.get('no such session').then(
      () => true,
      () => false,
    );
  while (!(await isAvailable()) && now() < deadline) await delay(retryMs);
}
