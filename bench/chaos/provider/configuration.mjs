import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createMemoryAdapter } from './memory-adapter.mjs';

export const scopes = ['openid', 'profile', 'read:profile', 'read:data', 'write:data'];

const day = 86_400;
/** Much longer than the `expires_in` sent to the client: introspection still finds every token that was not revoked. */
const accessTokenSeconds = 3600;

function signingKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' };
}

/** A new grant (token family) for each login, so that revoking one session leaves the others alone. */
async function createGrantForLogin({ oidc }) {
  const grant = new oidc.provider.Grant({
    accountId: oidc.account.accountId,
    clientId: oidc.client.clientId,
  });
  grant.addOIDCScope(scopes.join(' '));
  await grant.save();
  return grant;
}

/**
 * The configuration of a strict oidc-provider: refresh tokens rotate, and reuse of one revokes its whole family.
 * @param {() => boolean} isRevocation whether the current request goes to the revocation endpoint
 */
export function providerConfiguration(
  { clientId, clientSecret, publicOrigin, introspector },
  settings,
  isRevocation,
) {
  return {
    adapter: createMemoryAdapter(settings, isRevocation),
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        token_endpoint_auth_method: 'client_secret_basic',
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        redirect_uris: settings.redirectUris,
        post_logout_redirect_uris: [`${publicOrigin}/auth/signed-out`, `${publicOrigin}/`],
      },
      {
        client_id: introspector.clientId,
        client_secret: introspector.clientSecret,
        grant_types: [],
        response_types: [],
        redirect_uris: [],
      },
    ],
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    clientBasedCORS: () => false,
    jwks: { keys: [signingKey()] },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    responseTypes: ['code'],
    pkce: { required: () => true },
    scopes,
    claims: { openid: ['sub'], profile: ['name'] },
    conformIdTokenClaims: false,
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub, name: sub }) }),
    interactions: { url: (_ctx, { uid }) => `/sign-in/${uid}` },
    loadExistingGrant: createGrantForLogin,
    formats: {
      bitsOfOpaqueRandomness: (_ctx, { kind }) => (kind === 'AccessToken' ? settings.accessTokenBits : 256),
    },
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    revokeGrantPolicy: () => !(settings.revokes === 'token' && isRevocation()),
    expiresWithSession: () => false,
    ttl: {
      AccessToken: accessTokenSeconds,
      AuthorizationCode: 60,
      Grant: day,
      IdToken: 3600,
      Interaction: 600,
      RefreshToken: day,
      Session: day,
    },
    features: {
      devInteractions: { enabled: false },
      resourceIndicators: { enabled: false },
      introspection: {
        enabled: true,
        allowedPolicy: (_ctx, client) => client.clientId === introspector.clientId,
      },
      revocation: { enabled: true },
      rpInitiatedLogout: { enabled: true },
    },
    renderError: (ctx, out) => {
      ctx.type = 'json';
      ctx.body = out;
    },
  };
}
