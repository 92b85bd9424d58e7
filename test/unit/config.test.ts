import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { variables } from '../../src/config/fields.ts';
import { ConfigError, loadConfig } from '../../src/config/load.ts';
import { deviationNames, presets, providerNames } from '../../src/config/presets.ts';

const good = {
  OAUTH2_ISSUER: 'https://login.example.com',
  OAUTH2_CLIENT_ID: 'client',
  OAUTH2_CLIENT_SECRET: 'hush-hush',
  OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
  OAUTH2_API_BASE_URL: 'https://api.example.com',
  SESSION_SECRET: 'x'.repeat(32),
};
const https = { OAUTH2_REDIRECT_URI: 'https://app.example.com/auth/callback', TRUST_PROXY: '1' };
const app = { OAUTH2_APP_CLIENT_ID: 'app', OAUTH2_APP_CLIENT_SECRET: 'app-hush' };

function faultsOf(env: Record<string, string | undefined>): string[] {
  try {
    loadConfig(env);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ variable }) => variable);
  }
}

test('what is left out has its documented default', () => {
  expect(loadConfig(good)).toMatchObject({
    production: false,
    host: '127.0.0.1',
    port: 3000,
    trustProxy: 0,
    logLevel: 'info',
    publicOrigin: 'http://localhost:3000',
    corsOrigins: [],
    authRateLimit: 600,
    provider: { clientAuth: 'client_secret_basic', scopes: ['read:profile', 'read:data', 'write:data'] },
    session: {
      cookie: { prefix: 'latchkey', secure: false, sameSite: 'lax' },
      idleSeconds: 86_400,
      absoluteSeconds: 604_800,
    },
    warnings: [],
  });
});

test('an empty variable is one that is not set', () => {
  const empty = Object.fromEntries(variables.map((each) => [each, '']));
  expect(loadConfig({ ...empty, ...good })).toEqual(loadConfig(good));
});

test('under https the cookies are secure and tied to this host', () => {
  expect(loadConfig({ ...good, ...https }).session.cookie).toEqual({
    prefix: '__Host-latchkey',
    secure: true,
    sameSite: 'lax',
  });
});

test('every fault is told at once, each with the variable, what is wrong and an example', () => {
  const env = {
    OAUTH2_TOKEN_URL: 'ftp://example.com',
    OAUTH2_AUTHORIZATION_URL: 'http://login.example.com/authorize',
    OAUTH2_REDIRECT_URI: 'https://app.example.com/callback',
    OAUTH2_SCOPES: 'read:data\twrite:data',
    SESSION_SECRET: `${'x'.repeat(40)},short`,
    SESSION_IDLE_SECONDS: '0',
    PORT: '70000',
    TRUST_PROXY: 'true',
    NODE_ENV: 'staging',
  };
  expect(new Set(faultsOf(env))).toEqual(
    new Set([
      'OAUTH2_TOKEN_URL',
      'OAUTH2_AUTHORIZATION_URL',
      'OAUTH2_CLIENT_ID',
      'OAUTH2_CLIENT_SECRET',
      'OAUTH2_REDIRECT_URI',
      'OAUTH2_API_BASE_URL',
      'OAUTH2_SCOPES',
      'SESSION_SECRET',
      'SESSION_IDLE_SECONDS',
      'PORT',
      'TRUST_PROXY',
      'NODE_ENV',
    ]),
  );
  expect(() => loadConfig(env)).toThrow(/PORT must be a port number.* Example: PORT=3000/);
});

