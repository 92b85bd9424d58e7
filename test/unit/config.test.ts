import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { fields, variables } from '../../src/config/fields.ts';
import { ConfigError, loadConfig } from '../../src/config/load.ts';
import { deviationNames, presets, providerNames } from '../../src/config/presets.ts';
import { findIgnoredProxy } from '../../src/config/reading/environment.ts';

const valid = {
  OAUTH2_ISSUER: 'https://login.example.com',
  OAUTH2_CLIENT_ID: 'client',
  OAUTH2_CLIENT_SECRET: 'hush-hush',
  OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
  OAUTH2_API_BASE_URL: 'https://api.example.com',
  SESSION_SECRET: 'a-secret-for-tests-that-is-long-enough',
};
const https = { OAUTH2_REDIRECT_URI: 'https://app.example.com/auth/callback', TRUST_PROXY: '1' };
const app = { OAUTH2_APP_CLIENT_ID: 'app', OAUTH2_APP_CLIENT_SECRET: 'app-hush' };

const secretVariables = [
  ...(['SESSION_SECRET', 'OAUTH2_CLIENT_SECRET', 'OAUTH2_CLIENT_SECRET_NEXT'] as const),
  ...(['OAUTH2_APP_CLIENT_SECRET', 'OAUTH2_APP_CLIENT_SECRET_NEXT'] as const),
];

function faultsOf(env: Record<string, string | undefined>): string[] {
  try {
    loadConfig(env);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ variable }) => variable);
  }
}

test('an unset variable has its documented default', () => {
  expect(loadConfig(valid)).toMatchObject({
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
      cookie: {
        name: 'latchkey-3000',
        loginName: 'latchkey-3000-login',
        flashName: 'latchkey-3000-flash',
        secure: false,
        sameSite: 'lax',
      },
      idleSeconds: 86_400,
      absoluteSeconds: 604_800,
    },
    warnings: [],
  });
});

test('an empty variable counts as unset', () => {
  const empty = Object.fromEntries(variables.map((each) => [each, '']));
  const { routeOptions: _, ...config } = loadConfig(valid);
  expect(loadConfig({ ...empty, ...valid })).toMatchObject(config);
});

test('with https, cookies are Secure and have the prefix __Host-Http-', () => {
  expect(loadConfig({ ...valid, ...https }).session.cookie).toEqual({
    name: '__Host-Http-latchkey',
    loginName: '__Host-Http-latchkey-login',
    flashName: '__Host-Http-latchkey-flash',
    secure: true,
    sameSite: 'lax',
  });
});

test.each([
  ['https://app.example.com:8443', '__Host-Http-latchkey-8443'],
  ['https://app.example.com:443', '__Host-Http-latchkey'],
  ['http://localhost:21001', 'latchkey-21001'],
  ['http://localhost', 'latchkey'],
])('at the public origin %s, the session cookie is named %s', (origin, name) => {
  const env = { ...valid, ...https, OAUTH2_REDIRECT_URI: `${origin}/auth/callback` };
  expect(loadConfig(env).session.cookie).toMatchObject({ name, loginName: `${name}-login` });
});

