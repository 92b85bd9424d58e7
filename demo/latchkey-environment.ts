import { randomBytes } from 'node:crypto';
import type { ClientCredentials } from './provider-configuration.ts';

export interface LatchkeyEnvironmentOptions {
  readonly inherited: NodeJS.ProcessEnv;
  readonly port: number;
  readonly appOrigin: string;
  readonly issuer: string;
  readonly apiUrl: string;
  readonly client: ClientCredentials;
}

const notInherited =
  /^(OAUTH2_.*|SESSION_.*|REDIS_URL|NODE_ENV|TRUST_PROXY|HOST|CORS_ORIGINS|AUTH_RATE_LIMIT|AUDIT_.*)$/;

/** Latchkey's environment for one demo run: a new session secret, and none of the developer's own Latchkey settings. */
export function createLatchkeyEnvironment(options: LatchkeyEnvironmentOptions): NodeJS.ProcessEnv {
  const inherited = Object.entries(options.inherited).filter(([name]) => !notInherited.test(name));
  return {
    LOG_LEVEL: 'warn', // and the audit log, which shows each refresh
    LOG_FORMAT: 'pretty',
    ...Object.fromEntries(inherited),
    PORT: String(options.port),
    HOST: '127.0.0.1',
    OAUTH2_ISSUER: options.issuer,
    OAUTH2_CLIENT_ID: options.client.clientId,
    OAUTH2_CLIENT_SECRET: options.client.clientSecret,
    OAUTH2_REDIRECT_URI: `${options.appOrigin}/auth/callback`,
    OAUTH2_SCOPES: 'openid profile email read:profile read:data write:data',
    OAUTH2_API_BASE_URL: options.apiUrl,
    OAUTH2_PROVIDER_NAME: 'Demo provider',
    SESSION_SECRET: randomBytes(32).toString('hex'),
  };
}
