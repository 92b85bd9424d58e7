import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/load.ts';
import { createSessionTags } from '../crypto/session-tag.ts';
import { createDeps, type Deps } from '../deps.ts';
import type { Logger } from '../logger.ts';
import { elapsedMs } from '../time/elapsed.ts';
import { createServices } from '../wiring/services.ts';

/** Longer than a connection needs, also to a cluster or through a sentinel. */
const connectTimeoutMs = 3_000;
const retryMs = 20;

/**
 * Access to the sessions of the servers with this configuration. Ending a session has the same effects as in a server:
 * its tokens are queued for revocation and revoked, and every instance closes its streams.
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

/** Audit lines for standard output go to `log` instead, because standard output contains the result of the command. */
function withoutStandardOutput(config: Config): Config {
  const { destination } = config.audit;
  return {
    ...config,
    audit: { ...config.audit, destination: destination === 'stdout' ? 'log' : destination },
  };
}

/**
 * Resolves when the store responds, or after three seconds; the command then fails with the error of its first request.
 * Unlike a server, it does not wait until the other instances have reconnected, because it refreshes no tokens.
 */
async function waitForStore({ tokenStore }: Pick<Deps, 'tokenStore'>): Promise<void> {
  const deadline = elapsedMs() + connectTimeoutMs;
  const isAvailable = () =>
    tokenStore.get('no such session').then(
      () => true,
      () => false,
    );
  while (!(await isAvailable()) && elapsedMs() < deadline) await delay(retryMs);
}