test('all problems are reported at once, each with the variable, the problem and an example', () => {
  const env = {
    OAUTH2_TOKEN_URL: 'ftp://example.com',
    OAUTH2_AUTHORIZATION_URL: 'http://login.example.com/authorize',
    OAUTH2_REDIRECT_URI: 'https://app.example.com/callback',
    OAUTH2_SCOPES: 'read:data\twrite:data',
    SESSION_SECRET: 'a-secret-for-tests-that-is-long-enough,short',
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
    'a token endpoint without an authorization endpoint',
    { OAUTH2_ISSUER: '', OAUTH2_TOKEN_URL: 'https://x.example/t' },
    'OAUTH2_AUTHORIZATION_URL',
  ],
  [
    'an authorization endpoint without a token endpoint',
    { OAUTH2_ISSUER: '', OAUTH2_AUTHORIZATION_URL: 'https://x.example/a' },
    'OAUTH2_TOKEN_URL',
  ],
  ['a provider without TLS', { OAUTH2_ISSUER: 'http://login.example.com' }, 'OAUTH2_ISSUER'],
  ['an API without TLS', { OAUTH2_API_BASE_URL: 'http://api.internal' }, 'OAUTH2_API_BASE_URL'],
  [
    'a redirect URI without TLS',
    { OAUTH2_REDIRECT_URI: 'http://app.example.com/auth/callback' },
    'OAUTH2_REDIRECT_URI',
  ],
  [
    'a host that only looks like this machine',
    { OAUTH2_ISSUER: 'http://localhost.example.com' },
    'OAUTH2_ISSUER',
  ],
  ['secure cookies over http', { SESSION_COOKIE_SECURE: 'true' }, 'SESSION_COOKIE_SECURE'],
  ['https without a trusted proxy', { ...https, TRUST_PROXY: '' }, 'TRUST_PROXY'],
  ['an idle lifetime over the absolute one', { SESSION_ABSOLUTE_SECONDS: '60' }, 'SESSION_IDLE_SECONDS'],
  ['no Redis in production', { NODE_ENV: 'production' }, 'REDIS_URL'],
  ['a Redis URL with another scheme', { REDIS_URL: 'http://localhost' }, 'REDIS_URL'],
  ['a trusted proxy that is not an address', { TRUST_PROXY: 'banana' }, 'TRUST_PROXY'],
  ['an invalid network', { TRUST_PROXY: '10.0.0.0/99' }, 'TRUST_PROXY'],
  [
    'a practically endless session',
    { SESSION_ABSOLUTE_SECONDS: '99999999999999' },
    'SESSION_ABSOLUTE_SECONDS',
  ],
  ['an issuer with a query', { OAUTH2_ISSUER: 'https://login.example.com/?q=1' }, 'OAUTH2_ISSUER'],
  [
    'waiting for replicas in a cluster',
    { REDIS_URL: 'redis+cluster://a:1,b:2', REDIS_WAIT_REPLICAS: '1' },
    'REDIS_WAIT_REPLICAS',
  ],
  ['a Redis password with an unencoded %', { REDIS_URL: 'redis://:100%pure@h' }, 'REDIS_URL'],
  [
    'a sentinel password without sentinels',
    { REDIS_URL: 'redis://h', REDIS_SENTINEL_PASSWORD: 'x' },
    'REDIS_SENTINEL_PASSWORD',
  ],
  [
    'a sentinel user without a password',
    { REDIS_URL: 'redis+sentinel://h/main', REDIS_SENTINEL_USERNAME: 'x' },
    'REDIS_SENTINEL_PASSWORD',
  ],
  [
    'the demo session secret in public',
    { ...https, SESSION_SECRET: 'demo-only-session-secret-which-everybody-knows' },
    'SESSION_SECRET',
  ],
  [
    'the demo client secret in public',
    { ...https, OAUTH2_CLIENT_SECRET: 'demo-only-x' },
    'OAUTH2_CLIENT_SECRET',
  ],
  ['an allowed host with a scheme', { ALLOWED_HOSTS: 'https://latchkey' }, 'ALLOWED_HOSTS'],
  ['an allowed host with a port', { ALLOWED_HOSTS: 'latchkey:3000' }, 'ALLOWED_HOSTS'],
  ['a wildcard as allowed host', { ALLOWED_HOSTS: 'a,*.example.com' }, 'ALLOWED_HOSTS'],
  ['a wildcard origin', { CORS_ORIGINS: '*' }, 'CORS_ORIGINS'],
  ['a wildcard subdomain', { CORS_ORIGINS: 'https://*.example.com' }, 'CORS_ORIGINS'],
  ['the null origin', { CORS_ORIGINS: 'null' }, 'CORS_ORIGINS'],
  ['an origin with a slash', { CORS_ORIGINS: 'https://spa.example.com/' }, 'CORS_ORIGINS'],
  ['an origin with a path', { CORS_ORIGINS: 'https://spa.example.com/app' }, 'CORS_ORIGINS'],
  ['an origin with a user', { CORS_ORIGINS: 'https://me@spa.example.com' }, 'CORS_ORIGINS'],
  ['an origin with its default port', { CORS_ORIGINS: 'https://spa.example.com:443' }, 'CORS_ORIGINS'],
  ['an origin in upper case', { CORS_ORIGINS: 'https://SPA.example.com' }, 'CORS_ORIGINS'],
  ['a host without a scheme', { CORS_ORIGINS: 'spa.example.com' }, 'CORS_ORIGINS'],
  ['one bad origin of two', { CORS_ORIGINS: 'https://spa.example.com,ftp://x.example' }, 'CORS_ORIGINS'],
  ['a trailing comma', { CORS_ORIGINS: 'https://spa.example.com,' }, 'CORS_ORIGINS'],
  ['an origin without TLS', { CORS_ORIGINS: 'http://spa.example.com' }, 'CORS_ORIGINS'],
  ['our own origin', { CORS_ORIGINS: 'http://localhost:3000' }, 'CORS_ORIGINS'],
  ['a negative rate limit', { AUTH_RATE_LIMIT: '-1' }, 'AUTH_RATE_LIMIT'],
  ['a metrics port that is the port of the app', { METRICS_PORT: '3000' }, 'METRICS_PORT'],
  ['a URL as the address to listen on', { HOST: 'http://0.0.0.0' }, 'HOST'],
  ['an address with a port', { METRICS_HOST: '0.0.0.0:9464' }, 'METRICS_HOST'],
  ['an address in brackets', { HOST: '[::1]' }, 'HOST'],
  ['a shutdown delay of hours', { SHUTDOWN_DELAY_SECONDS: '7200' }, 'SHUTDOWN_DELAY_SECONDS'],
  ['a logo without TLS', { APP_LOGO_URL: 'http://cdn.example/logo.svg' }, 'APP_LOGO_URL'],
  ['a logo that is a script', { APP_LOGO_URL: 'javascript:alert(1)' }, 'APP_LOGO_URL'],
  ['a logo with a protocol-relative URL', { APP_LOGO_URL: '//cdn.example/logo.svg' }, 'APP_LOGO_URL'],
  [
    'a logo with a backslash that browsers read as a slash',
    { APP_LOGO_URL: '/\\cdn.example/logo.svg' },
    'APP_LOGO_URL',
  ],
  ['a logo that is neither a path nor a URL', { APP_LOGO_URL: 'logo.svg' }, 'APP_LOGO_URL'],
  ['an unknown provider', { OAUTH2_PROVIDER: 'myspace' }, 'OAUTH2_PROVIDER'],
  ['an unknown deviation', { OAUTH2_DEVIATIONS: 'error-in-200 moody' }, 'OAUTH2_DEVIATIONS'],
  ['a parameter without a value', { OAUTH2_AUTHORIZATION_PARAMS: 'prompt' }, 'OAUTH2_AUTHORIZATION_PARAMS'],
  ['an unknown claim', { OAUTH2_USERINFO_CLAIMS: 'sub=id roles=groups' }, 'OAUTH2_USERINFO_CLAIMS'],
  ['a claim without a path', { OAUTH2_USERINFO_CLAIMS: 'sub=id name=' }, 'OAUTH2_USERINFO_CLAIMS'],
  [
    'userinfo claims without a userinfo endpoint',
    {
      ...{ OAUTH2_ISSUER: '', OAUTH2_AUTHORIZATION_URL: 'https://x.example/a' },
      ...{ OAUTH2_TOKEN_URL: 'https://x.example/t', OAUTH2_USERINFO_CLAIMS: 'sub=id' },
    },
    'OAUTH2_USERINFO_URL',
  ],
  [
    'the demo secret of the app client in public',
    { ...https, ...app, OAUTH2_APP_CLIENT_SECRET: 'demo-only-x' },
    'OAUTH2_APP_CLIENT_SECRET',
  ],
  [
    'a second demo client secret in public',
    { ...https, OAUTH2_CLIENT_SECRET_NEXT: 'demo-only-x' },
    'OAUTH2_CLIENT_SECRET_NEXT',
  ],
  [
    'a second app client secret in public that is the demo value',
    { ...https, ...app, OAUTH2_APP_CLIENT_SECRET_NEXT: 'demo-only-x' },
    'OAUTH2_APP_CLIENT_SECRET_NEXT',
  ],
  [
    'a second app client secret without the first',
    { OAUTH2_APP_CLIENT_ID: 'app', OAUTH2_APP_CLIENT_SECRET_NEXT: 'x' },
    'OAUTH2_APP_CLIENT_SECRET',
  ],
  [
    'an issuer of app tokens without TLS',
    { ...app, OAUTH2_APP_ISSUER: 'http://id.internal' },
    'OAUTH2_APP_ISSUER',
  ],
  [
    'a token endpoint for app tokens without TLS',
    { ...app, OAUTH2_APP_TOKEN_URL: 'http://id.internal/t' },
    'OAUTH2_APP_TOKEN_URL',
  ],
  ['an app client without its secret', { OAUTH2_APP_CLIENT_ID: 'app' }, 'OAUTH2_APP_CLIENT_SECRET'],
  ['an app client secret without its client', { OAUTH2_APP_CLIENT_SECRET: 'app' }, 'OAUTH2_APP_CLIENT_ID'],
  [
    'another provider of app tokens without a client secret',
    { OAUTH2_APP_ISSUER: 'https://id.example', OAUTH2_APP_CLIENT_ID: 'app' },
    'OAUTH2_APP_CLIENT_SECRET',
  ],
  ['a password in a URL', { OAUTH2_API_BASE_URL: 'https://me:pw@api.example.com' }, 'OAUTH2_API_BASE_URL'],
])('loadConfig reports %s as a problem with exactly one variable', (_what, env, variable) => {
  expect(faultsOf({ ...valid, ...env })).toEqual([variable]);
});

