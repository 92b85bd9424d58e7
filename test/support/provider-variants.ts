import { generateKeyPairSync, sign } from 'node:crypto';
import type { ApiRequest, FakeResponse, Grant, GrantType, ProviderShape } from './fake-provider.ts';

const userGrants: readonly GrantType[] = ['authorization_code', 'refresh_token'];
const error = (status: number, code: string, description: string): FakeResponse => ({
  status,
  body: { error: code, error_description: description },
});
const rfc6749 = {
  client: error(401, 'invalid_client', 'Client authentication failed'),
  code: error(400, 'invalid_grant', 'Invalid or expired authorization code'),
  refresh_token: error(400, 'invalid_grant', 'Invalid refresh token'),
  grant_type: error(400, 'unsupported_grant_type', 'This grant type is not supported'),
};

/** A provider that follows the standards, and its API. */
export const standardProvider: ProviderShape = {
  authorizePath: '/authorize',
  tokenPath: '/token',
  clientAuth: 'client_secret_basic',
  grantTypes: userGrants,
  tokenResponse: ({ accessToken, refreshToken, scope }) => ({
    access_token: accessToken,
    token_type: 'Bearer',
    expires_in: 3600,
    refresh_token: refreshToken,
    scope,
  }),
  tokenErrors: rfc6749,
  unauthorized: () => ({ status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } }),
  api: [[/^\/api\/user\/profile$/, () => ({ status: 200, body: { name: 'Ada Plain' } })]],
};

/** As `standardProvider`, but its API responds 403 to expired tokens. */
export const forbiddingApi: ProviderShape = {
  ...standardProvider,
  unauthorized: () => ({ status: 403, body: { message: 'Forbidden' } }),
};

const spotifyError = (status: number, message: string): FakeResponse => ({
  status,
  body: { error: { status, message } },
});
const spotifyArtist = (url: string, id: string) => ({
  external_urls: { spotify: `${url}/artist/${id}` },
  followers: { href: null, total: 306_565 },
  genres: ['indie folk'],
  href: `${url}/v1/artists/${id}`,
  id,
  images: [{ url: `${url}/image/${id}`, height: 640, width: 640 }],
  name: `Artist ${id}`,
  popularity: 59,
  type: 'artist',
  uri: `spotify:artist:${id}`,
});
const knownSearchTypes = ['album', 'artist', 'playlist', 'track', 'show', 'episode', 'audiobook'];

function spotifySearch({ query, headers }: ApiRequest): FakeResponse {
  const [q, types] = [query.get('q'), query.get('type')?.split(',') ?? []];
  const limit = Number(query.get('limit') ?? 20);
  if (!q) return spotifyError(400, 'No search query');
  if (types.length === 0) return spotifyError(400, 'Missing parameter type');
  if (!types.every((type) => knownSearchTypes.includes(type)))
    return spotifyError(400, 'Bad search type field');
  if (!(limit >= 1 && limit <= 50)) return spotifyError(400, 'Invalid limit');
  const url = `http://${headers.host}`;
  const items = Array.from({ length: limit }, (_, index) => ({
    artists: [{ id: `artist${index}`, name: 'Artist', type: 'artist', uri: `spotify:artist:artist${index}` }],
    duration_ms: 207_959,
    explicit: false,
    href: `${url}/v1/tracks/track${index}`,
    id: `track${index}`,
    name: `${q} ${index}`,
    popularity: 60,
    type: 'track',
    uri: `spotify:track:track${index}`,
  }));
  const page = {
    href: `${url}/v1/search`,
    items,
    limit,
    next: null,
    offset: 0,
    previous: null,
    total: limit,
  };
  return { status: 200, body: Object.fromEntries(types.map((type) => [`${type}s`, page])) };
}

