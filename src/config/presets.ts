import type { RequestExample } from './reading/request-example.ts';

/** A row of the route table (`API_ROUTES_FILE`). */
interface PresetRoute {
  readonly path: string;
  /** Relative to OAUTH2_API_BASE_URL. */
  readonly target: string;
  readonly methods: Readonly<
    Record<string, { readonly allOf?: readonly string[]; readonly example?: RequestExample }>
  >;
  readonly token: 'user' | 'app';
  readonly query?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
}

interface Preset {
  /** What an operator would write into `.env` after reading the provider's documentation. */
  readonly variables: Readonly<Record<string, string>>;
  /** The route table without `API_ROUTES_FILE`. */
  readonly routes: readonly PresetRoute[];
}

/** GitHub's API rejects requests without a `User-Agent`. */
const headers = { 'User-Agent': 'Latchkey' };

/** Replaced with the operator's OAUTH2_API_BASE_URL. */
const apiBase = '{OAUTH2_API_BASE_URL}';

export const presets = {
  spotify: {
    variables: {
      OAUTH2_PROVIDER_NAME: 'Spotify',
      OAUTH2_ACCOUNT_URL: 'https://www.spotify.com/account/',
      OAUTH2_AUTHORIZATION_URL: 'https://accounts.spotify.com/authorize',
      OAUTH2_TOKEN_URL: 'https://accounts.spotify.com/api/token',
      OAUTH2_USERINFO_URL: 'https://api.spotify.com/v1/me',
      OAUTH2_USERINFO_CLAIMS: 'sub=id name=display_name|id email=email picture=images.0.url',
      OAUTH2_CLIENT_AUTH: 'client_secret_basic',
      OAUTH2_SCOPES: 'user-read-private user-read-email',
      OAUTH2_API_BASE_URL: 'https://api.spotify.com',
    },
    routes: [
      { path: '/profile', target: '/v1/me', methods: { GET: {} }, token: 'user' },
      {
        path: '/search',
        target: '/v1/search',
        methods: { GET: { example: { query: 'q=roses&type=track&limit=5' } } },
        token: 'app',
        query: ['q', 'type', 'limit', 'offset', 'market', 'include_external'],
      },
      {
        path: '/artists/:id',
        target: '/v1/artists/:id',
        methods: { GET: { example: { parameters: { id: '0OdUWJ0sBjDrqHygGUXeCF' } } } },
        token: 'app',
      },
    ],
  },
  github: {
    variables: {
      OAUTH2_PROVIDER_NAME: 'GitHub',
      OAUTH2_ACCOUNT_URL: 'https://github.com/settings/profile',
      OAUTH2_AUTHORIZATION_URL: 'https://github.com/login/oauth/authorize',
      OAUTH2_TOKEN_URL: 'https://github.com/login/oauth/access_token',
      OAUTH2_USERINFO_URL: 'https://api.github.com/user',
      OAUTH2_USERINFO_CLAIMS: 'sub=id name=name|login email=email picture=avatar_url',
      OAUTH2_CLIENT_AUTH: 'client_secret_post',
      OAUTH2_SCOPES: 'read:user user:email',
      OAUTH2_DEVIATIONS: 'error-in-200 own-error-codes scope-with-commas',
      OAUTH2_API_BASE_URL: 'https://api.github.com',
    },
    routes: [
      { path: '/profile', target: '/user', methods: { GET: {} }, token: 'user', headers },
      { path: '/repos', target: '/user/repos', methods: { GET: {} }, token: 'user', headers },
    ],
  },
  google: {
    variables: {
      OAUTH2_PROVIDER_NAME: 'Google',
      OAUTH2_ACCOUNT_URL: 'https://myaccount.google.com/',
      OAUTH2_ISSUER: 'https://accounts.google.com',
      OAUTH2_CLIENT_AUTH: 'client_secret_post',
      OAUTH2_SCOPES: 'openid email profile',
      // Without both, Google issues no refresh token, or one only at the user's first login.
      OAUTH2_AUTHORIZATION_PARAMS: 'access_type=offline&prompt=consent',
      OAUTH2_API_BASE_URL: 'https://www.googleapis.com',
    },
    routes: [{ path: '/profile', target: '/oauth2/v3/userinfo', methods: { GET: {} }, token: 'user' }],
  },
  'second-brain-database': {
    variables: {
      OAUTH2_PROVIDER_NAME: 'Second Brain Database',
      OAUTH2_AUTHORIZATION_URL: `${apiBase}/oauth2/authorize`,
      OAUTH2_TOKEN_URL: `${apiBase}/oauth2/token`,
      OAUTH2_REVOCATION_URL: `${apiBase}/oauth2/revoke`,
      OAUTH2_CLIENT_AUTH: 'client_secret_post',
      OAUTH2_SCOPES: 'read:profile read:data write:data',
    },
    routes: [
      { path: '/profile', target: '/api/user/profile', methods: { GET: {} }, token: 'user' },
      {
        path: '/data',
        target: '/api/user/data',
        methods: { GET: { allOf: ['read:data'] }, POST: { allOf: ['write:data'] } },
        token: 'user',
      },
    ],
  },
} as const satisfies Record<string, Preset>;

export type ProviderName = keyof typeof presets;

export const providerNames = Object.keys(presets) as readonly ProviderName[];

/** The route table without `API_ROUTES_FILE` and without a preset. */
export const defaultRouteTable = {
  routes: [
    { path: '/profile', target: '/api/user/profile', methods: { GET: {} } },
    {
      path: '/data',
      target: '/api/user/data',
      methods: {
        GET: { allOf: ['read:data'] },
        POST: { allOf: ['write:data'], example: { body: { title: 'Water the roses' } } },
      },
    },
  ],
};

/** Names of non-standard behaviour that the operator can declare; `oauth/deviations.ts` corrects it. */
export const deviationNames = [
  'token-type-missing',
  'scope-with-commas',
  'error-in-200',
  'own-error-codes',
  'expired-is-403',
  'nonce-missing',
  'email-verified-missing',
  'logout-exp-missing',
] as const;

export type DeviationName = (typeof deviationNames)[number];

type Variables = Readonly<Record<string, string | undefined>>;

const issuerVariables = ['OAUTH2_ISSUER', 'OAUTH2_AUTHORIZATION_URL', 'OAUTH2_TOKEN_URL'];
const isUrlVariable = (variable: string) => /_(ISSUER|URL)$/.test(variable);

/**
 * `settings`, with the value of the preset that `OAUTH2_PROVIDER` names for each variable that is not set. The URLs of
 * a preset belong together: when the operator configures another server, none of them applies, so that no token of one
 * provider is sent to another.
 */
export function applyPreset(settings: Variables): Variables {
  const provider = settings.OAUTH2_PROVIDER?.toLowerCase();
  const preset = Object.entries(presets).find(([name]) => name === provider)?.[1];
  if (!preset) return settings;
  const isOtherServer = issuerVariables.some((variable) => settings[variable] !== undefined);
  const base = settings.OAUTH2_API_BASE_URL?.replace(/\/+$/, '');
  const presetValues = Object.entries<string>(preset.variables)
    .filter(
      ([variable, value]) =>
        !(isOtherServer && isUrlVariable(variable)) && (base ?? !value.includes(apiBase)),
    )
    .map(([variable, value]) => [variable, value.replace(apiBase, base ?? '')]);
  const operatorValues = Object.entries(settings).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(presetValues), ...Object.fromEntries(operatorValues) };
}
