import { pathToFileURL } from 'node:url';

/** The modules of the product that the simulation runs, from a build of it. */
export interface Modules {
  readonly config: typeof import('../../src/config/load.ts');
  readonly sealing: typeof import('../../src/crypto/sealing.ts');
  readonly compressedText: typeof import('../../src/stores/compressed-text.ts');
  readonly oauthClient: typeof import('../../src/oauth/oauth-client.ts');
  readonly connection: typeof import('../../src/stores/redis/connection.ts');
  readonly liveness: typeof import('../../src/stores/redis/client/liveness.ts');
  readonly cachedTokenStore: typeof import('../../src/stores/cached-token-store.ts');
  readonly keys: typeof import('../../src/stores/redis/keys.ts');
  readonly tokenStore: typeof import('../../src/stores/redis/token-store.ts');
  readonly appTokenStore: typeof import('../../src/stores/redis/app-token-store.ts');
  readonly outbox: typeof import('../../src/stores/redis/revocation-outbox.ts');
  readonly sessionIndex: typeof import('../../src/stores/redis/indexed-sessions.ts');
  readonly sessionEndEvents: typeof import('../../src/stores/redis/session-end-events.ts');
  readonly consumedStates: typeof import('../../src/stores/redis/consumed-states.ts');
  readonly savedForms: typeof import('../../src/stores/redis/saved-forms.ts');
  readonly tokenManager: typeof import('../../src/tokens/token-manager.ts');
  readonly appTokenManager: typeof import('../../src/tokens/app-token-manager.ts');
  readonly revoker: typeof import('../../src/tokens/revocation-outbox.ts');
}

/** @param directory a build of `src/` */
export async function loadModules(directory: string): Promise<Modules> {
  const load = (path: string) => import(pathToFileURL(`${directory}/${path}.js`).href);
  return {
    config: await load('config/load'),
    sealing: await load('crypto/sealing'),
    compressedText: await load('stores/compressed-text'),
    oauthClient: await load('oauth/oauth-client'),
    connection: await load('stores/redis/connection'),
    liveness: await load('stores/redis/client/liveness'),
    cachedTokenStore: await load('stores/cached-token-store'),
    keys: await load('stores/redis/keys'),
    tokenStore: await load('stores/redis/token-store'),
    appTokenStore: await load('stores/redis/app-token-store'),
    outbox: await load('stores/redis/revocation-outbox'),
    sessionIndex: await load('stores/redis/indexed-sessions'),
    sessionEndEvents: await load('stores/redis/session-end-events'),
    consumedStates: await load('stores/redis/consumed-states'),
    savedForms: await load('stores/redis/saved-forms'),
    tokenManager: await load('tokens/token-manager'),
    appTokenManager: await load('tokens/app-token-manager'),
    revoker: await load('tokens/revocation-outbox'),
  };
}