/** developer.spotify.com: Basic authentication, tokens valid for an hour, refreshes without a new refresh token. */
export const spotify: ProviderShape = {
  authorizePath: '/authorize',
  tokenPath: '/api/token',
  clientAuth: 'client_secret_basic',
  grantTypes: [...userGrants, 'client_credentials'],
  tokenResponse: ({ type, accessToken, refreshToken, scope }) => ({
    access_token: accessToken,
    token_type: 'Bearer',
    expires_in: 3600,
    ...(type === 'authorization_code' && { refresh_token: refreshToken }),
    ...(type !== 'client_credentials' && { scope }),
  }),
  tokenErrors: {
    client: error(400, 'invalid_client', 'Invalid client'),
    code: error(400, 'invalid_grant', 'Invalid authorization code'),
    refresh_token: error(400, 'invalid_grant', 'Refresh token revoked'),
    grant_type: error(400, 'unsupported_grant_type', 'grant_type parameter is missing or unknown'),
  },
  unauthorized: (why) =>
    spotifyError(
      401,
      { none: 'No token provided', unknown: 'Invalid access token', expired: 'The access token expired' }[
        why
      ],
    ),
  api: [
    [
      /^\/v1\/me$/,
      ({ isApp, headers }) =>
        isApp
          ? spotifyError(401, 'Valid user authentication required')
          : {
              status: 200,
              body: {
                country: 'SE',
                display_name: 'Jamie Listener',
                email: 'jamie@example.test',
                explicit_content: { filter_enabled: false, filter_locked: false },
                external_urls: { spotify: 'https://open.spotify.com/user/jamie' },
                followers: { href: null, total: 12 },
                href: `http://${headers.host}/v1/users/jamie`,
                id: 'jamie',
                images: [{ url: 'https://i.scdn.co/image/jamie', height: 300, width: 300 }],
                product: 'premium',
                type: 'user',
                uri: 'spotify:user:jamie',
              },
            },
    ],
    [/^\/v1\/search$/, spotifySearch],
    [
      /^\/v1\/artists\/[0-9A-Za-z]{22}$/,
      ({ path, headers }) => ({
        status: 200,
        body: spotifyArtist(`http://${headers.host}`, path.split('/').at(-1)!),
      }),
    ],
    [/^\/v1\/artists\/[^/]+$/, () => spotifyError(400, 'Invalid base62 id')],
  ],
};

/** Spotify's rate-limit response, for `Faults.set`. */
export const spotifyTooManyRequests = {
  status: 429,
  headers: { 'content-type': 'application/json', 'retry-after': '7' },
  body: JSON.stringify({ error: { status: 429, message: 'API rate limit exceeded' } }),
};

const errorWith200 = (code: string, description: string): FakeResponse => ({
  ...error(200, code, description),
});

/** docs.github.com: errors with HTTP 200, scopes with commas, no expiry; the API requires a User-Agent. */
export const github: ProviderShape = {
  authorizePath: '/login/oauth/authorize',
  tokenPath: '/login/oauth/access_token',
  clientAuth: 'client_secret_post',
  grantTypes: userGrants,
  tokenResponse: ({ accessToken, scope }) => ({
    access_token: accessToken,
    token_type: 'bearer',
    scope: scope.split(' ').join(','),
  }),
  tokenErrors: {
    client: errorWith200(
      'incorrect_client_credentials',
      'The client_id and/or client_secret passed are incorrect.',
    ),
    code: errorWith200('bad_verification_code', 'The code passed is incorrect or expired.'),
    refresh_token: errorWith200('bad_refresh_token', 'The refresh token passed is incorrect or expired.'),
    grant_type: errorWith200('unsupported_grant_type', 'The grant type is not supported.'),
  },
  unauthorized: () => ({ status: 401, body: { message: 'Bad credentials', status: '401' } }),
  api: [
    [
      /^\/user$/,
      ({ headers }) =>
        headers['user-agent']
          ? {
              status: 200,
              body: {
                login: 'octo',
                id: 583_231,
                avatar_url: 'https://avatars.githubusercontent.com/u/583231',
                type: 'User',
                name: null,
                email: null,
              },
            }
          : { status: 403, body: 'Request forbidden by administrative rules. No User-Agent header.' },
    ],
  ],
};