test('OAUTH2_ALLOW_HTTP allows http on a private network, with a warning', () => {
  const env = { ...valid, OAUTH2_API_BASE_URL: 'http://api.internal', OAUTH2_ALLOW_HTTP: 'true' };
  expect(loadConfig(env).warnings).toEqual([expect.stringContaining('OAUTH2_ALLOW_HTTP')]);
});

test('CORS_ORIGINS is a list of origins as browsers send them', () => {
  expect(
    loadConfig({ ...valid, CORS_ORIGINS: 'https://spa.example.com, http://localhost:5173,http://[::1]:8081' })
      .corsOrigins,
  ).toEqual(['https://spa.example.com', 'http://localhost:5173', 'http://[::1]:8081']);
  const onPrivateNetwork = { CORS_ORIGINS: 'http://spa.internal', OAUTH2_ALLOW_HTTP: 'true' };
  expect(loadConfig({ ...valid, ...onPrivateNetwork }).corsOrigins).toEqual(['http://spa.internal']);
});

test('app tokens use the provider and client of the login, unless others are configured', () => {
  expect(loadConfig({ ...valid, OAUTH2_APP_SCOPES: 'a b' }).app).toEqual({
    provider: undefined,
    registration: loadConfig(valid).session.registration,
    scopes: ['a', 'b'],
  });
  expect(loadConfig(valid).app.scopes).toEqual([]);
  const withAppClient = {
    ...valid,
    ...app,
    OAUTH2_TOKEN_URL: 'https://login.example.com/t',
    OAUTH2_CLIENT_AUTH: 'client_secret_post',
  };
  expect(loadConfig(withAppClient).app.provider).toMatchObject({
    issuer: new URL('https://login.example.com'),
    endpoints: { token_endpoint: 'https://login.example.com/t' },
    clientId: 'app',
    clientAuth: 'client_secret_post',
  });
  expect(
    loadConfig({ ...withAppClient, OAUTH2_APP_ISSUER: 'https://id.example' }).app.provider,
  ).toMatchObject({
    issuer: new URL('https://id.example'),
    endpoints: { token_endpoint: undefined },
  });
  const elsewhere = {
    OAUTH2_APP_TOKEN_URL: 'https://id.example/t',
    OAUTH2_APP_CLIENT_AUTH: 'client_secret_basic',
  };
  expect(loadConfig({ ...withAppClient, ...elsewhere }).app.provider).toMatchObject({
    issuer: undefined,
    endpoints: { token_endpoint: 'https://id.example/t' },
    clientAuth: 'client_secret_basic',
  });
  for (const variable of ['OAUTH2_APP_ISSUER', 'OAUTH2_APP_TOKEN_URL'])
    expect(faultsOf({ ...valid, [variable]: 'https://id.example' })).toEqual(Object.keys(app));
});

describe('the hash of a client registration', () => {
  const endpoints = {
    ...valid,
    OAUTH2_ISSUER: undefined,
    OAUTH2_AUTHORIZATION_URL: 'https://login.example.com/authorize',
    OAUTH2_TOKEN_URL: 'https://login.example.com/token',
  };
  const hashOf = (env: Record<string, string | undefined>) => loadConfig(env).session.registration;

  test('is 16 characters of base64url', () => {
    expect(hashOf(valid)).toMatch(/^[\w-]{16}$/);
  });

  test.each([
    ['the issuer is written in another way', valid, { OAUTH2_ISSUER: 'HTTPS://Login.Example.com:443/' }],
    ['the client secret changes', valid, { OAUTH2_CLIENT_SECRET: 'another' }],
    [
      'a provider with an issuer gets a token endpoint',
      valid,
      { OAUTH2_TOKEN_URL: 'https://b.example/token' },
    ],
    ['another endpoint changes', endpoints, { OAUTH2_AUTHORIZATION_URL: 'https://b.example/authorize' }],
    ['the app tokens get a client of their own', valid, app],
  ])('stays the same when %s', (_what, env, change) => {
    expect(hashOf({ ...env, OAUTH2_AUTHORIZATION_URL: 'https://login.example.com/a', ...change })).toBe(
      hashOf(env),
    );
  });

  test.each([
    ['the issuer changes', valid, { OAUTH2_ISSUER: 'https://b.example' }],
    ['the path of the issuer changes', valid, { OAUTH2_ISSUER: 'https://login.example.com/b' }],
    ['the client id changes', valid, { OAUTH2_CLIENT_ID: 'another' }],
    [
      'the token endpoint changes without an issuer',
      endpoints,
      { OAUTH2_TOKEN_URL: 'https://b.example/token' },
    ],
  ])('is another one when %s', (_what, env, change) => {
    expect(hashOf({ ...env, ...change })).not.toBe(hashOf(env));
  });

  test('of the app tokens is that of their own client', () => {
    const { app: own, session } = loadConfig({ ...valid, ...app });
    expect(own.registration).not.toBe(session.registration);
    expect(own.registration).toBe(hashOf({ ...valid, OAUTH2_CLIENT_ID: 'app' }));
  });
});

test('pages show the name and logo of Latchkey, unless others are configured', () => {
  const providerLogoUrl = '/auth/assets/sign-in.svg';
  expect(loadConfig(valid).brand).toEqual({
    name: 'Latchkey',
    logoUrl: '/auth/assets/icon.svg',
    providerLogoUrl,
  });
  const brand = {
    APP_TAGLINE: 'For gardeners',
    APP_NAME: 'Example Shop',
    APP_LOGO_URL: 'https://cdn.example/logo.svg',
  };
  expect(loadConfig({ ...valid, ...brand }).brand).toEqual({
    name: 'Example Shop',
    tagline: 'For gardeners',
    logoUrl: 'https://cdn.example/logo.svg',
    providerLogoUrl,
  });
});

