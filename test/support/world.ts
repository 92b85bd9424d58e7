import { randomBytes } from 'node:crypto';
import { type DemoProvider, startDemoProvider } from '../../demo/provider.ts';
import { type DemoResourceServer, startDemoResourceServer } from '../../demo/resource-server.ts';
import { Browser, type Page } from './browser.ts';
import { type Faults, injectFaults } from './faults.ts';
import { type Latchkey, type LatchkeyOptions, listenOnFreePort, startLatchkey } from './latchkey.ts';

export interface WorldOptions {
  readonly store?: 'memory' | 'redis';
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly wrap?: LatchkeyOptions['wrap'];
  readonly accessTokenSeconds?: number;
  readonly refreshTokenSeconds?: number;
  readonly clientAuth?: 'client_secret_basic' | 'client_secret_post';
  /** Where browsers reach Latchkey, when that is not where it listens. */
  readonly publicOrigin?: string;
  /** Give the endpoints one by one instead of an issuer. */
  readonly withoutIssuer?: boolean;
}

/** A real provider, a real API and a real Latchkey in front of them, with a clock that can be moved. */
export interface World {
  readonly provider: DemoProvider;
  readonly api: DemoResourceServer;
  readonly latchkey: Latchkey;
  readonly origin: string;
  readonly client: { readonly clientId: string; readonly clientSecret: string };
  readonly providerFaults: Faults;
  readonly apiFaults: Faults;
  readonly clock: { advance(seconds: number): void };
  /** Every grant the provider gave, by type. */
  readonly grants: string[];
  /** Every token the provider issued, oldest first. */
  readonly issued: { readonly access: string[]; readonly refresh: string[] };
  browser(): Browser;
  /** The whole way from the login link to the page it leads back to, as a person walks it. */
  signIn(browser: Browser, person?: string, loginPath?: string): Promise<Page>;
  /** Whether the provider still honours a token. */
  isActive(token: string): Promise<boolean>;
  /** One more Latchkey instance behind the same public origin, on the same Redis. */
  startAnotherInstance(clockAheadSeconds?: number): Promise<Latchkey>;
  close(): Promise<void>;
}

export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const { server, origin: listening } = await listenOnFreePort();
  const origin = options.publicOrigin ?? listening;
  // A secret with characters that need encoding in HTTP Basic, and some that must be left alone.
  const client = {
    clientId: 'latchkey-test',
    clientSecret: `s.e-c_r*e+t/${randomBytes(12).toString('hex')}`,
  };
  const resourceServer = { clientId: 'the-api', clientSecret: randomBytes(16).toString('hex') };
  const provider = await startDemoProvider({
    port: 0,
    ...client,
    redirectUris: [`${origin}/auth/callback`],
    postLogoutRedirectUris: [`${origin}/signed-out`],
    resourceServer,
    accessTokenSeconds: options.accessTokenSeconds ?? 300,
    ...(options.refreshTokenSeconds !== undefined && { refreshTokenSeconds: options.refreshTokenSeconds }),
    ...(options.clientAuth && { clientAuth: options.clientAuth }),
  });
  const grants: string[] = [];
  provider.provider.on('grant.success', (ctx) => grants.push(String(ctx.oidc.params?.grant_type)));
  const issued = { access: [] as string[], refresh: [] as string[] };
  provider.provider.on('access_token.saved', (token) => issued.access.push(token.jti)); // opaque: its id is the token
  provider.provider.on('refresh_token.saved', (token) => {
    if (!issued.refresh.includes(token.jti)) issued.refresh.push(token.jti); // saved again when it is spent
  });
  const api = await startDemoResourceServer({
    port: 0,
    introspectionUrl: provider.introspectionUrl,
    ...resourceServer,
  });
  const providerFaults = injectFaults(provider.server);
  const apiFaults = injectFaults(api.server);

  let offsetMs = 0;
  const started: LatchkeyOptions = {
    issuer: options.withoutIssuer ? undefined : provider.issuer,
    apiUrl: api.url,
    ...client,
    store: options.store ?? 'redis',
    env: {
      OAUTH2_REDIRECT_URI: `${origin}/auth/callback`,
      OAUTH2_CLIENT_AUTH: options.clientAuth,
      ...(options.withoutIssuer && {
        OAUTH2_AUTHORIZATION_URL: `${provider.issuer}/auth`,
        OAUTH2_TOKEN_URL: `${provider.issuer}/token`,
        OAUTH2_REVOCATION_URL: `${provider.issuer}/token/revocation`,
      }),
      ...options.env,
    },
    deps: { now: () => Date.now() + offsetMs },
    wrap: options.wrap,
  };
  const latchkey = await startLatchkey({ ...started, server });
  const others: Latchkey[] = [];

  return {
    provider,
    api,
    latchkey,
    origin,
    client,
    providerFaults,
    apiFaults,
    grants,
    issued,
    clock: {
      advance(seconds) {
        offsetMs += seconds * 1000;
      },
    },
    browser: () => new Browser(origin),
    async signIn(browser, person = 'alice', loginPath = '/auth/login') {
      const page = await browser.go(loginPath);
      return finishSignIn(browser, page, person);
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
    async startAnotherInstance(clockAheadSeconds = 0) {
      const now = () => Date.now() + offsetMs + clockAheadSeconds * 1000;
      const other = await startLatchkey({ ...started, deps: { now } });
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

/** From wherever the provider stands (sign-in or consent page) back to our own page. */
export async function finishSignIn(browser: Browser, at: Page, person = 'alice'): Promise<Page> {
  let page = at;
  if (page.text.includes('name="password"'))
    page = await browser.submit(page, { login: person, password: 'any' }, { action: '/login' });
  if (page.text.includes('value="allow"')) page = await allow(browser, page);
  return page;
}

/** Allows what the consent page asks, or of the optional scopes only those named. */
export async function allow(browser: Browser, page: Page, only?: readonly string[]): Promise<Page> {
  const optional = [...page.text.matchAll(/name="deny" value="([^"]*)"/g)].map(([, scope]) => scope!);
  const deny = only ? optional.filter((each) => !only.includes(each)) : [];
  return browser.submit(page, { decision: 'allow', deny }, { action: '/consent' });
}