test.each([
  ['no provider at all', { OAUTH2_ISSUER: undefined }, 'OAUTH2_ISSUER'],
  [
    'one endpoint of two',
    { OAUTH2_ISSUER: '', OAUTH2_TOKEN_URL: 'https://x.example/t' },
    'OAUTH2_AUTHORIZATION_URL',
  ],
  [
    'the other of two',
    { OAUTH2_ISSUER: '', OAUTH2_AUTHORIZATION_URL: 'https://x.example/a' },
    'OAUTH2_TOKEN_URL',
  ],
  ['an http provider', { OAUTH2_ISSUER: 'http://login.example.com' }, 'OAUTH2_ISSUER'],
  ['an http API', { OAUTH2_API_BASE_URL: 'http://api.internal' }, 'OAUTH2_API_BASE_URL'],
  ['an http app', { OAUTH2_REDIRECT_URI: 'http://app.example.com/auth/callback' }, 'OAUTH2_REDIRECT_URI'],
  [
    'a host that only looks like this machine',
    { OAUTH2_ISSUER: 'http://localhost.example.com' },
    'OAUTH2_ISSUER',
  ],
  ['secure cookies over http', { SESSION_COOKIE_SECURE: 'true' }, 'SESSION_COOKIE_SECURE'],
  ['https behind nobody', { ...https, TRUST_PROXY: '' }, 'TRUST_PROXY'],
  ['idle longer than absolute', { SESSION_ABSOLUTE_SECONDS: '60' }, 'SESSION_IDLE_SECONDS'],
  ['memory in production', { NODE_ENV: 'production' }, 'REDIS_URL'],
  ['a store of another kind', { REDIS_URL: 'http://localhost' }, 'REDIS_URL'],
  ['a proxy that is no address', { TRUST_PROXY: 'banana' }, 'TRUST_PROXY'],
  ['a network that is none', { TRUST_PROXY: '10.0.0.0/99' }, 'TRUST_PROXY'],
  ['a session for ever', { SESSION_ABSOLUTE_SECONDS: '99999999999999' }, 'SESSION_ABSOLUTE_SECONDS'],
  ['an issuer with a query', { OAUTH2_ISSUER: 'https://login.example.com/?q=1' }, 'OAUTH2_ISSUER'],
  ['three client secrets', { OAUTH2_CLIENT_SECRET: 'a,b,c' }, 'OAUTH2_CLIENT_SECRET'],
  [
    'replicas of a cluster',
    { REDIS_URL: 'redis+cluster://a:1,b:2', REDIS_WAIT_REPLICAS: '1' },
    'REDIS_WAIT_REPLICAS',
  ],
  [
    'the demo secret in public',
    { ...https, SESSION_SECRET: `demo-only-${'x'.repeat(30)}` },
    'SESSION_SECRET',
  ],
  ['the demo client in public', { ...https, OAUTH2_CLIENT_SECRET: 'demo-only-x' }, 'OAUTH2_CLIENT_SECRET'],
  ['any origin', { CORS_ORIGINS: '*' }, 'CORS_ORIGINS'],
  ['any origin of a domain', { CORS_ORIGINS: 'https://*.example.com' }, 'CORS_ORIGINS'],
  ['the null origin', { CORS_ORIGINS: 'null' }, 'CORS_ORIGINS'],
  ['an origin with a slash', { CORS_ORIGINS: 'https://spa.example.com/' }, 'CORS_ORIGINS'],
  ['an origin with a path', { CORS_ORIGINS: 'https://spa.example.com/app' }, 'CORS_ORIGINS'],
  ['an origin with a user', { CORS_ORIGINS: 'https://me@spa.example.com' }, 'CORS_ORIGINS'],
  ['an origin with its default port', { CORS_ORIGINS: 'https://spa.example.com:443' }, 'CORS_ORIGINS'],
  ['an origin in upper case', { CORS_ORIGINS: 'https://SPA.example.com' }, 'CORS_ORIGINS'],
  ['a host without a scheme', { CORS_ORIGINS: 'spa.example.com' }, 'CORS_ORIGINS'],
  ['one bad origin of two', { CORS_ORIGINS: 'https://spa.example.com,ftp://x.example' }, 'CORS_ORIGINS'],
  ['a comma with nothing behind it', { CORS_ORIGINS: 'https://spa.example.com,' }, 'CORS_ORIGINS'],
  ['an http origin', { CORS_ORIGINS: 'http://spa.example.com' }, 'CORS_ORIGINS'],
  ['our own origin', { CORS_ORIGINS: 'http://localhost:3000' }, 'CORS_ORIGINS'],
  ['a limit below nothing', { AUTH_RATE_LIMIT: '-1' }, 'AUTH_RATE_LIMIT'],
  ['a logo without TLS', { APP_LOGO_URL: 'http://cdn.example/logo.svg' }, 'APP_LOGO_URL'],
  ['a logo that is a script', { APP_LOGO_URL: 'javascript:alert(1)' }, 'APP_LOGO_URL'],
  ['a logo of another host in disguise', { APP_LOGO_URL: '//cdn.example/logo.svg' }, 'APP_LOGO_URL'],
  ['another disguise', { APP_LOGO_URL: '/\\cdn.example/logo.svg' }, 'APP_LOGO_URL'],
  ['a logo that is no address', { APP_LOGO_URL: 'logo.svg' }, 'APP_LOGO_URL'],
  ['a provider nobody knows', { OAUTH2_PROVIDER: 'myspace' }, 'OAUTH2_PROVIDER'],
  ['a deviation nobody knows', { OAUTH2_DEVIATIONS: 'error-in-200 moody' }, 'OAUTH2_DEVIATIONS'],
  [
    'parameters that are no query string',
    { OAUTH2_AUTHORIZATION_PARAMS: 'prompt' },
    'OAUTH2_AUTHORIZATION_PARAMS',
  ],
  ['an unknown claim', { OAUTH2_USERINFO_CLAIMS: 'sub=id roles=groups' }, 'OAUTH2_USERINFO_CLAIMS'],
  ['a claim without a place', { OAUTH2_USERINFO_CLAIMS: 'sub=id name=' }, 'OAUTH2_USERINFO_CLAIMS'],
  [
    'claims of an answer nobody asks for',
    {
      ...{ OAUTH2_ISSUER: '', OAUTH2_AUTHORIZATION_URL: 'https://x.example/a' },
      ...{ OAUTH2_TOKEN_URL: 'https://x.example/t', OAUTH2_USERINFO_CLAIMS: 'sub=id' },
    },
    'OAUTH2_USERINFO_URL',
  ],
  [
    'the demo client of the app in public',
    { ...https, ...app, OAUTH2_APP_CLIENT_SECRET: 'demo-only-x' },
    'OAUTH2_APP_CLIENT_SECRET',
  ],
  [
    'an http provider of app tokens',
    { ...app, OAUTH2_APP_ISSUER: 'http://id.internal' },
    'OAUTH2_APP_ISSUER',
  ],
  [
    'an http token endpoint',
    { ...app, OAUTH2_APP_TOKEN_URL: 'http://id.internal/t' },
    'OAUTH2_APP_TOKEN_URL',
  ],
  ['an app client without its secret', { OAUTH2_APP_CLIENT_ID: 'app' }, 'OAUTH2_APP_CLIENT_SECRET'],
  ['a secret of no app client', { OAUTH2_APP_CLIENT_SECRET: 'app' }, 'OAUTH2_APP_CLIENT_ID'],
  [
    'another provider without a client there',
    { OAUTH2_APP_ISSUER: 'https://id.example', OAUTH2_APP_CLIENT_ID: 'app' },
    'OAUTH2_APP_CLIENT_SECRET',
  ],
  ['a password in a URL', { OAUTH2_API_BASE_URL: 'https://me:pw@api.example.com' }, 'OAUTH2_API_BASE_URL'],
])('%s is a fault of exactly one variable', (_what, env, variable) => {
  expect(faultsOf({ ...good, ...env })).toEqual([variable]);
});