test('flags and names from a list can be written in any case', () => {
  const env = {
    ...{
      ...valid,
      OAUTH2_ALLOW_HTTP: 'True',
      SESSION_COOKIE_SECURE: 'FALSE',
      SESSION_COOKIE_SAMESITE: 'Strict',
    },
    ...{ NODE_ENV: 'Development', LOG_LEVEL: 'INFO', OAUTH2_CLIENT_AUTH: 'CLIENT_SECRET_POST' },
    ...{ OAUTH2_DEVIATIONS: 'Error-In-200', TRUST_PROXY: 'Loopback', REDIS_URL: 'REDIS+SENTINEL://h/Name' },
  };
  expect(loadConfig(env)).toMatchObject({
    production: false,
    logLevel: 'info',
    trustProxy: ['loopback'],
    provider: { clientAuth: 'client_secret_post', deviations: ['error-in-200'] },
    session: { cookie: { secure: false, sameSite: 'strict' } },
  });
  expect(loadConfig({ ...valid, TRUST_PROXY: 'False' }).trustProxy).toBe(0);
  expect(loadConfig({ ...required, OAUTH2_PROVIDER: 'GitHub' }).provider.name).toBe('GitHub');
});

test.each(variables)(
  '%s in quotes is reported, because the quotes would be part of the value',
  (variable) => {
    for (const value of [`"${valid[variable as keyof typeof valid] ?? 'true'}"`, "'x'"])
      expect(() => loadConfig({ ...valid, [variable]: value })).toThrow(`${variable} must not be in quotes`);
  },
);

const withRedirectUri = (uri: string) => ({ ...valid, ...https, OAUTH2_REDIRECT_URI: uri });

test.each([
  ...['/auth/callback/', '/Auth/Callback', '/auth/callback?a=b', '/portal/auth/callback?a=b'],
  ...['/portal/auth/callback/', '/portal', '/', '/portal/callback', '/portalauth/callback'],
])('the redirect URI with the path %s is refused, because it is not that of the callback', (path) => {
  const env = withRedirectUri(`https://app.example.com${path}`);
  expect(faultsOf(env)).toEqual(['OAUTH2_REDIRECT_URI']);
  expect(() => loadConfig(env)).toThrow(/must end with \/auth\/callback, without a query/);
});

const strangeBasePaths = [
  ...[
    '//portal',
    '/portal/',
    '/a//b',
    '/..',
    '/a/../b',
    '/./a',
    '/.a',
    '/a/%2e%2e/b',
    '/a%2Fb',
    '/a%20b',
    '/a b',
  ],
  ...[
    '/ä',
    '/a;b',
    '/a+b',
    '/a@b',
    '/a:b',
    "/a'b",
    '/a\\b',
    '/a*',
    '/a,b',
    '/a=b',
    '/%70ortal',
    `/${'a'.repeat(100)}`,
  ],
];
test.each(strangeBasePaths)('the base path %s is refused, in both settings', (path) => {
  expect(() => loadConfig(withRedirectUri(`https://app.example.com${path}/auth/callback`))).toThrow(
    /OAUTH2_REDIRECT_URI has a base path .* that cannot be used: it must be one or more segments/,
  );
  expect(() => loadConfig({ ...valid, BASE_PATH: path })).toThrow(
    /BASE_PATH must be a path such as \/portal/,
  );
});

test.each(['portal', '/portal?a=b', '/portal#a', 'https://app.example.com/portal'])(
  'BASE_PATH=%j is refused',
  (path) => {
    expect(() => loadConfig({ ...valid, BASE_PATH: path })).toThrow(/BASE_PATH must be a path such as/);
  },
);

test.each([
  ['/portal', 'https://app.example.com/auth/callback', '/'],
  ['/', 'https://app.example.com/portal/auth/callback', '/portal'],
  ['/portal2', 'https://app.example.com/portal/auth/callback', '/portal'],
])('BASE_PATH=%s contradicts the redirect URI %s', (basePath, uri, other) => {
  expect(() => loadConfig({ ...withRedirectUri(uri), BASE_PATH: basePath })).toThrow(
    `BASE_PATH must be the path that OAUTH2_REDIRECT_URI has before /auth/callback, which is ${other};`,
  );
});

test.each([
  ['https://app.example.com/auth/callback', '/', '', ''],
  ['https://app.example.com/portal/auth/callback', '/portal', '/portal', '+portal'],
  ['https://app.example.com/a/b-c_d.e~f/auth/callback', undefined, '/a/b-c_d.e~f', '+a+b-c_d.e~f'],
  ['https://app.example.com/auth/auth/callback', undefined, '/auth', '+auth'],
])(
  'the base path follows from the redirect URI %s, and is a part of the names of the cookies',
  (uri, set, path, name) => {
    const { basePath, publicUrl, brand, session } = loadConfig({ ...withRedirectUri(uri), BASE_PATH: set });
    expect({ basePath, publicUrl, logo: brand.logoUrl, name: session.cookie.name }).toEqual({
      basePath: path,
      publicUrl: `https://app.example.com${path}`,
      logo: `${path}/auth/assets/icon.svg`,
      name: `__Host-Http-latchkey${name}`,
    });
    expect(session.cookie.loginName).toBe(`__Host-Http-latchkey-login${name}`);
    expect(session.cookie.name).toMatch(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/); // RFC 9110 5.6.2
  },
);

test('no two base paths and ports have a cookie in common', () => {
  const urls = ['', '/portal', '/portal2', '/portal-login', '/a/b', '/a', '/login', '/3000'].flatMap((path) =>
    ['', ':3000'].map((port) => `https://app.example.com${port}${path}/auth/callback`),
  );
  const names = urls.flatMap((uri) => {
    const { name, loginName } = loadConfig(withRedirectUri(uri)).session.cookie;
    return [name, loginName];
  });
  expect(new Set(names).size).toBe(names.length);
});

test('below a base path, the own origin may be listed, for its other pages', () => {
  const CORS_ORIGINS = 'https://app.example.com';
  const below = withRedirectUri('https://app.example.com/portal/auth/callback');
  expect(loadConfig({ ...below, CORS_ORIGINS }).corsOrigins).toEqual([CORS_ORIGINS]);
  expect(faultsOf({ ...withRedirectUri('https://app.example.com/auth/callback'), CORS_ORIGINS })).toEqual([
    'CORS_ORIGINS',
  ]);
});

test.each([
  ...['0.0.0.0/0', '::/0', '1.2.3.4/0', '0.0.0.0/1,128.0.0.0/1', '10.0.0.0/8, 64.0.0.0/2'],
  ...['2000::/3', '::ffff:0:0/96', '::ffff:1.2.3.4/100', '0:0:0:0:0:FFFF:0:0/96', '::/64'],
])('TRUST_PROXY=%s is refused, because it would trust clients', (value) => {
  expect(() => loadConfig({ ...valid, TRUST_PROXY: value })).toThrow(
    /TRUST_PROXY .* includes addresses of clients/,
  );
});

