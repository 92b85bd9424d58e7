import { randomBytes } from 'node:crypto';
import { type DemoProvider, startDemoProvider } from '../../demo/provider.ts';
import { type DemoResourceServer, startDemoResourceServer } from '../../demo/resource-server.ts';
import { Browser, type Page } from './browser.ts';
import { type Faults, injectFaults } from './faults.ts';
import { type Latchkey, type LatchkeyOptions, listenOnFreePort, startLatchkey } from './latchkey.ts';
import { advanceFailurePauses } from './test-redis.ts';

export interface WorldOptions {
  readonly store?: 'memory' | 'redis';
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly wrap?: LatchkeyOptions['wrap'];
  readonly own?: LatchkeyOptions['own'];
  readonly accessTokenSeconds?: number;
  readonly refreshTokenSeconds?: number;
  readonly clientAuth?: 'client_secret_basic' | 'client_secret_post';
  /** The origin browsers use, if Latchkey does not listen there itself. */
  readonly publicOrigin?: string;
  /** The path below which Latchkey is. */
  readonly basePath?: string;
  /** Whether the provider sends logout tokens for one session or for all of the user; by default it sends none. */
  readonly backchannelLogout?: 'sid' | 'sub';
  /** Configures the endpoints one by one instead of an issuer. */
  readonly withoutIssuer?: boolean;
}

/** A real provider, a real API and a real Latchkey, with a clock controlled by the test. */
export interface World {
  readonly provider: DemoProvider;
  readonly api: DemoResourceServer;
  readonly latchkey: Latchkey;
  readonly origin: string;
  /** The origin and the base path. */
  readonly url: string;
  readonly client: { readonly clientId: string; readonly clientSecret: string };
  readonly providerFaults: Faults;
  readonly apiFaults: Faults;
  readonly clock: { advance(seconds: number): Promise<void> };
  /** The type of every grant the provider issued tokens for. */
  readonly grants: string[];
  /** Every token the provider issued, oldest first. */
  readonly issued: { readonly access: string[]; readonly refresh: string[] };
  browser(): Browser;
  /** Signs in as a user would, from the login link to the page the login returns to. */
  signIn(browser: Browser, user?: string, loginPath?: string): Promise<Page>;
  /** Whether the token is active, according to the provider (RFC 7662). */
  isActive(token: string): Promise<boolean>;
  /** Starts another Latchkey instance for the same public origin, with the same Redis. */
  startAnotherInstance(clockAheadSeconds?: number, env?: WorldOptions['env']): Promise<Latchkey>;
  close(): Promise<void>;
}

