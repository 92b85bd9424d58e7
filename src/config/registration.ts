import { createHash } from 'node:crypto';
import type { Secret } from '../crypto/secret.ts';
import type { Values } from './fields.ts';
import type { DeviationName } from './presets.ts';

interface Registration {
  readonly issuer: URL | undefined;
  readonly endpoints: { readonly token_endpoint: string | undefined };
  readonly clientId: string;
}

/**
 * Identifies a client registration (RFC 6749 2): a client id at one authorization server, which is known by its issuer or
 * else by its token endpoint. 16 base64url characters. It is part of every Redis key and of every key derived from
 * SESSION_SECRET, so that no token, login or form reaches another provider or client than its own (decision 17).
 */
export function hashRegistration({ issuer, endpoints, clientId }: Registration): string {
  const server = issuer?.href ?? endpoints.token_endpoint;
  return createHash('sha256')
    .update(JSON.stringify([server, clientId]))
    .digest('base64url')
    .slice(0, 16);
}

/** The host name of the provider, which names it on pages when it has no other name. */
export function getProviderHost(values: Pick<Values, 'OAUTH2_ISSUER' | 'OAUTH2_AUTHORIZATION_URL'>): string {
  return (values.OAUTH2_ISSUER ?? values.OAUTH2_AUTHORIZATION_URL)?.hostname ?? '';
}

/** One secret, or two during a rotation. */
export function listSecrets(current: Secret, next?: Secret): readonly Secret[] {
  return next ? [current, next] : [current];
}

/** The provider and client for app tokens; `undefined` when the users' client gets them. */
export function buildAppProvider(values: Values) {
  const { OAUTH2_APP_CLIENT_ID: clientId, OAUTH2_APP_CLIENT_SECRET: clientSecret } = values;
  if (clientId === undefined || clientSecret === undefined) return undefined;
  const isSeparateProvider = (values.OAUTH2_APP_ISSUER ?? values.OAUTH2_APP_TOKEN_URL) !== undefined;
  const tokenUrl = isSeparateProvider ? values.OAUTH2_APP_TOKEN_URL : values.OAUTH2_TOKEN_URL;
  return {
    issuer: isSeparateProvider ? values.OAUTH2_APP_ISSUER : values.OAUTH2_ISSUER,
    endpoints: { token_endpoint: tokenUrl?.href },
    clientId,
    clientSecrets: listSecrets(clientSecret, values.OAUTH2_APP_CLIENT_SECRET_NEXT),
    clientAuth: values.OAUTH2_APP_CLIENT_AUTH ?? values.OAUTH2_CLIENT_AUTH,
    redirectUri: values.OAUTH2_REDIRECT_URI,
    scopes: values.OAUTH2_APP_SCOPES as readonly string[],
    authorizationParameters: [],
    tokenParameters: isSeparateProvider ? [] : values.OAUTH2_TOKEN_PARAMS,
    userinfoClaims: undefined,
    deviations: isSeparateProvider ? [] : (values.OAUTH2_DEVIATIONS as readonly DeviationName[]),
    clockToleranceSeconds: values.OAUTH2_CLOCK_TOLERANCE_SECONDS,
    isForAppTokens: true,
  };
}