test('a number of trusted proxies greater than ten is refused with the reason', () => {
  expect(faultsOf({ ...valid, TRUST_PROXY: '10' })).toEqual([]);
  expect(() => loadConfig({ ...valid, TRUST_PROXY: '11' })).toThrow(
    /at most 10 .* clients choose the address/,
  );
  expect(faultsOf({ ...valid, TRUST_PROXY: '1,2' })).toEqual(['TRUST_PROXY']);
});

const placeholders = [
  ...['changeme', 'change-me-in-production', 'CHANGE_THIS_TO_A_LONG_RANDOM_VALUE_PLEASE', 'replace-me'],
  ...['your-secret-here', 'YOUR_CLIENT_SECRET', '<secret>', '<the secret of the client, from the console>'],
  ...['xxx', 'xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx', '...', '********', 'TODO', `\${SECRET}`, '{{ secret }}'],
  ...['the output of: openssl rand -hex 32', '$(openssl rand -hex 32)', 'the secret from the provider'],
  ...secretVariables.map((variable) => fields[variable].example),
];

test.each(placeholders)('the placeholder %s is refused as a secret, with what to do instead', (value) => {
  for (const variable of secretVariables)
    expect(() => loadConfig({ ...valid, ...app, [variable]: value })).toThrow(
      variable === 'SESSION_SECRET'
        ? /SESSION_SECRET is a placeholder: replace it with .*`openssl rand -hex 32`/
        : new RegExp(`${variable} is a placeholder: replace it with the secret that the provider gave you`),
    );
});

test.each([
  [
    'has few different characters',
    'abcabcabdabcabcabdabcabcabeabcabcabd',
    /fewer than 10 different characters/,
  ],
  ['repeats a shorter text', 'k3Jd9fLq2Zx8k3Jd9fLq2Zx8k3Jd9fLq2Zx8', /repeats a shorter text/],
  ['repeats a shorter text and a part of it', 'k3Jd9fLq2Zx8wVk3Jd9fLq2Zx8wVk3Jd9', /repeats a shorter text/],
])('a session secret that %s is refused, also as the second of two', (_what, weak, message) => {
  expect(() => loadConfig({ ...valid, SESSION_SECRET: weak })).toThrow(message);
  expect(() => loadConfig({ ...valid, SESSION_SECRET: `${valid.SESSION_SECRET},${weak}` })).toThrow(message);
});

test('random session secrets and short client secrets are accepted', () => {
  for (const encoding of ['hex', 'base64', 'base64url'] as const)
    expect(faultsOf({ ...valid, SESSION_SECRET: randomBytes(32).toString(encoding) })).toEqual([]);
  for (const secret of ['secret', 'aaab', 'x', 'password', 'abcabcabc'])
    expect(faultsOf({ ...valid, OAUTH2_CLIENT_SECRET: secret })).toEqual([]);
});

test('a client secret is one secret, commas and special characters included; the second has its own variable', () => {
  const secret = 'a,b+c/d=e%20f:g h&i';
  const env = { ...valid, ...app, OAUTH2_CLIENT_SECRET: secret, OAUTH2_APP_CLIENT_SECRET: secret };
  const reveal = (loaded: ReturnType<typeof loadConfig>) =>
    [loaded.provider, loaded.app.provider!].map((each) => each.clientSecrets.map((one) => one.reveal()));
  expect(reveal(loadConfig(env))).toEqual([[secret], [secret]]);
  const rotating = { ...env, OAUTH2_CLIENT_SECRET_NEXT: 'n,1', OAUTH2_APP_CLIENT_SECRET_NEXT: 'n,2' };
  expect(reveal(loadConfig(rotating))).toEqual([
    [secret, 'n,1'],
    [secret, 'n,2'],
  ]);
});

test.each([
  ...[
    ['OAUTH2_SCOPE', 'OAUTH2_SCOPES'],
    ['OAUTH2_REDIRECT_URL', 'OAUTH2_REDIRECT_URI'],
    ['REDIS_URI', 'REDIS_URL'],
  ],
  ...[
    ['OAUTH2_AUTH_URL', 'OAUTH2_AUTHORIZATION_URL'],
    ['OAUTH2_CLIENT', 'OAUTH2_CLIENT_ID'],
  ],
  ...[
    ['OAUTH2_CLIENT_ID_FILE', 'OAUTH2_CLIENT_ID'],
    ['SESSION_SECERT_FILE', 'SESSION_SECRET_FILE'],
    ['CLIENT_SECRET_FILE', 'OAUTH2_CLIENT_SECRET_FILE'],
    ['SECRET_KEY_FILE', 'SESSION_SECRET_FILE'],
    ['REDIS_PASSWORD_FILE', 'REDIS_URL_FILE'],
    ['OAUTH_CLIENT_ID', 'OAUTH2_CLIENT_ID'],
  ],
  ...[
    ['CLIENT_SECRET', 'OAUTH2_CLIENT_SECRET'],
    ['REDIRECT_URI', 'OAUTH2_REDIRECT_URI'],
  ],
  ...[
    ['SECRET', 'SESSION_SECRET'],
    ['SECRET_KEY', 'SESSION_SECRET'],
    ['SESSION_KEY', 'SESSION_SECRET'],
  ],
  ...[
    ['SESSION_SECERT', 'SESSION_SECRET'],
    ['SESSION_COOKIE_SAME_SITE', 'SESSION_COOKIE_SAMESITE'],
  ],
  ...[
    ['CORS_ORIGIN', 'CORS_ORIGINS'],
    ['CORS_ALLOWED_ORIGINS', 'CORS_ORIGINS'],
    ['REDIS_HOST', 'REDIS_URL'],
  ],
  ...[
    ['TRUSTED_PROXIES', 'TRUST_PROXY'],
    ['TRUST_PROXIES', 'TRUST_PROXY'],
    ['LOGLEVEL', 'LOG_LEVEL'],
  ],
  ...[
    ['API_ROUTE_FILE', 'API_ROUTES_FILE'],
    ['AUTH_RATELIMIT', 'AUTH_RATE_LIMIT'],
    ['METRIC_PORT', 'METRICS_PORT'],
  ],
  ...[
    ['APP_NAMES', 'APP_NAME'],
    ['REDIS_TLS_URL', 'REDIS_URL'],
    ['oauth2_scopes', 'OAUTH2_SCOPES'],
  ],
])('the unknown variable %s is reported with the suggestion %s and without its value', (name, nearest) => {
  expect(loadConfig({ ...valid, [name!]: 'a-value' }).warnings).toEqual([
    `${name} is not a setting and is ignored; did you mean ${nearest}?`,
  ]);
});

