import { type ClaimCheck, createAlternatives } from '../claims/claim-check.ts';
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
  /** Why a user with these claims may not sign in; absent without LOGIN_ALLOWED. */
  readonly findLoginRefusal: ClaimCheck | undefined;
  readonly backchannelLogout: BackchannelLogout;
  /** Waits for the background work, then stops the revocation outbox. */
  drain(): Promise<void>;
}

/** @param neededClaims the names of the claims that settings and rules depend on; those of routes in code are added later */
export function createServices(
  config: Config,
  deps: Deps,
  neededClaims: ReadonlySet<string> = new Set(),
): Services {
  const { now, elapsed, log, metrics, audit } = deps;
  const measured = createMeasures(metrics);
  const connect = (provider: Provider, kind: string) =>
    measured.oauthClient(kind, (onBreakerChange) =>
      createOAuthClient(provider, config.publicUrl + paths.signedOut, {
        ...deps,
        neededClaims,
        onBreakerChange,
      }),
    );
  const oauth = connect(config.provider, 'provider');
  const onBreakerChange = measured.breaker('revocation');
  const outbox = deps.revocationOutbox(createRevoker(oauth, { now, elapsed, log, audit, onBreakerChange }));
  metrics.collectPendingRevocations(outbox.pending);
  metrics.collectLiveSessions(deps.sessionIndex.count);
  const { loginAllowed } = config.access;
  const isEmailVerifiedOptional = config.provider.deviations.includes('email-verified-missing');
  const findLoginRefusal =
    loginAllowed.length > 0 ? createAlternatives(loginAllowed, { isEmailVerifiedOptional }) : undefined;
  const tokens = createTokenManager({
    ...{ oauth, outbox, now, log, metrics, audit },
    store: measured.tokenStore(deps.tokenStore),
    index: deps.sessionIndex,
    findLoginRefusal,
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
    findLoginRefusal,
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