/** A GitHub App with expiring user tokens: valid for eight hours, rotating refresh tokens. */
export const githubApp: ProviderShape = {
  ...github,
  tokenResponse: ({ accessToken, refreshToken }) => ({
    access_token: accessToken,
    expires_in: 28_800,
    refresh_token: refreshToken,
    refresh_token_expires_in: 15_897_600,
    scope: '',
    token_type: 'bearer',
  }),
};

const googleKey = generateKeyPairSync('rsa', { modulusLength: 2048 });

const googleProfile = {
  name: 'Grace Google',
  email: 'grace@example.test',
  email_verified: true,
  picture: 'https://lh3.googleusercontent.com/a/grace',
};

function googleIdToken({ url, clientId, nonce }: Grant, profile: object): string {
  const issuedAt = Math.floor(Date.now() / 1000);
  const subject = { iss: url, aud: clientId, azp: clientId, sub: '110169484474386276334' };
  const claims = { ...subject, iat: issuedAt, exp: issuedAt + 3600, nonce, ...profile };
  const parts = [{ alg: 'RS256', kid: 'k1', typ: 'JWT' }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  );
  const signature = sign('sha256', Buffer.from(parts.join('.')), googleKey.privateKey);
  return `${parts.join('.')}.${signature.toString('base64url')}`;
}

const googleGrant =
  (profile: object) =>
  (grant: Grant): unknown => ({
    access_token: grant.accessToken,
    expires_in: 3599,
    scope: grant.scope.replace(/\b(email|profile)\b/g, 'https://www.googleapis.com/auth/userinfo.$1'),
    token_type: 'Bearer',
    id_token: googleIdToken(grant, profile),
    ...(grant.type === 'authorization_code' && { refresh_token: grant.refreshToken }),
  });

/** developers.google.com: OpenID Connect; a refresh token only with `access_type=offline`, and none from a refresh. */
export const google: ProviderShape = {
  authorizePath: '/o/oauth2/v2/auth',
  tokenPath: '/token',
  clientAuth: 'client_secret_post',
  grantTypes: userGrants,
  tokenResponse: googleGrant(googleProfile),
  tokenErrors: {
    ...rfc6749,
    refresh_token: error(400, 'invalid_grant', 'Token has been expired or revoked.'),
  },
  unauthorized: () => ({ status: 401, body: { error: { code: 401, status: 'UNAUTHENTICATED' } } }),
  api: [[/^\/oauth2\/v3\/userinfo$/, () => ({ status: 200, body: { sub: '110169484474386276334' } })]],
  publicDocuments: {
    '/.well-known/openid-configuration': (url) => ({
      issuer: url,
      authorization_endpoint: `${url}/o/oauth2/v2/auth`,
      token_endpoint: `${url}/token`,
      userinfo_endpoint: `${url}/v1/userinfo`,
      revocation_endpoint: `${url}/revoke`,
      jwks_uri: `${url}/certs`,
      response_types_supported: ['code'],
      id_token_signing_alg_values_supported: ['RS256'],
      token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
      code_challenge_methods_supported: ['plain', 'S256'],
    }),
    '/certs': () => ({
      keys: [{ ...googleKey.publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' }],
    }),
  },
};

/** As Google, but the ID token has no name, and the userinfo endpoint does not follow OpenID Connect. */
export const googleWithOwnUserinfo = (id: string): ProviderShape => ({
  ...google,
  tokenResponse: googleGrant({}),
  api: [[/^\/v1\/userinfo$/, () => ({ status: 200, body: { id, full_name: 'Grace Elsewhere' } })]],
});

/** The provider of second_brain_database: client credentials in the form, one-hour tokens, rotating refresh tokens. */
export const secondBrainDatabase: ProviderShape = {
  ...standardProvider,
  authorizePath: '/oauth2/authorize',
  tokenPath: '/oauth2/token',
  revocationPath: '/oauth2/revoke',
  clientAuth: 'client_secret_post',
  unauthorized: () => ({ status: 401, body: { detail: 'Could not validate credentials' } }),
  api: [
    [
      /^\/api\/user\/profile$/,
      () => ({ status: 200, body: { username: 'mira', email: 'mira@example.test' } }),
    ],
    [/^\/api\/user\/data$/, () => ({ status: 200, body: { items: [] } })],
  ],
};