test('when a setting is missing, the error names the unknown variable that was probably meant', () => {
  const { SESSION_SECRET, ...rest } = valid;
  expect(() => loadConfig({ ...rest, SECRET_KEY: SESSION_SECRET })).toThrow(
    /SESSION_SECRET is missing\..*\n {2}Note: SECRET_KEY is not a setting and is ignored; did you mean SESSION_SECRET\?$/,
  );
});

test.each(['OAUTH2_FROBNICATE', 'SESSION_STORE_KIND'])('the unknown variable %s is reported', (name) => {
  expect(loadConfig({ ...valid, [name]: 'a-value' }).warnings).toEqual([
    `${name} is not a setting and is ignored; docs/configuration.md lists all settings`,
  ]);
});

test('variables of other programs, empty ones and those of Kubernetes services cause no warning', () => {
  const env = {
    ...{
      APP_ENV: 'x',

      APP_DEBUG: 'x',
      APP_KEY: 'x',
      APP_HOME: 'x',
      API_KEY: 'x',
      API_URL: 'x',
    },
    ...{
      AUTH_URL: 'x',
      AUTH_TOKEN: 'x',
      AUTH_TYPE: 'x',
      NODE_OPTIONS: 'x',
      NODE_VERSION: 'x',
      NODE_PATH: 'x',
    },
    ...{ HOSTNAME: 'x', HOSTTYPE: 'x', HOME: 'x', LOGNAME: 'x', PATH: 'x', PWD: 'x', SHELL: 'x', LANG: 'x' },
    ...{ OTEL_LOG_LEVEL: 'x', RUST_LOG: 'x', npm_config_loglevel: 'x', npm_package_name: 'x', NO_PROXY: 'x' },
    ...{ HTTP_PROXY: 'x', https_proxy: 'x', SESSION_MANAGER: 'x', SESSIONNAME: 'x', XDG_SESSION_ID: 'x' },
    ...{
      OAUTH2_PROXY_CLIENT_ID: 'x',
      DATABASE_URL: 'x',
      CELERY_REDIS_URL: 'x',
      DB_PORT: '1',
    },
    ...{ AWS_SESSION_TOKEN: 'x', DBUS_SESSION_BUS_ADDRESS: 'x', GITHUB_TOKEN: 'x', METRICS_HOST: 'x' },
    ...{ OAUTH2_SCOPE: '', SESSION_KEY: ' ' },
    ...{ REDIS_PORT: 'tcp://10.0.0.1:6379', REDIS_SERVICE_HOST: '10.0.0.1', REDIS_SERVICE_PORT: '6379' },
    ...{ REDIS_SERVICE_PORT_CLIENT: '6379', REDIS_PORT_6379_TCP: 'tcp://10.0.0.1:6379' },
    ...{
      REDIS_PORT_6379_TCP_PROTO: 'tcp',
      REDIS_PORT_6379_TCP_PORT: '6379',
      REDIS_PORT_6379_TCP_ADDR: '10.0.0.1',
    },
    ...{
      OAUTH2_PORT: 'tcp://10.0.0.1:80',
      OAUTH2_SERVICE_HOST: '10.0.0.1',
      SESSION_PORT: 'udp://[fd00::1]:53',
    },
  };
  expect(loadConfig({ ...valid, ...env }).warnings).toEqual([]);
});

test.each(['HTTPS_PROXY', 'https_proxy'])(
  '%s that Node does not use causes a warning with what to do',
  (name) => {
    const env = { [name]: 'http://user:hunter2@proxy.example.com:3128' };
    const [node24, node20] = [
      { version: 'v24.1.0', execArgv: [], canUseProxy: true },
      { version: 'v20.19.0', execArgv: [], canUseProxy: false },
    ];
    const message = `${name} has no effect: requests to the provider are sent directly; to send them through the proxy, `;
    expect(findIgnoredProxy(env, node24)).toEqual([
      `${message}set NODE_USE_ENV_PROXY=1, otherwise unset the variable`,
    ]);
    for (const each of [env, { ...env, NODE_USE_ENV_PROXY: '1' }])
      expect(findIgnoredProxy(each, node20)).toEqual([
        `${message}use Node 24 with NODE_USE_ENV_PROXY=1 (this is v20.19.0), otherwise unset the variable`,
      ]);
    expect(findIgnoredProxy({ ...env, NODE_USE_ENV_PROXY: '1' }, node24)).toEqual([]);
    expect(findIgnoredProxy({ ...env, NODE_OPTIONS: '--use-env-proxy' }, node24)).toEqual([]);
    expect(findIgnoredProxy(env, { ...node24, execArgv: ['--use-env-proxy'] })).toEqual([]);
    expect(findIgnoredProxy({ [name]: '' }, node24)).toEqual([]);
  },
);

test('without HOST and METRICS_HOST, only this machine reaches the app and the metrics', () => {
  expect(loadConfig(valid)).toMatchObject({ host: '127.0.0.1', metricsHost: '127.0.0.1' });
});

test('METRICS_PORT and PORT as Kubernetes sets them for a service count as unset, with a notice', () => {
  const config = loadConfig({ ...valid, METRICS_PORT: 'tcp://10.0.0.1:9464', PORT: 'tcp://[fd00::1]:80' });
  expect([config.port, config.metricsPort]).toEqual([3000, undefined]);
  expect(config.warnings).toEqual(
    ['PORT', 'METRICS_PORT'].map((name) =>
      expect.stringMatching(`^${name} is an address as Kubernetes sets it`),
    ),
  );
  expect(config.warnings.join()).not.toContain('10.0.0.1');
  expect(faultsOf({ ...valid, METRICS_PORT: 'http://10.0.0.1:9464' })).toEqual(['METRICS_PORT']);
});

test.each(['x86_64-conda-linux-gnu', 'arm64-apple-darwin20.0.0', 'x86_64-linux', 'aarch64-conda-linux-gnu'])(
  'HOST=%s, as conda and tcsh set it, is reported with what to do',
  (HOST) => {
    expect(() => loadConfig({ ...valid, HOST })).toThrow(
      /HOST is the name of a platform, as conda and tcsh set it.* overrides \.env: unset it, or/,
    );
  },
);

