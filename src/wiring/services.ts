import type { Config } from '../config/load.ts';
import type { Deps } from '../deps.ts';
import type { Provider } from '../oauth/metadata.ts';
import { createOAuthClient, type OAuthClient } from '../oauth/oauth-client.ts';
import { createMeasures } from '../observability/measures.ts';
import { paths } from '../paths.ts';
import { type AppTokenManager, createAppTokenManager } from '../tokens/app-token-manager.ts';
import { type BackchannelLogout, createBackchannelLogout } from '../tokens/backchannel-logout.ts';
import { createRevoker } from '../tokens/revocation-outbox.ts';
import { createTokenManager, type TokenManager } from '../tokens/token-manager.ts';

/** The OAuth client and the tokens of users and of the application, without anything of HTTP. */
export interface Services {
  readonly oauth: OAuthClient;
  readonly tokens: TokenManager;
  readonly appTokens: AppTokenManager;
  readonly backchannelLogout: BackchannelLogout;
  /** Waits for the background work, then stops the revocation outbox. */
  drain(): Promise<void>;
}

export function createServices(config: Config, deps: Deps): Services {
  const { now, elapsed, log, metrics, audit } = deps;
  const measured = createMeasures(metrics);
  const connect = (provider: Provider, kind: string) =>
    measured.oauthClient(kind, (onBreakerChange) =>
      createOAuthClient(provider, config.publicUrl + paths.signedOut, { ...deps, onBreakerChange }),
    );
  const oauth = connect(config.provider, 'provider');
  const onBreakerChange = measured.breaker('revocation');
  const outbox = deps.revocationOutbox(createRevoker(oauth, { now, elapsed, log, audit, onBreakerChange }));
  metrics.collectPendingRevocations(outbox.pending);
  metrics.collectLiveSessions(deps.sessionIndex.count);
  const tokens = createTokenManager({
    ...{ oauth, outbox, now, log, metrics, audit },
    store: measured.tokenStore(deps.tokenStore),
    index: deps.sessionIndex,
    maxSessionsPerUser: config.limits.sessionsPerUser,
  });
  const appTokens = createAppTokenManager({
    ...{ now, elapsed, log },
    store: deps.appTokenStore,
    oauth: config.app.provider ? connect(config.app.provider, 'app_provider') : oauth,
    scopes: config.app.scopes,
    audit: config.app.provider ? audit.forClient(config.app.provider) : audit,
  });
  const backchannelLogout = createBackchannelLogout({
    ...{ tokens, now, log },
    logouts: deps.providerLogouts,
    absoluteSeconds: config.session.absoluteSeconds,
  });

  return {
    oauth,
    tokens,
    appTokens,
    backchannelLogout,
    async drain() {
      await backchannelLogout.drain();
      await Promise.all([tokens.drain(), appTokens.drain()]);
      outbox.close();
    },
  };
}