test('http on a private network is allowed when asked for, and warned of', () => {
  const env = { ...good, OAUTH2_API_BASE_URL: 'http://api.internal', OAUTH2_ALLOW_HTTP: 'true' };
  expect(loadConfig(env).warnings).toEqual([expect.stringContaining('OAUTH2_ALLOW_HTTP')]);
});

test('origins are listed as browsers send them, and none are unless they are', () => {
  expect(
    loadConfig({ ...good, CORS_ORIGINS: 'https://spa.example.com, http://localhost:5173,http://[::1]:8081' })
      .corsOrigins,
  ).toEqual(['https://spa.example.com', 'http://localhost:5173', 'http://[::1]:8081']);
  const onPrivateNetwork = { CORS_ORIGINS: 'http://spa.internal', OAUTH2_ALLOW_HTTP: 'true' };
  expect(loadConfig({ ...good, ...onPrivateNetwork }).corsOrigins).toEqual(['http://spa.internal']);
});

test("the app's own tokens come from where and as whom users sign in, unless another client is named", () => {
  expect(loadConfig({ ...good, OAUTH2_APP_SCOPES: 'a b' }).app).toEqual({
    provider: undefined,
    scopes: ['a', 'b'],
  });
  expect(loadConfig(good).app.scopes).toEqual([]);
  const basis = {
    ...good,
    ...app,
    OAUTH2_TOKEN_URL: 'https://login.example.com/t',
    OAUTH2_CLIENT_AUTH: 'client_secret_post',
  };
  expect(loadConfig(basis).app.provider).toMatchObject({
    issuer: new URL('https://login.example.com'),
    endpoints: { token_endpoint: 'https://login.example.com/t' },
    clientId: 'app',
    clientAuth: 'client_secret_post',
  });
  expect(loadConfig({ ...basis, OAUTH2_APP_ISSUER: 'https://id.example' }).app.provider).toMatchObject({
    issuer: new URL('https://id.example'),
    endpoints: { token_endpoint: undefined },
  });
  const elsewhere = {
    OAUTH2_APP_TOKEN_URL: 'https://id.example/t',
    OAUTH2_APP_CLIENT_AUTH: 'client_secret_basic',
  };
  expect(loadConfig({ ...basis, ...elsewhere }).app.provider).toMatchObject({
    issuer: undefined,
    endpoints: { token_endpoint: 'https://id.example/t' },
    clientAuth: 'client_secret_basic',
  });
  for (const variable of ['OAUTH2_APP_ISSUER', 'OAUTH2_APP_TOKEN_URL'])
    expect(faultsOf({ ...good, [variable]: 'https://id.example' })).toEqual(Object.keys(app));
});