test('HOST can be an IP address of either version or a host name', () => {
  for (const HOST of ['0.0.0.0', '::', '::1', 'fe80::1%eth0', 'localhost', 'my_app', 'app.internal', 'a'])
    expect(loadConfig({ ...valid, HOST }).host).toBe(HOST);
});

test.each(variables)('no value of %s makes startup fail with anything but a list of problems', (variable) => {
  const texts = [
    'x/8',
    '::1/999',
    '1.2.3.4/-1',
    'https://[',
    'a=%',
    '\u0000',
    '{',
    'redis://h:99999',
    '1e999',
    '../',
  ];
  for (const value of texts) expect(() => faultsOf({ ...valid, [variable]: value })).not.toThrow();
});

test('a comma in a client secret causes a notice, unless the second secret is set', () => {
  const secrets = { ...app, OAUTH2_CLIENT_SECRET: 'old,new', OAUTH2_APP_CLIENT_SECRET: 'old,new' };
  expect(loadConfig({ ...valid, ...secrets }).warnings).toEqual(
    ['OAUTH2_CLIENT_SECRET', 'OAUTH2_APP_CLIENT_SECRET'].map((name) =>
      expect.stringMatching(`^${name} contains a comma and is used as one secret.* as ${name}_NEXT$`),
    ),
  );
  const next = { OAUTH2_CLIENT_SECRET_NEXT: 'x', OAUTH2_APP_CLIENT_SECRET_NEXT: 'x' };
  expect(loadConfig({ ...valid, ...secrets, ...next }).warnings).toEqual([]);
});

test.each([
  ['http', { OAUTH2_REDIRECT_URI: 'http://app.internal/auth/callback', OAUTH2_ALLOW_HTTP: 'true' }],
  ['cookies without Secure', { ...https, SESSION_COOKIE_SECURE: 'false' }],
])('%s causes a warning about what the cookies lose', (_what, env) => {
  expect(loadConfig({ ...valid, ...env }).warnings.join()).toMatch(
    /^(OAUTH2_ALLOW_HTTP .*)?(OAUTH2_REDIRECT_URI is http|SESSION_COOKIE_SECURE is false): .*unencrypted.*__Host-Http-.*login CSRF/,
  );
});

test('on this machine, http and cookies without Secure cause no warning', () => {
  for (const OAUTH2_REDIRECT_URI of ['http://127.0.0.1:1/auth/callback', 'https://localhost/auth/callback'])
    expect(
      loadConfig({ ...valid, OAUTH2_REDIRECT_URI, SESSION_COOKIE_SECURE: 'false', TRUST_PROXY: '1' })
        .warnings,
    ).toEqual([]);
});

test.each([
  ...['redis://redis.example.com', 'redis://203.0.113.7:6379/1', 'redis://[2001:db8::1]'],
  ...['redis+sentinel://10.0.0.1:26379,sentinel.example.com/main', 'redis+cluster://8.8.8.8:7000'],
])('%s in production causes a warning about an unprotected Redis', (url) => {
  const env = { ...valid, NODE_ENV: 'production', REDIS_URL: url };
  expect(loadConfig(env).warnings).toEqual([
    expect.stringMatching(/^REDIS_URL has neither a password nor TLS/),
  ]);
  expect(loadConfig({ ...env, NODE_ENV: 'development' }).warnings).toEqual([]);
});

test.each([
  ...['redis://:a-password@redis.example.com', 'rediss://redis.example.com', 'redis://redis:6379'],
  ...['redis://localhost', 'redis://127.0.0.1', 'redis://[::1]', 'redis://10.1.2.3', 'redis://172.31.0.1'],
  ...['redis://192.168.1.1', 'redis://[fd12::1]:6379', 'redis://redis.default.svc.cluster.local'],
])('%s in production causes no warning', (url) => {
  expect(loadConfig({ ...valid, NODE_ENV: 'production', REDIS_URL: url }).warnings).toEqual([]);
});

test('http is allowed for every name of the loopback host', () => {
  for (const host of ['localhost:1', '127.0.0.1:2', '127.9.8.7', '[::1]:3'])
    expect(faultsOf({ ...valid, OAUTH2_ISSUER: `http://${host}` })).toEqual([]);
});

test('no secret is ever printed, either in a reported problem or in a loaded configuration', () => {
  const secret = 'a-secret-that-nobody-should-ever-read';
  const env = {
    ...valid,
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
    ...valid,
    SESSION_SECRET: secret,
    OAUTH2_CLIENT_SECRET: secret,
    REDIS_URL: `redis+sentinel://:${secret}@x/main`,
    REDIS_SENTINEL_PASSWORD: secret,
  });
  expect(inspect(config, { depth: 9 }) + JSON.stringify(config)).not.toContain(secret);
  expect(`${config.provider.clientSecrets[0]}`).toBe('[secret]');
  expect(config.provider.clientSecrets[0]?.reveal()).toBe(secret);
});

test('labels of scopes are an object of texts, or of texts by language', () => {
  const labels = (text: string) => loadConfig({ ...valid, OAUTH2_SCOPE_LABELS: text }).pages.scopeLabels;
  const good = { 'a:b': 'See a', 'https://x.example/y': { de: 'Y sehen', 'pt-BR': 'Ver y' } };
  expect(labels(JSON.stringify(good))).toEqual(good);
  expect(labels('')).toEqual({});
  const bad = [
    '{',
    '[]',
    '7',
    '{"a b": "x"}',
    '{"a": ""}',
    '{"a": 1}',
    '{"a": {}}',
    '{"a": {"german": ["x"]}}',
  ];
  for (const each of [...bad, `{"a": "${'x'.repeat(201)}"}`, '{"a": "1", "a": "2"}'])
    expect(() => labels(each)).toThrow(/OAUTH2_SCOPE_LABELS (is not JSON|must be a JSON object)/);
  expect(() => labels('{"orders": 1}')).toThrow('(see "orders")');
});

test.each([
  ['javascript:alert(1)', 'must be a URL'],
  ['http://id.example.com/account', 'must begin with https://'],
])('the address of the account page cannot be %s', (url, message) => {
  expect(() => loadConfig({ ...valid, OAUTH2_ACCOUNT_URL: url })).toThrow(message);
});

test('.env.example lists exactly the variables of the schema', () => {
  const example = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8');
  expect([...example.matchAll(/^([A-Z0-9_]+)=/gm)].map(([, name]) => name)).toEqual([...variables]);
});

test('trusted proxies can be given as a number, addresses, networks or names', () => {
  for (const value of [
    '0',
    'false',
    '2',
    '10.1.2.3',
    '10.0.0.0/8, 192.168.0.0/16',
    '::1',
    'fd00::/8',
    'fc00::/7',
    '::ffff:10.0.0.0/104',
    'loopback,uniquelocal',
  ])
    expect(faultsOf({ ...valid, TRUST_PROXY: value })).toEqual([]);
});

