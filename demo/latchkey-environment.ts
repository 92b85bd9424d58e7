import { randomBytes } from 'node:crypto';
import type { ClientCredentials } from './provider-configuration.ts';

export interface LatchkeyEnvironment {
  readonly inherited: NodeJS.ProcessEnv;
  readonly port: number;
  readonly appOrigin: string;
  readonly issuer: string;
  readonly apiUrl: string;
  readonly client: ClientCredentials;
}

const notInherited =
  /^(OAUTH2_.*|SESSION_.*|REDIS_URL|NODE_ENV|TRUST_PROXY|HOST|CORS_ORIGINS|AUTH_RATE_LIMIT)$/;

/** The application's environment for one run of the demo: nothing of the developer's own set-up, a new secret. */
export function latchkeyEnvironment(settings: LatchkeyEnvironment): NodeJS.ProcessEnv {
  const inherited = Object.entries(settings.inherited).filter(([name]) => !notInherited.test(name));
  return {
    LOG_LEVEL: 'warn',
    ...Object.fromEntries(inherited),
    PORT: String(settings.port),
    HOST: '127.0.0.1',
    OAUTH2_ISSUER: settings.issuer,
    OAUTH2_CLIENT_ID: settings.client.clientId,
    OAUTH2_CLIENT_SECRET: settings.client.clientSecret,
    OAUTH2_REDIRECT_URI: `${settings.appOrigin}/auth/callback`,
    OAUTH2_SCOPES: 'openid profile email read:profile read:data write:data',
    OAUTH2_API_BASE_URL: settings.apiUrl,
    OAUTH2_PROVIDER_NAME: 'the demo provider',
    SESSION_SECRET: randomBytes(32).toString('hex'),
  };
}
