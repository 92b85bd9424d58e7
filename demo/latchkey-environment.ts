import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import type { ClientCredentials } from './provider-configuration.ts';
import { createScopeLabels } from './texts.ts';

export interface LatchkeyEnvironmentOptions {
  readonly inherited: NodeJS.ProcessEnv;
  readonly port: number;
  readonly appOrigin: string;
  readonly issuer: string;
  readonly apiUrl: string;
  readonly client: ClientCredentials;
}

/** What would replace the demo's own provider, API, address or sessions. */
const notInherited =
  /^(OAUTH2_.*|SESSION_(SECRET(_FILE)?|COOKIE_SECURE)|REDIS_.*|NODE_ENV|TRUST_PROXY|HOST|AUDIT_LOG|APP_(URL|DIR|REQUIRES_LOGIN))$/;

/** The names of the developer's settings that the demo ignores, because it has its own. */
export function findIgnored(inherited: NodeJS.ProcessEnv): readonly string[] {
  // HOST is a variable of some shells.
  const isOurs = (name: string) => notInherited.test(name) && !['HOST', 'NODE_ENV'].includes(name);
  return Object.keys(inherited).filter((name) => isOurs(name) && inherited[name]?.trim());
}

/** Latchkey's environment for one demo run: a new session secret, and the developer's own settings, except those in `findIgnored`. */
export function createLatchkeyEnvironment(options: LatchkeyEnvironmentOptions): NodeJS.ProcessEnv {
  const inherited = Object.entries(options.inherited).filter(([name]) => !notInherited.test(name));
  const { API_ROUTES_FILE: routesFile } = options.inherited;
  return {
    LOG_LEVEL: 'warn', // and the audit log, which shows each refresh
    LOG_FORMAT: 'pretty',
    ...Object.fromEntries(inherited),
    ...(routesFile?.trim() && { API_ROUTES_FILE: resolve(routesFile) }), // Latchkey runs in another folder
    PORT: String(options.port),
    HOST: '127.0.0.1',
    OAUTH2_ISSUER: options.issuer,
    OAUTH2_CLIENT_ID: options.client.clientId,
    OAUTH2_CLIENT_SECRET: options.client.clientSecret,
    OAUTH2_REDIRECT_URI: `${options.appOrigin}/auth/callback`,
    OAUTH2_SCOPES: 'openid profile email read:profile read:data write:data',
    OAUTH2_API_BASE_URL: options.apiUrl,
    OAUTH2_PROVIDER_NAME: 'Demo ID',
    OAUTH2_SCOPE_LABELS: createScopeLabels(),
    SESSION_SECRET: randomBytes(32).toString('hex'),
  };
}