const required = {
  OAUTH2_CLIENT_ID: 'client',
  OAUTH2_CLIENT_SECRET: 'hush-hush',
  OAUTH2_REDIRECT_URI: 'http://127.0.0.1:3000/auth/callback',
  SESSION_SECRET: 'a-secret-for-tests-that-is-long-enough',
};
const apiBaseUrl = { OAUTH2_API_BASE_URL: 'https://sbd.example.com/base/' };

test.each(['spotify', 'github', 'google'])(
  'the preset %s needs only client, redirect URI and session secret',
  (name) => {
    const config = loadConfig({ ...required, OAUTH2_PROVIDER: name });
    expect(config.routes.map(({ path }) => path)).toEqual(expect.arrayContaining(['/profile']));
    for (const { origin } of config.routes) expect(origin).toMatch(/^https:/);
    const { issuer, endpoints } = config.provider;
    expect(issuer ?? (endpoints.authorization_endpoint && endpoints.token_endpoint)).toBeTruthy();
  },
);

test('when the provider runs on the host of the API, the only additional variable that its preset needs is OAUTH2_API_BASE_URL', () => {
  const env = { ...required, OAUTH2_PROVIDER: 'second-brain-database' };
  expect(faultsOf(env)).toEqual(['OAUTH2_API_BASE_URL']);
  expect(faultsOf({ ...env, API_ROUTES_FILE: 'docs/api-routes.schema.json' })).toContain(
    'OAUTH2_API_BASE_URL',
  );
  expect(loadConfig({ ...env, ...apiBaseUrl }).provider.endpoints).toMatchObject({
    authorization_endpoint: 'https://sbd.example.com/base/oauth2/authorize',
    token_endpoint: 'https://sbd.example.com/base/oauth2/token',
    revocation_endpoint: 'https://sbd.example.com/base/oauth2/revoke',
  });
});

test.each(providerNames)('every value of the preset %s could be set by an operator', (name) => {
  const { variables: preset } = presets[name];
  expect(variables).toEqual(expect.arrayContaining(Object.keys(preset)));
  const entries = Object.entries<string>(preset).map(([variable, value]) => [
    variable,
    value.replace('{OAUTH2_API_BASE_URL}', 'https://sbd.example.com/base'),
  ]);
  const manual = loadConfig({ ...required, ...apiBaseUrl, ...Object.fromEntries(entries) });
  const apiOfPreset = 'OAUTH2_API_BASE_URL' in preset ? {} : apiBaseUrl;
  const config = loadConfig({ ...required, ...apiOfPreset, OAUTH2_PROVIDER: name });
  const { routes, described, routeOptions } = manual; // the last one has a function
  expect({ ...config, routes, described, routeOptions }).toEqual(manual);
  expect(config.routes.map(({ path }) => path)).toEqual(presets[name].routes.map(({ path }) => path));
});

test('each variable overrides its value in the preset, and an empty variable overrides nothing', () => {
  const config = loadConfig({
    ...required,
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

test('overriding one endpoint drops all preset URLs, so that no token is sent to the wrong provider', () => {
  const enterprise = {
    ...{ ...required, OAUTH2_PROVIDER: 'github' },
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
])('extra parameters cannot set %s, and the reported problem names it', (name) => {
  for (const variable of ['OAUTH2_AUTHORIZATION_PARAMS', 'OAUTH2_TOKEN_PARAMS']) {
    const env = { ...valid, [variable]: `audience=x&${encodeURIComponent(name).replace('_', '%5F')}=y` };
    expect(faultsOf(env)).toEqual([variable]);
    expect(() => loadConfig(env)).toThrow(`${variable} must not set ${name}:`);
  }
});

test('Latchkey treats a 401 of the API as a rejected token, and a 403 too if expired-is-403 is declared', () => {
  expect(loadConfig(valid).routes[0]?.tokenRefusedStatuses).toEqual([401]);
  const declared = loadConfig({ ...valid, OAUTH2_DEVIATIONS: 'expired-is-403' });
  expect(declared.routes[0]?.tokenRefusedStatuses).toEqual([401, 403]);
});

test('docs/providers.md documents every preset and every deviation, and no others', () => {
  const page = readFileSync(new URL('../../docs/providers.md', import.meta.url), 'utf8');
  expect([...page.matchAll(/^OAUTH2_PROVIDER=(.+)$/gm)].map(([, name]) => name)).toEqual(providerNames);
  const table = page.slice(
    page.indexOf('## Deviations'),
    page.indexOf('Latchkey accepts the following without a declaration'),
  );
  expect([...table.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name)).toEqual(deviationNames);
});

test.each([
  [{ OAUTH2_SCOPES: 'openid' }, []],
  [{ OAUTH2_SCOPES: 'read' }, [expect.stringContaining('OAUTH2_JWKS_URL has no effect')]],
])('OAUTH2_JWKS_URL without ID tokens causes a warning: %j', (env, warnings) => {
  const settings = { ...valid, ...env, OAUTH2_JWKS_URL: 'https://login.example.com/keys' };
  expect(loadConfig(settings).warnings).toEqual(warnings);
});

test.each(['acr_values=urn:mfa', 'max_age=60'])(
  '%s is refused without ID tokens, because nothing else could confirm it',
  (parameters) => {
    const settings = { ...valid, OAUTH2_SCOPES: 'read', OAUTH2_AUTHORIZATION_PARAMS: parameters };
    expect(() => loadConfig(settings)).toThrow('which only an ID token can confirm');
    expect(() => loadConfig({ ...settings, OAUTH2_SCOPES: 'openid' })).not.toThrow();
  },
);

test.each([
  'max_age=1h',
  'max_age=-1',
  'max_age=3e2',
  'acr_values=a&acr_values=b',
  `acr_values=${'a'.repeat(301)}`,
])('requirements that could not be checked are refused: %s', (parameters) => {
  const settings = { ...valid, OAUTH2_SCOPES: 'openid', OAUTH2_AUTHORIZATION_PARAMS: parameters };
  expect(() => loadConfig(settings)).toThrow(/OAUTH2_AUTHORIZATION_PARAMS must/);
});

test.each(['feed-your-turkey-before-breakfast-17', 'all-of-your-monkeys-17-are-here-xyz'])(
  'the passphrase %s is no placeholder',
  (secret) => {
    expect(() => loadConfig({ ...valid, SESSION_SECRET: secret })).not.toThrow();
  },
);