test('pages call the app Latchkey, with its own logo, unless the operator says otherwise', () => {
  expect(loadConfig(good).brand).toEqual({ name: 'Latchkey', logoUrl: '/assets/icon.svg' });
  const brand = { APP_NAME: 'Garden House', APP_LOGO_URL: 'https://cdn.example/logo.svg' };
  expect(loadConfig({ ...good, ...brand }).brand).toEqual({
    name: 'Garden House',
    logoUrl: 'https://cdn.example/logo.svg',
  });
});

test('loopback may be http by every name it has', () => {
  for (const host of ['localhost:1', '127.0.0.1:2', '127.9.8.7', '[::1]:3'])
    expect(faultsOf({ ...good, OAUTH2_ISSUER: `http://${host}` })).toEqual([]);
});

test('no secret is ever printed, in a fault or from a configuration', () => {
  const secret = 'a-secret-that-nobody-should-ever-read';
  const env = {
    ...good,
    SESSION_SECRET: `${secret},short`,
    OAUTH2_CLIENT_SECRET: secret,
    REDIS_URL: `http://:${secret}@x`,
  };
  expect(() => loadConfig(env)).toThrow(ConfigError);
  try {
    loadConfig(env);
  } catch (error) {
    expect(inspect(error, { depth: 9 })).not.toContain(secret);
  }
  const config = loadConfig({
    ...good,
    SESSION_SECRET: secret,
    OAUTH2_CLIENT_SECRET: secret,
    REDIS_URL: `redis://:${secret}@x`,
  });
  expect(inspect(config, { depth: 9 }) + JSON.stringify(config)).not.toContain(secret);
  expect(`${config.provider.clientSecrets[0]}`).toBe('[secret]');
  expect(config.provider.clientSecrets[0]?.reveal()).toBe(secret);
});

test('.env.example holds exactly the variables of the schema', () => {
  const example = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8');
  expect([...example.matchAll(/^([A-Z0-9_]+)=/gm)].map(([, name]) => name)).toEqual([...variables]);
});

test('proxies are named by how many, by address, by network or by kind', () => {
  for (const value of [
    '0',
    'false',
    '2',
    '10.1.2.3',
    '10.0.0.0/8, 192.168.0.0/16',
    '::1',
    'fd00::/8',
    'loopback,uniquelocal',
  ])
    expect(faultsOf({ ...good, TRUST_PROXY: value })).toEqual([]);
});

const bare = {
  OAUTH2_CLIENT_ID: 'client',
  OAUTH2_CLIENT_SECRET: 'hush-hush',
  OAUTH2_REDIRECT_URI: 'http://127.0.0.1:3000/auth/callback',
  SESSION_SECRET: 'x'.repeat(32),
};
const ours = { OAUTH2_API_BASE_URL: 'https://sbd.example.com/base/' };

test.each(['spotify', 'github', 'google'])(
  '%s needs only client, redirect URI and session secret',
  (name) => {
    const config = loadConfig({ ...bare, OAUTH2_PROVIDER: name });
    expect(config.routes.map(({ path }) => path)).toEqual(expect.arrayContaining(['/profile']));
    for (const { origin } of config.routes) expect(origin).toMatch(/^https:/);
    const { issuer, endpoints } = config.provider;
    expect(issuer ?? (endpoints.authorization_endpoint && endpoints.token_endpoint)).toBeTruthy();
  },
);

test('a preset that lives wherever the API is needs that address, and nothing else is called missing', () => {
  const env = { ...bare, OAUTH2_PROVIDER: 'second-brain-database' };
  expect(faultsOf(env)).toEqual(['OAUTH2_API_BASE_URL']);
  expect(faultsOf({ ...env, API_ROUTES_FILE: 'docs/api-routes.schema.json' })).toContain(
    'OAUTH2_API_BASE_URL',
  );
  expect(loadConfig({ ...env, ...ours }).provider.endpoints).toMatchObject({
    authorization_endpoint: 'https://sbd.example.com/base/oauth2/authorize',
    token_endpoint: 'https://sbd.example.com/base/oauth2/token',
    revocation_endpoint: 'https://sbd.example.com/base/oauth2/revoke',
  });
});

