import { z } from 'zod';
import { paths } from '../paths.ts';
import type { Field } from './field-types.ts';
import * as type from './field-types.ts';
import { providerNames } from './presets.ts';
import { redirectUri } from './reading/base-path.ts';
import { clientSecret } from './secret-types.ts';

/** The provider at which users sign in. */
export const providerFields = {
  OAUTH2_PROVIDER: {
    type: type.choice(providerNames, `must be one of: ${providerNames.join(' ')}`).optional(),
    example: 'spotify',
    meaning:
      'A preset with the settings of a known provider (docs/providers.md). It applies to settings that you leave empty. With a preset, OAUTH2_CLIENT_ID, OAUTH2_CLIENT_SECRET, OAUTH2_REDIRECT_URI and SESSION_SECRET are enough (second-brain-database also needs OAUTH2_API_BASE_URL). One of: spotify, github, google, second-brain-database.',
    unset: 'no preset',
  },
  OAUTH2_ISSUER: {
    type: type.issuer.optional(),
    example: 'https://login.example.com',
    meaning:
      "The provider's issuer URL. Latchkey discovers the endpoints from it (OpenID Connect Discovery, RFC 8414).",
    unset:
      'required, unless OAUTH2_PROVIDER is set, or OAUTH2_AUTHORIZATION_URL and OAUTH2_TOKEN_URL are both set',
  },
  OAUTH2_AUTHORIZATION_URL: {
    type: type.url.optional(),
    example: 'https://login.example.com/authorize',
    meaning:
      'The authorization endpoint. Set it for a provider without discovery, or to override the discovered one.',
    unset: 'discovered',
  },
  OAUTH2_TOKEN_URL: {
    type: type.url.optional(),
    example: 'https://login.example.com/token',
    meaning: 'The token endpoint. Set it together with OAUTH2_AUTHORIZATION_URL.',
    unset: 'discovered',
  },
  OAUTH2_REVOCATION_URL: {
    type: type.url.optional(),
    example: 'https://login.example.com/revoke',
    meaning:
      'The revocation endpoint (RFC 7009), for sign-out. Without one, tokens stay valid at the provider until they expire.',
    unset: 'discovered',
  },
  OAUTH2_USERINFO_URL: {
    type: type.url.optional(),
    example: 'https://login.example.com/userinfo',
    meaning: 'The userinfo endpoint.',
    unset: 'discovered',
  },
  OAUTH2_USERINFO_CLAIMS: {
    type: type.claimMap.optional(),
    example: 'sub=id name=display_name|login picture=images.0.url',
    meaning:
      'Where sub, name, email and picture are in a userinfo response that is not OpenID Connect. A | separates alternatives; the first that exists is used.',
    unset: 'as in OpenID Connect',
  },
  OAUTH2_END_SESSION_URL: {
    type: type.url.optional(),
    example: 'https://login.example.com/logout',
    meaning:
      "The end-session endpoint, to which sign-out sends the browser to end the provider's own session. The provider sends the browser back to /auth/signed-out on this app: register that URL at the provider. Without an endpoint, sign-out leads to /auth/signed-out directly.",
    unset: 'discovered',
  },
  OAUTH2_JWKS_URL: {
    type: type.url.optional(),
    example: 'https://login.example.com/jwks',
    meaning: "The provider's public keys, for ID tokens.",
    unset: 'discovered',
  },
  OAUTH2_CLIENT_ID: {
    type: z.string('is missing'),
    example: 'latchkey',
    meaning: 'The client id that the provider gave you.',
    unset: 'required',
  },
  OAUTH2_CLIENT_SECRET: {
    type: z.string('is missing').pipe(clientSecret),
    example: 'the secret the provider gave you for this client',
    meaning: 'The client secret, exactly as the provider shows it.',
    unset: 'required',
    isSecret: true,
  },
  OAUTH2_CLIENT_SECRET_NEXT: {
    type: clientSecret.optional(),
    example: 'the new secret the provider gave you for this client',
    meaning:
      'The second client secret during a rotation: Latchkey uses the one of the two that the provider accepts. After the rotation, move its value to OAUTH2_CLIENT_SECRET.',
    unset: 'none',
    isSecret: true,
  },
  OAUTH2_CLIENT_AUTH: {
    type: type.clientAuth.default('client_secret_basic'),
    example: 'client_secret_basic',
    meaning:
      'How the secret is sent: client_secret_basic (in a header) or client_secret_post (in the request body). Change it if the provider returns invalid_client although the secret is correct.',
    unset: 'client_secret_basic',
  },
  OAUTH2_REDIRECT_URI: {
    type: redirectUri,
    example: `https://app.example.com${paths.callback}`,
    meaning: `The URL of this app's callback, exactly as registered at the provider. Its origin is the public origin of the app, and its path is ${paths.callback}. A path before that is the base path, below which the whole app then is: https://app.example.com/portal${paths.callback}.`,
    unset: 'required',
  },
  OAUTH2_SCOPES: {
    type: type.scopes.default(['read:profile', 'read:data', 'write:data']),
    example: 'openid profile read:data',
    meaning:
      'The requested scopes, separated by spaces. If they include openid and the issuer is set, Latchkey identifies the user by an ID token.',
    unset: 'read:profile read:data write:data',
  },
  OAUTH2_AUTHORIZATION_PARAMS: {
    type: type.parameters.default([]),
    example: 'audience=my-api&prompt=consent',
    meaning: 'Additional parameters of the authorization request, as a query string.',
    unset: 'none',
  },
  OAUTH2_TOKEN_PARAMS: {
    type: type.parameters.default([]),
    example: 'audience=my-api',
    meaning:
      'Additional parameters of every token request, as a query string. resource (RFC 8707) and audience often have to be set here and in OAUTH2_AUTHORIZATION_PARAMS.',
    unset: 'none',
  },
  OAUTH2_DEVIATIONS: {
    type: type.deviations.default([]),
    example: 'token-type-missing scope-with-commas',
    meaning:
      "The provider's deviations from the standards, by their names in docs/providers.md, separated by spaces.",
    unset: 'none',
  },
  OAUTH2_CLOCK_TOLERANCE_SECONDS: {
    type: type.clockTolerance.default(30),
    example: '60',
    meaning:
      'How many seconds the clock of the provider may differ from that of Latchkey when Latchkey checks the times in an ID token.',
    unset: '30',
  },
  OAUTH2_LOGOUT_HINT: {
    type: z
      .enum(['none', 'logout_hint', 'id_token'], 'must be none, logout_hint or id_token')
      .default('none'),
    example: 'logout_hint',
    meaning:
      "Which hint about the user Latchkey sends to the provider at sign-out. Some providers otherwise ask the user to confirm every sign-out. none; logout_hint: the ID token's login_hint claim, or else the user's sub; id_token: the ID token as id_token_hint. With id_token, the ID token becomes visible in the browser; no other setting exposes a token (decision 5).",
    unset: 'none',
  },
  OAUTH2_BACKCHANNEL_LOGOUT_SESSION_REQUIRED: {
    type: type.flag.default(false),
    example: 'true',
    meaning:
      'true rejects logout tokens without a session id (sid), which would end the sessions of the user on all devices. Set it if you have registered backchannel_logout_session_required at the provider (docs/providers.md).',
    unset: 'false',
  },
  OAUTH2_PROVIDER_NAME: {
    type: z.string().optional(),
    example: 'Example ID',
    meaning:
      "The provider's name on the pages, in every language: a proper name without an article, such as Example ID.",
    unset: 'the host name of the provider, such as login.example.com',
  },
  OAUTH2_PROVIDER_LOGO_URL: {
    type: type.logo.default(`${paths.assets}/sign-in.svg`),
    example: '/auth/assets/provider.svg',
    meaning:
      "The provider's logo on the sign-in button, on white: an https:// URL, or the path of a file in public/, which is served under /auth/assets/. A path is below the base path.",
    unset: `${paths.assets}/sign-in.svg, a neutral icon`,
  },
  OAUTH2_ALLOW_HTTP: {
    type: type.flag.default(false),
    example: 'true',
    meaning:
      'true allows http:// URLs for hosts other than this machine. Tokens are then sent unencrypted: use it on private networks only.',
    unset: 'false',
  },
} as const satisfies Record<string, Field>;