export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const { server, origin: listening } = await listenOnFreePort();
  const origin = options.publicOrigin ?? listening;
  const url = origin + (options.basePath ?? '');
  // A secret with characters that must be encoded in HTTP Basic or a form, and others that must not.
  const client = {
    clientId: `latchkey-test-${randomBytes(4).toString('hex')}`, // ports are used again, and Redis is shared
    clientSecret: `s.e-c_r*e+t/=%25:, ${randomBytes(12).toString('hex')}`,
  };
  const resourceServer = { clientId: 'the-api', clientSecret: randomBytes(16).toString('hex') };
  const provider = await startDemoProvider({
    port: 0,
    ...client,
    redirectUris: [`${url}/auth/callback`],
    postLogoutRedirectUris: [`${url}/auth/signed-out`],
    resourceServer,
    ...(options.backchannelLogout && {
      backchannelLogoutUri: `${url}/auth/backchannel-logout`,
      backchannelLogoutSessionRequired: options.backchannelLogout === 'sid',
    }),
    accessTokenSeconds: options.accessTokenSeconds ?? 300,
    ...(options.refreshTokenSeconds !== undefined && { refreshTokenSeconds: options.refreshTokenSeconds }),
    ...(options.clientAuth && { clientAuth: options.clientAuth }),
  });
  const grants: string[] = [];
  provider.provider.on('grant.success', (ctx) => grants.push(String(ctx.oidc.params?.grant_type)));
  const issued = { access: [] as string[], refresh: [] as string[] };
  provider.provider.on('access_token.saved', (token) => issued.access.push(token.jti)); // an opaque token is its own id
  provider.provider.on('refresh_token.saved', (token) => {
    if (!issued.refresh.includes(token.jti)) issued.refresh.push(token.jti); // saved again when it is used
  });
  const api = await startDemoResourceServer({
    port: 0,
    introspectionUrl: provider.introspectionUrl,
    ...resourceServer,
  });
  const providerFaults = injectFaults(provider.server);
  const apiFaults = injectFaults(api.server);

  let offsetMs = 0;
  const latchkeyOptions: LatchkeyOptions = {
    issuer: options.withoutIssuer ? undefined : provider.issuer,
    apiUrl: api.url,
    ...client,
    store: options.store ?? 'redis',
    env: {
      OAUTH2_REDIRECT_URI: `${url}/auth/callback`,
      OAUTH2_CLIENT_AUTH: options.clientAuth,
      ...(options.withoutIssuer && {
        OAUTH2_AUTHORIZATION_URL: `${provider.issuer}/auth`,
        OAUTH2_TOKEN_URL: `${provider.issuer}/token`,
        OAUTH2_REVOCATION_URL: `${provider.issuer}/token/revocation`,
      }),
      ...options.env,
    },
    deps: { now: () => Date.now() + offsetMs, elapsed: () => performance.now() + offsetMs },
    wrap: options.wrap,
    ...(options.own && { own: options.own }),
  };
  const latchkey = await startLatchkey({ ...latchkeyOptions, server });
  const others: Latchkey[] = [];

  return {
    provider,
    api,
    latchkey,
    origin,
    url,
    client,
    providerFaults,
    apiFaults,
    grants,
    issued,
    clock: {
      async advance(seconds) {
        offsetMs += seconds * 1000;
        if (latchkeyOptions.store === 'redis') await advanceFailurePauses(seconds);
      },
    },
    browser: () => new Browser(origin),
    async signIn(browser, user = 'alice', loginPath = `${url}/auth/login`) {
      const page = await browser.go(loginPath);
      return finishSignIn(browser, page, user);
    },
    async isActive(token) {
      const response = await fetch(provider.introspectionUrl, {
        method: 'POST',
        headers: {
          authorization: `Basic ${Buffer.from(`${resourceServer.clientId}:${resourceServer.clientSecret}`).toString('base64')}`,
        },
        body: new URLSearchParams({ token }),
      });
      const { active } = (await response.json()) as { active: boolean };
      return active;
    },
    async startAnotherInstance(clockAheadSeconds = 0, env = {}) {
      const now = () => Date.now() + offsetMs + clockAheadSeconds * 1000;
      const other = await startLatchkey({
        ...latchkeyOptions,
        env: { ...latchkeyOptions.env, ...env },
        deps: { now, elapsed: () => performance.now() + offsetMs },
      });
      others.push(other);
      return other;
    },
    async close() {
      for (const each of [latchkey, ...others]) await each.close();
      await api.close();
      await provider.close();
    },
  };
}

/** Completes a login from the provider's sign-in or consent page, back to our own page. */
export async function finishSignIn(browser: Browser, providerPage: Page, user = 'alice'): Promise<Page> {
  let page = providerPage;
  if (page.text.includes('name="password"'))
    page = await browser.submit(page, { login: user, password: 'any' }, { action: '/login' });
  if (page.text.includes('value="allow"')) page = await allow(browser, page);
  return page;
}

/** Grants consent for all requested scopes; with `only`, for no optional scopes but these. */
export async function allow(browser: Browser, page: Page, only?: readonly string[]): Promise<Page> {
  const asked = [...page.text.matchAll(/name="asked" value="([^"]*)"/g)].map(([, scope]) => scope!);
  const allowed = only ? asked.filter((each) => only.includes(each)) : asked;
  return browser.submit(page, { decision: 'allow', asked, allow: allowed }, { action: '/consent' });
}