test.each(providerNames)('every value of the preset %s is one an operator could have written', (name) => {
  const { variables: preset } = presets[name];
  expect(variables).toEqual(expect.arrayContaining(Object.keys(preset)));
  const written = Object.entries<string>(preset).map(([variable, value]) => [
    variable,
    value.replace('{OAUTH2_API_BASE_URL}', 'https://sbd.example.com/base'),
  ]);
  const byHand = loadConfig({ ...bare, ...ours, ...Object.fromEntries(written) });
  const own = 'OAUTH2_API_BASE_URL' in preset ? {} : ours;
  const config = loadConfig({ ...bare, ...own, OAUTH2_PROVIDER: name });
  expect({ ...config, routes: byHand.routes }).toEqual(byHand);
  expect(config.routes.map(({ path }) => path)).toEqual(presets[name].routes.map(({ path }) => path));
});

test('what an operator sets wins over the preset, one by one, and an empty variable sets nothing', () => {
  const config = loadConfig({
    ...bare,
    OAUTH2_PROVIDER: 'github',
    OAUTH2_SCOPES: 'repo',
    OAUTH2_CLIENT_AUTH: 'client_secret_basic',
    OAUTH2_PROVIDER_NAME: 'Our GitHub',
    OAUTH2_DEVIATIONS: 'error-in-200',
    OAUTH2_API_BASE_URL: 'https://mirror.example.com',
    OAUTH2_TOKEN_URL: '',
  });
  expect(config.provider).toMatchObject({
    name: 'Our GitHub',
    scopes: ['repo'],
    clientAuth: 'client_secret_basic',
    deviations: ['error-in-200'],
    endpoints: { token_endpoint: 'https://github.com/login/oauth/access_token' },
  });
  expect(config.routes[0]?.origin).toBe('https://mirror.example.com');
});

test('who names another server gets none of the preset addresses, so that no token goes astray', () => {
  const enterprise = {
    ...{ ...bare, OAUTH2_PROVIDER: 'github' },
    OAUTH2_AUTHORIZATION_URL: 'https://git.example.com/login/oauth/authorize',
  };
  expect(new Set(faultsOf(enterprise))).toEqual(
    new Set(['OAUTH2_TOKEN_URL', 'OAUTH2_USERINFO_URL', 'OAUTH2_API_BASE_URL']),
  );
  const config = loadConfig({
    ...enterprise,
    OAUTH2_TOKEN_URL: 'https://git.example.com/login/oauth/access_token',
    OAUTH2_USERINFO_URL: 'https://git.example.com/api/v3/user',
    OAUTH2_API_BASE_URL: 'https://git.example.com/api/v3',
  });
  expect(inspect(config, { depth: 9 })).not.toContain('github.com');
  expect(config.provider.deviations).toContain('error-in-200');
});

test.each([
  ...['response_type', 'response_mode', 'client_id', 'redirect_uri', 'scope', 'state', 'nonce'],
  ...['code_challenge', 'code_challenge_method', 'request', 'request_uri', 'client_secret'],
  ...['grant_type', 'code', 'code_verifier', 'refresh_token', 'client_assertion', 'client_assertion_type'],
])('no extra parameter can take the place of %s, and the fault names it', (name) => {
  for (const variable of ['OAUTH2_AUTHORIZATION_PARAMS', 'OAUTH2_TOKEN_PARAMS']) {
    const env = { ...good, [variable]: `audience=x&${encodeURIComponent(name).replace('_', '%5F')}=y` };
    expect(faultsOf(env)).toEqual([variable]);
    expect(() => loadConfig(env)).toThrow(`${variable} must not set ${name}:`);
  }
});

test('an API says that a token has ended with 401, and with 403 where that is declared', () => {
  expect(loadConfig(good).routes[0]?.tokenRefusedStatuses).toEqual([401]);
  const declared = loadConfig({ ...good, OAUTH2_DEVIATIONS: 'expired-is-403' });
  expect(declared.routes[0]?.tokenRefusedStatuses).toEqual([401, 403]);
});

test('docs/providers.md tells of every preset and every deviation, and of no other', () => {
  const page = readFileSync(new URL('../../docs/providers.md', import.meta.url), 'utf8');
  expect([...page.matchAll(/^OAUTH2_PROVIDER=(.+)$/gm)].map(([, name]) => name)).toEqual(providerNames);
  const table = page.slice(page.indexOf('## Deviations'), page.indexOf('These need no declaration'));
  expect([...table.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name)).toEqual(deviationNames);
});