/** The API behind `/api/*`. */
export const apiFields = {
  OAUTH2_API_BASE_URL: {
    type: type.url.refine((value) => !value.search, 'must not contain a query string').optional(),
    example: 'https://api.example.com',
    meaning: 'The API to which /api/* is forwarded.',
    unset: 'required, unless OAUTH2_PROVIDER or API_ROUTES_FILE is set',
  },
  API_ROUTES_FILE: {
    type: z.string().optional(),
    example: './api-routes.json',
    meaning: 'The route table: a JSON file with the routes under /api (docs/api-routes.md).',
    unset:
      'the routes of OAUTH2_PROVIDER, else /api/profile and /api/data, forwarded to /api/user/profile and /api/user/data at OAUTH2_API_BASE_URL',
  },
} as const satisfies Record<string, Field>;

/** App tokens: for the application itself, not for a user (RFC 6749 4.4). */
export const appTokenFields = {
  OAUTH2_APP_ISSUER: {
    type: type.issuer.optional(),
    example: 'https://login.example.org',
    meaning:
      'The issuer URL of the provider of app tokens (client credentials grant), if it is not the provider where users sign in.',
    unset: 'the provider where users sign in',
  },
  OAUTH2_APP_TOKEN_URL: {
    type: type.url.optional(),
    example: 'https://login.example.org/token',
    meaning: 'The token endpoint of that provider, if it has no discovery.',
    unset: 'discovered',
  },
  OAUTH2_APP_CLIENT_ID: {
    type: z.string().optional(),
    example: 'latchkey-app',
    meaning:
      'The client id for app tokens. Required if any other OAUTH2_APP_ setting except the scopes is set.',
    unset: 'OAUTH2_CLIENT_ID',
  },
  OAUTH2_APP_CLIENT_SECRET: {
    type: clientSecret.optional(),
    example: 'the secret the provider gave you for that client',
    meaning: 'The secret of that client.',
    unset: 'OAUTH2_CLIENT_SECRET',
    isSecret: true,
  },
  OAUTH2_APP_CLIENT_SECRET_NEXT: {
    type: clientSecret.optional(),
    example: 'the new secret the provider gave you for that client',
    meaning: 'The second secret of that client during a rotation. It works like OAUTH2_CLIENT_SECRET_NEXT.',
    unset: 'none',
    isSecret: true,
  },
  OAUTH2_APP_CLIENT_AUTH: {
    type: type.clientAuth.optional(),
    example: 'client_secret_basic',
    meaning: 'How the secret of that client is sent: client_secret_basic or client_secret_post.',
    unset: 'the value of OAUTH2_CLIENT_AUTH',
  },
  OAUTH2_APP_SCOPES: {
    type: type.scopes.default([]),
    example: 'read:catalogue',
    meaning: 'The scopes to request for an app token when the route lists none, separated by spaces.',
    unset: 'none, so the provider decides',
  },
} as const satisfies Record<string, Field>;
