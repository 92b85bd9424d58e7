import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/load.ts';
import { createSessionTags } from '../crypto/session-tag.ts';
import { createDeps, type Deps } from '../deps.ts';
import type { Logger } from '../logger.ts';
import { createOAuthClient } from '../oauth/oauth-client.ts';
import { paths } from '../paths.ts';
import { createRevoker } from '../tokens/revocation-outbox.ts';
import { createTokenManager } from '../tokens/token-manager.ts';

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
  const { now, audit, tokenStore: store, sessionIndex: index } = deps;
  const oauth = createOAuthClient(config.provider, config.publicOrigin + paths.signedOut, deps);
  const outbox = deps.revocationOutbox(createRevoker(oauth, { now, log, audit }));
  const tokens = createTokenManager({
    ...{ store, index, oauth, outbox, now, log, audit },
    maxSessionsPerUser: config.limits.sessionsPerUser,
  });
  return {
    tokens,
    sessionIndex: index,
    sessionTags: createSessionTags(config.session),
    async close(): Promise<void> {
      await tokens.drain();
      outbox.close();
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
